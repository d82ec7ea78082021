from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.errors import RecordsError, RunInUseError, UsageError, WorkspaceError
from agentlab.records import Blobs, Records, Workspace

CHECKOUT = Path(__file__).parents[3]


def test_opening_makes_the_layout_and_leaves_no_probe(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "deep" / "ws")
    assert sorted(path.name for path in workspace.path.iterdir()) == ["blobs", "index", "runs"]
    assert workspace.database == workspace.path / "records.db"
    assert workspace.run_directory("run-1", create=True).is_dir()
    assert Workspace.open(workspace.path) == workspace


def test_a_workspace_is_not_made_where_one_is_only_read(tmp_path: Path) -> None:
    for place in (tmp_path / "nothing", tmp_path, tmp_path / "nothing" / "deep"):
        with pytest.raises(UsageError, match=r"no workspace at .*name another with --workspace"):
            Workspace.open(place, create=False)
    assert list(tmp_path.iterdir()) == []
    Records.open(Workspace.open(tmp_path / "ws")).close()
    assert Workspace.open(tmp_path / "ws", create=False).path == tmp_path / "ws"
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="no workspace at"):
        Workspace.open(file, create=False)


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(WorkspaceError, match=r"not a directory; choose another"):
        Workspace.open(path)
    with pytest.raises(WorkspaceError, match=r"not a directory; choose another"):
        Workspace.open(path / "below")


@pytest.mark.parametrize("run_id", ["", "..", "a/b", "-x", ".hidden", "a b", "x" * 129, "a\n"])
def test_a_run_id_is_never_a_path(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(UsageError, match="not a run id"):
        Workspace.open(tmp_path).run_directory(run_id)


def test_a_run_is_worked_on_by_one(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    with workspace.lock_run("run-1"):
        with pytest.raises(RunInUseError, match=f"in use by process {os.getpid()}"):
            workspace.lock_run("run-1")
        workspace.lock_run("run-2").close()
    workspace.lock_run("run-1").close()


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    script = (
        "from agentlab.records.workspace import Workspace\n"
        f"lock = Workspace.open({str(tmp_path)!r}).lock_run('run-1')\n"
        "print('locked', flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(RunInUseError, match=f"process {holder.pid};"):
            Workspace.open(tmp_path).lock_run("run-1")
        holder.kill()
    Workspace.open(tmp_path).lock_run("run-1").close()


@given(st.binary(max_size=2000))
@settings(max_examples=20)
def test_blobs_come_back(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    digest = blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest() == blobs.put(data)
    assert blobs.has(digest)
    assert blobs.get(digest) == data
    folder = blobs.path(digest).parent
    assert [path.name for path in folder.iterdir()] == [digest[2:]]


def test_a_changed_or_missing_blob_is_noticed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"a screenshot")
    blobs.path(digest).write_bytes(b"something else")
    with pytest.raises(RecordsError, match="is damaged; put"):
        blobs.get(digest)
    blobs.path(digest).unlink()
    assert not blobs.has(digest)
    with pytest.raises(RecordsError, match="cannot be read"):
        blobs.get(digest)
    for wrong in ("../" + digest[3:], digest[:-1], digest.upper()):
        with pytest.raises(RecordsError, match="names no blob"):
            blobs.path(wrong)
