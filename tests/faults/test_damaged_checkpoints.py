"""Checkpoints that are damaged or come from a stranger: put aside, and the run ends the same."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import ormsgpack
import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

import agentlab
from agentlab.graph.checkpoints import FILE, CheckpointFault, SealedSerializer
from agentlab.records import Records, Workspace
from agentlab.types import JsonObject
from tests.faults.run_process import ROOT, Child, run_id_of

SHORT: JsonObject = {
    "environment": "courier",
    "seed": 5,
    "rounds": 2,
    "attempts": 6,
    "proposals": 6,
    "tool_calls": 100,
    "heldout": 0,
    "index": "exact",
    "concurrency": 1,
}
CONSTRUCTOR = 1
"""LangGraph's extension for `module.name(*arguments)`."""


class Killed(NamedTuple):
    """A run that was killed in its second round, and what it comes to undisturbed."""

    workspace: Path
    run_id: str
    content: list[Any]


def content(workspace: Path, run_id: str) -> list[Any]:
    with Records.open(Workspace.open(workspace)) as records:
        return [event.comparable() for event in records.events.all(run_id)]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    base = tmp_path_factory.mktemp("killed")
    options: dict[str, Any] = dict(SHORT)
    whole = agentlab.practice(workspace=base / "whole", **options)
    child = Child.start(base / "ws", config=SHORT)
    assert child.wait_for("AttemptFinished", 8)
    child.kill(group=True)
    assert run_id_of(base / "ws") == whole.run_id
    # What lies in the log goes into the file, so that bytes of it can be changed.
    with closing(sqlite3.connect(base / "ws" / "runs" / whole.run_id / FILE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert connection.execute("SELECT count(*) FROM checkpoints").fetchone()[0] > 6
    wanted = content(base / "whole", whole.run_id)
    assert content(base / "ws", whole.run_id) != wanted
    return Killed(base / "ws", whole.run_id, wanted)


class Copy(NamedTuple):
    """A copy of the killed run, to damage."""

    workspace: Path
    file: Path
    of: Killed

    def ends_as_undisturbed(self) -> None:
        report = agentlab.resume(self.of.run_id, workspace=self.workspace)
        assert report.status == "finished"
        assert content(self.workspace, self.of.run_id) == self.of.content

    def aside(self) -> list[str]:
        return sorted(path.name for path in self.file.parent.glob(f"{FILE}.damaged-*"))


@pytest.fixture
def copy(killed: Killed, tmp_path: Path) -> Copy:
    shutil.copytree(killed.workspace, tmp_path / "ws")
    return Copy(tmp_path / "ws", tmp_path / "ws" / "runs" / killed.run_id / FILE, killed)


def another_round(data: bytes) -> bytes:
    """The round of every checkpoint is another, which SQLite can not notice: one byte each."""
    assert data.count(b"\xa5round\x01") > 1
    return data.replace(b"\xa5round\x01", b"\xa5round\x02")


def every_page(data: bytes) -> bytes:
    changed = bytearray(data)
    for place in range(100, len(changed), 61):
        changed[place] ^= 0x5A
    return bytes(changed)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "one byte": another_round,
    "every page": every_page,
    "half": lambda data: data[: len(data) // 2],
    "less than a page": lambda data: data[:777],
    "no database": lambda _: b"These are my notes, not a database. " * 100,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_checkpoints_are_put_aside_and_the_run_ends_the_same(
    copy: Copy, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    damaged = damage(copy.file.read_bytes())
    copy.file.write_bytes(damaged)
    with caplog.at_level(logging.WARNING, "agentlab.graph.checkpoints"):
        copy.ends_as_undisturbed()
    (told,) = [r.getMessage() for r in caplog.records if r.name == "agentlab.graph.checkpoints"]
    assert repr(copy.of.run_id) in told
    assert "goes on from its records" in told
    name = f"{FILE}.damaged-1"
    assert name in told
    assert name in copy.aside()
    assert (copy.file.parent / name).read_bytes() == damaged


def test_sound_checkpoints_are_used_and_stay(copy: Copy) -> None:
    copy.ends_as_undisturbed()
    assert copy.aside() == []


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_checkpoints_that_are_gone_are_made_again(copy: Copy, left: str) -> None:
    for path in copy.file.parent.glob(f"{FILE}*"):
        path.unlink()
    if left == "an empty file":
        copy.file.touch()
    copy.ends_as_undisturbed()
    assert copy.aside() == []


def test_damage_again_takes_the_next_number(copy: Copy) -> None:
    for number in (1, 2):
        copy.file.write_bytes(b"\xa5" * 5000)
        copy.ends_as_undisturbed()
        assert f"{FILE}.damaged-{number}" in copy.aside()


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-7", "1e300", "", "soon", "\udcff"])
def test_seconds_that_are_no_span_of_time_count_as_none(copy: Copy, text: str) -> None:
    (copy.file.parent / "seconds").write_bytes(text.encode("utf-8", "surrogateescape"))
    report = agentlab.resume(copy.of.run_id, workspace=copy.workspace)
    assert report.status == "finished"
    assert 0 <= report.seconds < 600
    assert content(copy.workspace, copy.of.run_id) == copy.of.content


# --- a checkpoint from a stranger -------------------------------------------------------------


def bomb(marker: Path) -> ormsgpack.Ext:
    """What LangGraph reads as a call; here of `os.mkdir`, and it could be of anything."""
    return ormsgpack.Ext(CONSTRUCTOR, ormsgpack.packb(("os", "mkdir", (str(marker),))))


def payload(marker: Path) -> bytes:
    """A checkpoint that holds the call in every place that is read."""
    call = bomb(marker)
    return ormsgpack.packb(
        {
            "v": 4,
            "id": "1f000000-0000-6000-8000-000000000000",
            "ts": "2020-01-01T00:00:00+00:00",
            "channel_values": {"run_id": call, "round": call, "finished": call, "planned": call},
            "channel_versions": {"run_id": call, "round": 1},
            "versions_seen": {"select": call},
            "pending_sends": [call],
        }
    )


def sealed(data: bytes) -> tuple[str, bytes]:
    """With the digest that a stranger can compute as well."""
    kind, content_ = SealedSerializer().dumps_typed(data)
    return kind.replace("bytes", "msgpack"), content_


def test_such_a_payload_does_run_where_nothing_forbids_it(tmp_path: Path) -> None:
    loose = JsonPlusSerializer(allowed_msgpack_modules=True)
    loose.loads_typed(("msgpack", payload(tmp_path / "marker")))
    assert (tmp_path / "marker").is_dir()


@pytest.mark.parametrize("where", ["checkpoints", "writes"])
@pytest.mark.parametrize(
    ("form", "setting"),
    [("plain", None), ("sealed", None), ("json", None), ("pickle", None), ("sealed", "false")],
)
def test_a_checkpoint_from_a_stranger_builds_nothing(
    copy: Copy, tmp_path: Path, where: str, form: str, setting: str | None
) -> None:
    marker = tmp_path / "marker"
    lc = {"lc": 2, "type": "constructor", "id": ["os", "mkdir"], "args": [str(marker)]}
    kind, data = {
        "plain": ("msgpack", payload(marker)),
        "sealed": sealed(payload(marker)),
        "json": ("json", json.dumps({"channel_values": lc}).encode()),
        "pickle": ("pickle", b"cos\nmkdir\n(V" + str(marker).encode() + b"\ntR."),
    }[form]
    column = "checkpoint" if where == "checkpoints" else "value"
    with closing(sqlite3.connect(copy.file)) as connection, connection:
        if where == "writes":
            # For the last checkpoint, whose writes are read with it.
            connection.execute(
                "INSERT INTO writes SELECT thread_id, checkpoint_ns, checkpoint_id, 'stranger',"
                " '', 0, 'round', NULL, NULL FROM checkpoints ORDER BY checkpoint_id DESC LIMIT 1"
            )
        changed = connection.execute(f"UPDATE {where} SET type = ?, {column} = ?", (kind, data))
        assert changed.rowcount > 0
    if setting is None:
        copy.ends_as_undisturbed()
    else:
        # LangGraph reads its setting when it is imported, which may be before agentlab is.
        program = (
            "import langgraph.checkpoint.serde.jsonplus, agentlab, sys\n"
            "print(agentlab.resume(sys.argv[1], workspace=sys.argv[2]).status)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, copy.of.run_id, str(copy.workspace)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LANGGRAPH_STRICT_MSGPACK": setting},
        )
        assert done.stdout.split() == ["finished"], done.stderr
        assert content(copy.workspace, copy.of.run_id) == copy.of.content
    assert not marker.exists()


def test_a_value_is_read_as_it_was_written_or_not_at_all() -> None:
    serializer = SealedSerializer()
    value = {"run_id": "run-1", "round": 3, "finished": False, "none": None}
    kind, data = serializer.dumps_typed(value)
    assert serializer.loads_typed((kind, data)) == value
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(CheckpointFault):
            serializer.loads_typed((kind, changed))
    for unknown in ("json", "pickle", "sha256:json", "msgpak", ""):
        with pytest.raises(CheckpointFault):
            serializer.loads_typed((unknown, data))
