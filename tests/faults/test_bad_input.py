"""Bad input gets one sentence that names the fix, and what was recorded stays readable."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import agentlab
from agentlab.analysis.runs import list_runs
from agentlab.config import load_config
from agentlab.graph.run import work_on
from agentlab.records import Records, Workspace
from agentlab.types import JsonObject, digest
from tests.faults.run_process import ROOT, Child
from tests.faults.short_run import (
    SHORT,
    Expected,
    Result,
    cli,
    content,
    options,
    practice_command,
    practise,
    readable,
    refused,
    undisturbed,
)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    return undisturbed(tmp_path_factory.mktemp("expected"))


# --- what was asked for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["practice", "babyia"], ["no environment named 'babyia'", "Did you mean 'babyai'?"]),
        (
            ["practice", "courier", "--model", "serch"],
            ["no model named 'serch'", "Did you mean 'search'?"],
        ),
        (
            ["practice", "courier", "--curriculum", "unifrom"],
            ["no curriculum named 'unifrom'", "Did you mean 'uniform'?"],
        ),
        (["practice", "courier", "--seed", "seven"], ["--seed", "'seven' is not a whole number"]),
        (["practice", "courier", "--seed", "-1"], ["--seed", "-1"]),
        (["practice", "courier", "--option", "place=3"], ["no option 'place'", "'places'"]),
        (["practice", "courier", "--config", "none.toml"], ["no config file 'none.toml'"]),
        (["evaluate", "babyia"], ["no environment named 'babyia'", "Did you mean 'babyai'?"]),
    ],
    ids=[
        "environment",
        "model",
        "curriculum",
        "seed",
        "negative",
        "option",
        "file",
        "evaluate",
    ],
)
def test_a_name_or_number_that_is_wrong(tmp_path: Path, words: list[str], parts: list[str]) -> None:
    refused(cli(tmp_path / "ws", *words), 2, *parts)
    assert not list(tmp_path.glob("ws/runs/*"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("atempts = 3\n", ["'atempts' is not an option", "Did you mean 'attempts'?"]),
        ("[budget]\nstep = 3\n", ["'budget.step' is not", "Did you mean 'steps'?"]),
        ("seed = 'seven'\n", ["'seed' cannot be 'seven'"]),
        ("seed = \n", ["cannot be read"]),
    ],
)
def test_a_config_file_that_is_wrong(tmp_path: Path, text: str, parts: list[str]) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    done = cli(tmp_path / "ws", "practice", "courier", "--config", str(file))
    refused(done, 2, "run.toml", *parts)


def test_a_missing_extra(tmp_path: Path) -> None:
    for command in (["practice", "babyai"], ["evaluate", "babyai"]):
        done = cli(tmp_path / "ws", *command, block="minigrid")
        refused(done, 2, "needs the extra 'babyai'", "pip install 'agentlab-practice[babyai]'")


# --- the workspace --------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a disk needs root and mount(8)")
    command = [mount, "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_read_only_workspace(disk: Path) -> None:
    workspace = disk / "ws"
    assert practise(workspace, rounds=1, heldout=0).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for words in (["practice", "courier"], ["evaluate", "courier"]):
        refused(cli(workspace, *words), 1, str(workspace), "cannot be written", "--workspace")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert readable(workspace)["status"] == "finished"


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


def recorded(workspace: Path, kind: str) -> int:
    """Attempts of a kind on record; 0 where there are no records yet."""
    try:
        with closing(sqlite3.connect(f"file:{workspace}/records.db?mode=ro", uri=True)) as found:
            query = "SELECT count(*) FROM attempts WHERE status IS NOT NULL AND kind = ?"
            return int(found.execute(query, [kind]).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.parametrize(
    ("kind", "count", "index"),
    [("practice", 3, "exact"), ("shadow", 2, "chroma"), ("evaluation", 1, "exact")],
)
def test_a_full_disk_ends_the_run_and_resume_finishes_it(
    disk: Path, kind: str, count: int, index: str, expected: Expected
) -> None:
    workspace = disk / "ws"
    process = subprocess.Popen(
        practice_command(workspace, index=index),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and recorded(workspace, kind) < count:
        time.sleep(0.01)
    ballast = fill(disk)
    out, err = process.communicate(timeout=60)
    done = Result(process.args, process.returncode, out, err)
    refused(done, 1, str(workspace), "is full", "free some space", "run the same command again")
    before = recorded(workspace, "practice")
    ballast.unlink()
    run_id = readable(workspace)["run_id"]
    assert recorded(workspace, "practice") == before >= min(count, 3)
    done = cli(workspace, "resume", run_id, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "finished"
    assert content(workspace, run_id) == expected.content


def test_a_disk_that_is_full_from_the_start(disk: Path) -> None:
    (disk / "ws").mkdir()
    fill(disk)
    for words in (["practice", "courier"], ["evaluate", "courier"], ["runs", "list"]):
        refused(cli(disk / "ws", *words), 1, "is full", "free some space")


def test_a_damaged_index_is_rebuilt_while_the_run_goes_on(tmp_path: Path) -> None:
    config: JsonObject = {**SHORT, "attempts": 12, "proposals": 12, "index": "chroma"}
    whole = agentlab.practice(workspace=tmp_path / "whole", **options(config))
    assert whole.skills.admitted > 0
    workspace = tmp_path / "ws"
    child = Child.start(workspace, config=config)
    assert child.wait_for("RoundFinished", 2)
    child.kill(group=True)
    files = [path for path in (workspace / "index").rglob("*") if path.is_file()]
    assert any(path.name == "chroma.sqlite3" for path in files)
    for path in files:
        path.write_bytes(b"\xa5" * 5000)
    done = cli(workspace, "resume", whole.run_id, "--json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert content(workspace, whole.run_id) == content(tmp_path / "whole", whole.run_id)
    found = cli(workspace, "skills", "search", "Deliver it.", "--environment", "courier", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)
    assert "rebuilt" not in found.stderr
    again = cli(workspace, "library", "reindex", "--json")
    assert again.returncode == 0, again.stderr


READING = [
    ["resume", "courier-9"],
    ["runs", "list"],
    ["runs", "show", "courier-9"],
    ["runs", "compare", "courier-8", "courier-9"],
    ["skills", "list"],
    ["skills", "show", "carry"],
    ["skills", "search", "carry it"],
    ["skills", "remove", "carry"],
    ["library", "reindex"],
]


@pytest.mark.parametrize("words", READING, ids=[" ".join(words[:2]) for words in READING])
@pytest.mark.parametrize("place", ["nothing", "a directory of something else"])
def test_a_path_that_was_mistyped_gets_no_workspace(
    tmp_path: Path, words: list[str], place: str
) -> None:
    workspace = tmp_path / "wrokspace"
    if place != "nothing":
        workspace.mkdir()
        (workspace / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    refused(cli(workspace, *words), 2, "no workspace at", str(workspace), "--workspace")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_the_workspace_does_not_have(tmp_path: Path) -> None:
    Records.open(Workspace.open(tmp_path / "ws")).close()
    for words in (["resume", "courier-9"], ["runs", "show", "courier-9"]):
        refused(cli(tmp_path / "ws", *words), 2, "no run named 'courier-9'")
    assert not list(tmp_path.glob("ws/runs/*"))


def test_a_second_start_at_the_same_instant_takes_the_next_number(
    tmp_path: Path, expected: Expected
) -> None:
    workspace = tmp_path / "ws"
    first = agentlab.practice(workspace=tmp_path / "other", **options(SHORT))
    # The first holds its directory and has recorded nothing yet.
    with Workspace.open(workspace).lock_run(first.run_id):
        second = agentlab.practice(workspace=workspace, **options(SHORT))
    assert (second.run_id, second.status) == (f"{first.run_id}-2", "finished")
    assert content(workspace, second.run_id) == expected.content
    assert [run.run_id for run in list_runs(workspace)] == [second.run_id]


def test_a_start_whose_number_was_taken_and_left_takes_the_next(tmp_path: Path) -> None:
    config = load_config(None, **options({**SHORT, "rounds": 1, "heldout": 0}))
    spelt = config.model_dump(mode="json")
    base = f"courier-3-{digest(spelt)[:8]}"
    with Records.open(Workspace.open(tmp_path)) as records:
        for name in (base, f"{base}-2"):
            records.runs.create(name, config=spelt, versions={}, seed=3)
        # Chosen by each before the other was on record.
        for chosen in (base, f"{base}-2"):
            report = asyncio.run(work_on(records, chosen, config, [], lambda: False, resumed=False))
            assert report.status == "finished"
        assert records.runs.ids() == [base, *(f"{base}-{number}" for number in (2, 3, 4))]


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    assert practise(tmp_path / "ws", rounds=1, heldout=0).returncode == 0
    run_id = readable(tmp_path / "ws")["run_id"]
    with closing(sqlite3.connect(tmp_path / "ws" / "records.db")) as connection, connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for words in (["runs", "list"], ["resume", run_id], ["practice", "courier"]):
        refused(cli(tmp_path / "ws", *words), 1, "newer agentlab", "upgrade agentlab")
    with closing(sqlite3.connect(tmp_path / "ws" / "records.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    assert readable(tmp_path / "ws")["status"] == "finished"


def test_a_run_that_another_process_works_on(tmp_path: Path, expected: Expected) -> None:
    workspace = tmp_path / "ws"
    child = Child.start(workspace, config=SHORT)
    assert child.wait_for("AttemptFinished")
    # Stopped, so that it is at work however long this takes.
    os.kill(child.process.pid, signal.SIGSTOP)
    try:
        run_id = readable(workspace)["run_id"]
        done = cli(workspace, "resume", run_id)
    finally:
        os.kill(child.process.pid, signal.SIGCONT)
    refused(done, 1, repr(run_id), f"in use by process {child.process.pid}", "try again")
    assert child.finish()["status"] == "finished"
    assert content(workspace, run_id) == expected.content
