"""Whatever happens to the index on disk, answers stay right and it is rebuilt from the truth."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from agentlab.errors import IndexFaultError
from agentlab.library.index.chroma import ChromaIndex
from agentlab.library.index.collection import collection_name
from agentlab.library.index.lock import DirectoryLock
from agentlab.library.index.probe import find_fault
from agentlab.library.index.stamp import file_marks, read_stamp, write_stamp
from agentlab.library.served import IndexStatus, ServedIndex, Stored
from tests.faults.index_process import (
    COLLECTION,
    DIMENSION,
    EMBEDDER,
    Numbered,
    names,
    open_index,
    rows,
)

ITEMS = 1200  # over Chroma's `sync_threshold`, so that its files are written
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean index of all items, to be copied."""
    root = tmp_path_factory.mktemp("pristine") / "index"
    with open_index(Numbered(ITEMS), root) as index:
        assert index.wait(60).state == "ready"
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    """A copy that keeps times, so that nothing looks touched."""
    copy = tmp_path / "index"
    shutil.copytree(pristine, copy)
    return copy


def chroma_dir(root: Path) -> Path:
    (directory,) = root.glob("chroma-*")
    return directory


def segment_file(root: Path, name: str) -> Path:
    (path,) = chroma_dir(root).rglob(name)
    return path


