"""What the disk, other processes and the power supply may do to the records."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentlab.errors import RecordsError, WorkspaceError
from agentlab.records import Records, Workspace
from agentlab.types import AttemptSpec, SplitRule
from tests.unit.records.samples import RUN, a_spec, a_task, an_outcome, finished, opened

CHECKOUT = Path(__file__).parents[2]

WRITER = """
import os, random, signal, sys, time
from tests.unit.records.samples import *
path, kills = Path(sys.argv[1]), int(sys.argv[2])
draw = random.Random(7)
with opened(path):
    pass
for number in range(kills):
    child = os.fork()
    if child == 0:
        with open(path / "acknowledged", "ab", buffering=0) as out, opened(path) as records:
            for slot in range(10_000):
                spec = a_spec(slot, a_task(slot % 8), round_=number)
                records.attempts.record(spec, an_outcome(spec, steps=20), finished(spec))
                out.write((spec.id + "\\n").encode())
        os._exit(0)
    time.sleep(draw.uniform(0.02, 0.3))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_kill_9_loses_no_acknowledged_attempt_and_leaves_no_half(
    tmp_path: Path, kills: int
) -> None:
    subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path), str(kills)], cwd=CHECKOUT, check=True
    )
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    with opened(tmp_path) as records:
        rows = records.attempts.all(RUN)
        ids = [row.attempt_id for row in rows]
        assert len(acknowledged) > kills
        assert set(acknowledged) <= set(ids)
        # At most one of each life was on the disk and not yet acknowledged.
        assert len(ids) - len(acknowledged) <= kills
        assert len(records.events.all(RUN)) == len(ids)
        specs = [a_spec(row.slot, a_task(row.slot % 8), round_=row.round) for row in rows]
        assert records.trajectories.outcomes(ids) == [an_outcome(s, steps=20) for s in specs]
    with closing(sqlite3.connect(tmp_path / "records.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root and mount(8)")
    command = [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def _until_full(records: Records) -> tuple[list[AttemptSpec], AttemptSpec]:
    kept: list[AttemptSpec] = []
    for slot in range(10_000):
        spec = a_spec(slot, a_task(slot % 8))
        outcome = an_outcome(spec, steps=20, data={"page": "x" * 500})
        try:
            records.attempts.record(spec, outcome, finished(spec))
        except WorkspaceError as error:
            assert "is full; free some space" in str(error)
            assert str(error).count(". ") == 0
            return kept, spec
        kept.append(spec)
    raise AssertionError("the disk never filled")


def test_a_full_disk_is_one_sentence_and_nothing_is_lost(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 600_000)
    with opened(small_disk / "ws") as records:
        kept, refused = _until_full(records)
        assert [row.attempt_id for row in records.attempts.all(RUN)] == [s.id for s in kept]
        with pytest.raises(WorkspaceError, match="is full"):
            records.blobs.put(os.urandom(1_000_000))
        ballast.unlink()
        assert records.attempts.record(refused, an_outcome(refused), finished(refused))
    with Records.open(Workspace.open(small_disk / "ws")) as records:
        wanted = [spec.id for spec in [*kept, refused]]
        assert [row.attempt_id for row in records.attempts.all(RUN)] == wanted
        assert len(records.events.all(RUN)) == len(wanted)
        assert records.trajectories.outcome(refused.id) == an_outcome(refused)


def test_a_disk_without_room_is_refused_on_opening(small_disk: Path) -> None:
    with open(small_disk / "ballast", "wb", buffering=0) as ballast, pytest.raises(OSError):
        while True:
            ballast.write(b"\0" * 4096)
    with pytest.raises(WorkspaceError, match="is full; free some space"):
        Records.open(Workspace.open(small_disk / "ws"))


def test_a_disk_that_turns_read_only_is_one_sentence(small_disk: Path) -> None:
    def remount(mode: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{mode}", str(small_disk)], check=True)

    spec = a_spec(0, a_task(1))
    opened(small_disk).close()
    remount("ro")
    try:
        with pytest.raises(WorkspaceError, match=r"cannot be written .*choose another"):
            Workspace.open(small_disk)
        with (
            pytest.raises(WorkspaceError, match=r"cannot be written .*make the directory writable"),
            Records.open(Workspace(small_disk)) as records,
        ):
            records.attempts.record(spec, an_outcome(spec))
    finally:
        remount("rw")
    with opened(small_disk) as records:
        assert records.attempts.count(RUN) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; see the test above")
def test_a_directory_without_permission_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "ws"
    path.mkdir(mode=0o555)
    with pytest.raises(WorkspaceError, match=r"cannot be written .*make it writable or choose"):
        Workspace.open(path)


@pytest.mark.parametrize("damage", ["not a database", "pages"])
def test_a_damaged_database_is_one_sentence(tmp_path: Path, damage: str) -> None:
    with opened(tmp_path) as records:
        records.tasks.add_proposals(RUN, 0, [(a_task(n), None) for n in range(8)], SplitRule())
        for slot in range(40):
            spec = a_spec(slot, a_task(slot % 8))
            records.attempts.record(spec, an_outcome(spec))
    path = tmp_path / "records.db"
    content = path.read_bytes()
    if damage == "pages":
        path.write_bytes(content[:8192] + b"\xa5" * (len(content) - 8192))
    else:
        path.write_bytes(b"These are my notes, not a database. " * 1000)
    with (
        pytest.raises(RecordsError, match=r"are damaged \(.*\); put back a copy"),
        Records.open(Workspace.open(tmp_path)) as records,
    ):
        records.attempts.all(RUN)
    # Nothing was repaired, replaced or deleted behind the owner's back.
    assert path.stat().st_size >= 8192


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE runs (mine TEXT)")
        connection.execute("INSERT INTO runs VALUES ('keep me')")
    with pytest.raises(RecordsError, match="cannot be used"):
        Records.open(Workspace.open(tmp_path))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT mine FROM runs").fetchall() == [("keep me",)]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    assert tables == (1,)


def test_a_lock_that_another_process_holds_is_one_sentence(tmp_path: Path) -> None:
    opened(tmp_path).close()
    spec = a_spec(0, a_task(1))
    with (
        Records.open(Workspace.open(tmp_path), busy_seconds=0.2) as records,
        closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RecordsError, match=r"locked by another process for 0.2 s; wait"):
            records.attempts.record(spec, an_outcome(spec))
        assert records.attempts.count(RUN) == 0
        other.execute("ROLLBACK")
        assert records.attempts.record(spec, an_outcome(spec))