def answers_right(index: ServedIndex, truth: Numbered) -> None:
    """The five nearest of some items, against float64 arithmetic here."""
    matrix = truth.vectors.astype(np.float64)
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    for place in range(0, len(truth.ids), max(1, len(truth.ids) // 10)):
        cosines = unit @ unit[place]
        best = [truth.ids[int(row)] for row in np.argsort(-cosines)[:5]]
        assert [match.id for match in index.search(truth.vectors[place], 5)] == best


def chroma_equals(root: Path, truth: Numbered) -> None:
    """After closing: what is on disk, read by Chroma alone, is the truth."""
    disk = ChromaIndex(chroma_dir(root), collection=COLLECTION, dimension=DIMENSION)
    assert list(disk.ids()) == sorted(truth.ids)
    known, vectors = disk.read(truth.ids)
    disk.close()
    held = dict(zip(known, vectors, strict=True))
    unit = truth.vectors / np.linalg.norm(truth.vectors, axis=1, keepdims=True)
    assert np.abs(np.stack([held[name] for name in truth.ids]) - unit).max() < 1e-5


def recovers(root: Path, truth: Numbered) -> IndexStatus:
    """Answers at once, is rebuilt, and the disk then holds the truth; the first status."""
    with open_index(truth, root) as index:
        first = index.status
        answers_right(index, truth)
        assert index.wait(60).state == "ready"
        answers_right(index, truth)
    stamp = read_stamp(root)
    assert stamp is not None
    assert (stamp.state, stamp.count) == ("clean", len(truth.ids))
    chroma_equals(root, truth)
    return first


def process(task: str, root: Path, count: int) -> AbstractContextManager[subprocess.Popen[str]]:
    program = [sys.executable, "-m", "tests.faults.index_process"]
    return process_of([*program, task, str(root), str(count)])


@contextmanager
def process_of(command: list[str]) -> Generator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_clean_index_is_opened_without_a_check(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object, **options: object) -> str:
        raise AssertionError((args, options))

    monkeypatch.setattr("agentlab.library.index.directory.find_fault", refuse)
    truth = Numbered(ITEMS)
    with open_index(truth, root) as index:
        assert index.status == IndexStatus("chroma", "ready", ITEMS, "")
        answers_right(index, truth)
    assert caplog.records == []


def test_touched_but_whole_index_passes_the_check(root: Path) -> None:
    """As after copying a workspace without its times."""
    os.utime(segment_file(root, "data_level0.bin"))
    before = chroma_dir(root)
    with open_index(Numbered(ITEMS), root) as index:
        assert index.status.state == "ready"
    assert chroma_dir(root) == before


@pytest.mark.parametrize(
    "name",
    [
        "index_metadata.pickle",
        "data_level0.bin",
        "link_lists.bin",
        "length.bin",
        "header.bin",
        "chroma.sqlite3",
    ],
)
def test_truncated_file(root: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = segment_file(root, name)
    os.truncate(path, path.stat().st_size // 3)
    first = recovers(root, Numbered(ITEMS))
    assert (first.answers, first.state) == ("exact", "rebuilding")
    assert "damaged" in first.reason
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("name", ["index_metadata.pickle", "data_level0.bin", "chroma.sqlite3"])
def test_overwritten_file(root: Path, name: str) -> None:
    path = segment_file(root, name)
    content = np.random.default_rng(0).bytes(path.stat().st_size)
    path.write_bytes(content)
    assert "damaged" in recovers(root, Numbered(ITEMS)).reason


def test_damage_that_the_stamp_does_not_show(root: Path) -> None:
    """Fewer items than stamped, with files that look untouched."""
    disk = ChromaIndex(chroma_dir(root), collection=COLLECTION, dimension=DIMENSION)
    disk.remove(names(7))
    disk.close()
    stamp = read_stamp(root)
    assert stamp is not None
    write_stamp(root, stamp.model_copy(update={"files": file_marks(chroma_dir(root))}))
    assert "1193 of 1200" in recovers(root, Numbered(ITEMS)).reason


@pytest.mark.parametrize("name", ["", "index_metadata.pickle", "chroma.sqlite3"])
def test_check_from_outside(root: Path, name: str) -> None:
    """Where nothing else tells, the check in another process does, and this one lives on."""
    if name:
        path = segment_file(root, name)
        os.truncate(path, path.stat().st_size // 3)
    ids = names(ITEMS)
    fault = find_fault(chroma_dir(root), collection=COLLECTION, dimension=DIMENSION, ids=ids)
    assert (fault is None) == (not name), fault


def test_check_from_outside_compares_ids(root: Path) -> None:
    fault = find_fault(
        chroma_dir(root), collection=COLLECTION, dimension=DIMENSION, ids=names(ITEMS, 1)
    )
    assert fault is not None
    assert "other items" in fault


@pytest.mark.parametrize("what", ["root", "chroma", "segment", "stamp", "unreadable stamp"])
def test_missing(root: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    match what:
        case "root":
            shutil.rmtree(root)
        case "chroma":
            shutil.rmtree(chroma_dir(root))
        case "segment":
            shutil.rmtree(segment_file(root, "header.bin").parent)
        case "stamp":
            (root / "stamp.json").unlink()
        case _:
            (root / "stamp.json").write_text("{")
    first = recovers(root, Numbered(ITEMS))
    assert ("damaged" if what == "segment" else "missing") in first.reason
    assert len(caplog.records) == 1


def test_first_index_of_an_empty_collection_is_no_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_index(Numbered(0), tmp_path / "index") as index:
        assert index.status == IndexStatus("exact", "ready", 0, "")
    assert caplog.records == []


def test_stale(root: Path) -> None:
    truth = Numbered(ITEMS)
    truth.ids = [*truth.ids[5:], "new"]
    truth.vectors = np.concatenate([truth.vectors[5:], rows(1, 77_777)])
    assert "stale" in recovers(root, truth).reason


def test_stale_where_only_a_vector_differs(root: Path) -> None:
    truth = Numbered(ITEMS)
    truth.vectors[3] = rows(1, 88_888)[0]
    assert "stale" in recovers(root, truth).reason


def test_vectors_of_another_embedder(root: Path) -> None:
    with ServedIndex(
        Numbered(3),
        dimension=DIMENSION,
        embedder="other",
        root=root,
        collection=COLLECTION,
        threshold=0,
    ) as index:
        assert EMBEDDER in index.status.reason
        assert index.wait(60).state == "ready"


def test_locked_by_another_process(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    truth = Numbered(ITEMS)
    with process("hold", root, ITEMS) as child:
        assert first_line(child) == "ready"
        with open_index(truth, root) as index:
            status = index.status
            assert (status.answers, status.state) == ("exact", "locked")
            assert f"process {child.pid}" in status.reason
            answers_right(index, truth)
            index.upsert(["new"], rows(1, 77_777))
            assert index.search(rows(1, 77_777)[0], 1)[0].id == "new"
            with pytest.raises(IndexFaultError, match=f"process {child.pid}"):
                index.reindex()
            answers_right(index, truth)
        assert len(caplog.records) == 1
        stamp = read_stamp(root)
        assert stamp is not None
        assert stamp.state == "open"
    # Killed while it only read: checked from outside, found whole, not rebuilt.
    before = chroma_dir(root)
    with open_index(truth, root) as index:
        assert index.status == IndexStatus("chroma", "ready", ITEMS, "")
    assert chroma_dir(root) == before


def test_second_use_in_one_process(root: Path) -> None:
    with open_index(Numbered(ITEMS), root), open_index(Numbered(ITEMS), root) as second:
        assert second.status.state == "locked"
        answers_right(second, Numbered(ITEMS))


def test_lock_of_a_bare_chroma_index(tmp_path: Path) -> None:
    index = ChromaIndex(tmp_path, collection="a.b", dimension=4)
    with pytest.raises(IndexFaultError, match=f"process {os.getpid()}"):
        ChromaIndex(tmp_path, collection="a.b", dimension=4)
    index.close()
    index.close()
    ChromaIndex(tmp_path, collection="a.b", dimension=4).close()


def test_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A worker that outlives its parent must not lock others out."""
    program = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from agentlab.library.index.lock import DirectoryLock\n"
        "lock = DirectoryLock(Path(sys.argv[1]))\n"
        "if os.fork(): os._exit(0)\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(60)\n"
    )
    with process_of([sys.executable, "-c", program, str(tmp_path)]) as parent:
        grandchild = int(first_line(parent))
        parent.wait()
        try:
            os.kill(grandchild, 0)
            DirectoryLock(tmp_path).release()
        finally:
            os.kill(grandchild, signal.SIGKILL)


def test_killed_while_adding(tmp_path: Path) -> None:
    root, held = tmp_path / "index", 100
    for pause in (0.0, 0.03, 0.11):
        with process("write", root, held) as child:
            assert first_line(child) == "ready"
            held = int(first_line(child))
            time.sleep(pause)
            child.send_signal(signal.SIGKILL)
            rest, _ = child.communicate()
            held = int(([str(held), *rest.split()])[-1])
        first = recovers(root, Numbered(held))
        assert "not closed" in first.reason


def test_closed_in_the_middle_of_a_rebuild(tmp_path: Path) -> None:
    root, truth = tmp_path / "index", Numbered(5000)
    with open_index(truth, root) as index:
        assert index.status.state == "rebuilding"
        answers_right(index, truth)
    assert index.status.state == "closed"
    stamp = read_stamp(root)
    assert stamp is not None
    assert stamp.state == "writing"
    recovers(root, Numbered(1500))


def test_changes_during_a_rebuild(tmp_path: Path) -> None:
    root, truth = tmp_path / "index", Numbered(3000)
    with open_index(truth, root) as index:
        assert index.status.state == "rebuilding"
        index.remove(truth.ids[:500])
        index.upsert(["new"], rows(1, 77_777))
        index.upsert([truth.ids[-1]], rows(1, 88_888))
        truth.ids = [*truth.ids[500:], "new"]
        truth.vectors = np.concatenate([truth.vectors[500:-1], rows(1, 88_888), rows(1, 77_777)])
        answers_right(index, truth)
        assert index.wait(60).state == "ready"
        answers_right(index, truth)
    chroma_equals(root, truth)


def test_failure_in_use(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    truth = Numbered(ITEMS)
    with open_index(truth, root) as index:
        with sqlite_dropped(chroma_dir(root)):
            index.upsert(["new"], rows(1, 77_777))
        truth.ids, truth.vectors = [*truth.ids, "new"], rows(ITEMS + 1)
        truth.vectors[-1] = rows(1, 77_777)[0]
        answers_right(index, truth)
        assert index.wait(60).state == "ready"
        assert "failed in use" in index.status.reason
        answers_right(index, truth)
    assert len(caplog.records) == 1
    chroma_equals(root, truth)


@contextmanager
def sqlite_dropped(directory: Path) -> Generator[None]:
    """Chroma's database loses a table under its feet."""
    import sqlite3

    database = sqlite3.connect(directory / "chroma.sqlite3")
    database.execute("drop table embeddings_queue")
    database.commit()
    database.close()
    yield


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    truth = Numbered(50)
    with open_index(truth, tmp_path / "file" / "index") as index:
        assert (index.status.answers, index.status.state) == ("exact", "failed")
        assert "cannot be used" in index.status.reason
        answers_right(index, truth)


def test_sync_and_reindex(root: Path) -> None:
    truth = Numbered(ITEMS)
    with open_index(truth, root) as index:
        truth.ids, truth.vectors = truth.ids[10:], truth.vectors[10:]
        truth.vectors[0] = rows(1, 88_888)[0]
        index.sync()
        assert index.status == IndexStatus("chroma", "ready", ITEMS - 10, "")
        answers_right(index, truth)
        assert index.reindex().state == "ready"
        answers_right(index, truth)
    chroma_equals(root, truth)


def test_few_items_are_decided_by_the_exact_vectors(root: Path) -> None:
    with open_index(Numbered(ITEMS), root, threshold=ITEMS) as index:
        assert (index.status.answers, index.status.state) == ("exact", "ready")
        index.upsert(["new"], rows(1, 77_777))
        assert index.status.answers == "chroma"


def test_exact_backend_keeps_nothing_on_disk(tmp_path: Path) -> None:
    truth = Numbered(20)
    with ServedIndex(
        truth, dimension=DIMENSION, embedder=EMBEDDER, root=tmp_path / "i", backend="exact"
    ) as index:
        answers_right(index, truth)
        assert index.reindex() == IndexStatus("exact", "off", 20, "")
    assert not (tmp_path / "i").exists()


def test_collection_names() -> None:
    assert collection_name("babyai", "skill") == "babyai.skill"
    odd = [("../etc", "skill"), ("a.b", "skill"), ("A", "skill"), ("", ""), ("日本", "insight")]
    made = [collection_name(*pair) for pair in odd]
    assert len(set(made)) == len(odd)
    assert all(name.startswith("x-") and name[2:].isalnum() for name in made)


def test_truth_with_the_wrong_shape(tmp_path: Path) -> None:
    class Wrong:
        def read(self) -> Stored:
            return Stored(["a"], rows(2))

    with pytest.raises(ValueError, match="shape"):
        ServedIndex(Wrong(), dimension=DIMENSION, embedder=EMBEDDER, root=tmp_path)
