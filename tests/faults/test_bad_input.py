"""Bad input gets one sentence that names the fix, and what was recorded stays readable."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import agentlab
from agentlab.analysis.runs import list_runs, show_run
from agentlab.config import load_config
from agentlab.events import AttemptFinished, Event
from agentlab.graph.run import work_on
from agentlab.records import Records, Workspace
from agentlab.types import JsonObject, digest
from tests.faults.faulty_courier import register
from tests.faults.run_process import ROOT, Child

SHORT: JsonObject = {
    "environment": "courier",
    "seed": 3,
    "rounds": 2,
    "attempts": 8,
    "proposals": 8,
    "tool_calls": 150,
    "heldout": 2,
    "heldout_tool_calls": 150,
    "index": "exact",
}
BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
from agentlab.cli.main import main
main()
"""
Result = subprocess.CompletedProcess[str]


def cli(
    workspace: Path, *words: str, plugins: Path | None = None, block: str | None = None
) -> Result:
    """The command in a process of its own, silent but for what goes wrong."""
    program = ["-m", "agentlab"] if block is None else ["-c", BLOCKED.format(module=block)]
    path = [str(ROOT), *([str(plugins)] if plugins else [])]
    return subprocess.run(
        [sys.executable, *program, *words, "--workspace", str(workspace), "--display", "none"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )


def practice_command(workspace: Path, **config: Any) -> list[str]:
    """`agentlab practice` with a config file."""
    file = workspace.with_name(f"{workspace.name}.toml")
    values = {**SHORT, **config}
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    command = [sys.executable, "-m", "agentlab", "practice", "--config", str(file), "--json"]
    return [*command, "--workspace", str(workspace), "--display", "none"]


def practise(workspace: Path, plugins: Path | None = None, **config: Any) -> Result:
    """Practise to the end, in a process of its own."""
    path = [str(ROOT), *([str(plugins)] if plugins else [])]
    return subprocess.run(
        practice_command(workspace, **config),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )


def refused(done: Result, code: int, *parts: str) -> str:
    """The one sentence on stderr, which says all these things; the index may add a warning."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("The index ")]
    assert len(lines) == 1, done.stderr
    line = lines[0]
    for part in parts:
        assert part in line
    return one_sentence(line)


def one_sentence(line: str) -> str:
    """At most a question of what was meant follows it."""
    quoted = re.sub(r"'[^']*'|`[^`]*`", "", line)
    rest = re.sub(r" Did you mean .*\?| See .*| Known: .*| None is registered.", "", quoted)
    assert len(re.findall(r"[.?!](?= [A-Z])", rest)) == 0, line
    assert line.startswith("Error: ")
    return line


def readable(workspace: Path) -> dict[str, Any]:
    """The only run of a workspace, as `runs list` and `runs show` tell of it."""
    (run,) = list_runs(workspace)
    detail = show_run(workspace, run.run_id)
    assert detail.attempts == run.attempts
    return detail.model_dump(mode="json")


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plugins")
    register(place)
    return place


class Expected(NamedTuple):
    """The short run without any fault."""

    content: list[Any]
    attempts: list[str]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    seen = Seen()
    place = tmp_path_factory.mktemp("expected")
    report = agentlab.practice(workspace=place, observers=[seen], **_options(SHORT))
    return Expected(content(place, report.run_id), sorted(seen.attempts))


def _options(config: JsonObject) -> dict[str, Any]:
    return dict(config)


def content(workspace: Path, run_id: str) -> list[Any]:
    """The events of a run, but for ids, which tell of the config as well."""
    with Records.open(Workspace.open(workspace)) as records:
        told = [event.comparable() for event in records.events.all(run_id)]
    return [
        (place[:4], {k: v for k, v in place[4].items() if k != "attempt_id"})
        for place in told
        if place is not None
    ]


class Seen:
    """Keeps the ids of attempts that it was told of."""

    def __init__(self) -> None:
        self.attempts: list[str] = []

    def notify(self, event: Event) -> None:
        if isinstance(event, AttemptFinished):
            self.attempts.append(event.attempt_id)


# --- what was asked for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["practice", "babyia"], ["no environment named 'babyia'", "Did you mean 'babyai'?"]),
        (["practice", "courier", "--model", "serch"], ["no executor", "Did you mean 'search'?"]),
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
    whole = agentlab.practice(workspace=tmp_path / "whole", **_options(config))
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
    first = agentlab.practice(workspace=tmp_path / "other", **_options(SHORT))
    # The first holds its directory and has recorded nothing yet.
    with Workspace.open(workspace).lock_run(first.run_id):
        second = agentlab.practice(workspace=workspace, **_options(SHORT))
    assert (second.run_id, second.status) == (f"{first.run_id}-2", "finished")
    assert content(workspace, second.run_id) == expected.content
    assert [run.run_id for run in list_runs(workspace)] == [second.run_id]


def test_a_start_whose_number_was_taken_and_left_takes_the_next(tmp_path: Path) -> None:
    config = load_config(None, **_options({**SHORT, "rounds": 1, "heldout": 0}))
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


# --- code from elsewhere --------------------------------------------------------------------


def attempts(workspace: Path) -> list[tuple[str, bool | None, str | None]]:
    """Status, verdict and error of each practice attempt."""
    run_id = readable(workspace)["run_id"]
    with Records.open(Workspace.open(workspace)) as records:
        rows = records.attempts.all(run_id, kind="practice")
    return [(row.status, row.success, row.error) for row in rows]


def fails_in_part(workspace: Path, done: Result, error: str) -> None:
    """Some attempts are failures of infrastructure, which no rate counts; the run went on."""
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["status"] == "finished"
    rows = attempts(workspace)
    assert report["attempts"] == len(rows)
    broken = [row for row in rows if row[0] == "infrastructure_failure"]
    assert 0 < len(broken) < len(rows)
    for _, success, text in broken:
        assert success is None
        assert text is not None
        assert error in text
    assert all(success is not None for status, success, _ in rows if status == "completed")
    curve = readable(workspace)["curve"]
    assert sum(point["attempts"] for point in curve) == len(rows) - len(broken)


def test_an_environment_that_never_starts(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, environment="raises-in-reset")
    refused(done, 1, "'raises-in-reset'", "OSError: the depot is closed")
    assert readable(tmp_path / "ws")["status"] == "failed"


def test_an_environment_whose_every_step_raises(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, environment="raises-in-every-step")
    refused(done, 1, "'raises-in-every-step'", "RuntimeError: the courier is ill")
    assert readable(tmp_path / "ws")["status"] == "failed"


def test_an_environment_that_does_not_always_start(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, environment="raises-in-some-resets", heldout=6)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"]["admitted"] > 0
    heldout = json.loads(done.stdout)["heldout"]
    assert 0 < heldout["n"] < 6
    assert heldout["n"] == heldout["baseline"]["n"]


def test_an_environment_that_raises_in_some_steps(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, environment="raises-in-some-steps", attempts=8)
    fails_in_part(tmp_path / "ws", done, "RuntimeError in attempt: the parcel is stuck")


def test_an_environment_whose_step_never_returns(tmp_path: Path, plugins: Path) -> None:
    done = practise(
        tmp_path / "ws",
        plugins,
        environment="hangs-in-some-attempts",
        attempt_seconds=2,
        rounds=1,
        heldout=0,
    )
    fails_in_part(tmp_path / "ws", done, "it did not end within 3 s")


def test_an_environment_that_takes_its_process_along(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, environment="kills-its-process", rounds=1, heldout=0)
    fails_in_part(tmp_path / "ws", done, "its worker process died (exit code -9)")


def test_an_environment_that_cannot_be_checked_in_time(tmp_path: Path, plugins: Path) -> None:
    done = practise(
        tmp_path / "ws",
        plugins,
        environment="hangs-in-some-checks",
        check_seconds=3,
        attempt_seconds=2,
        rounds=1,
        heldout=0,
    )
    assert done.returncode == 0, done.stderr
    tasks = json.loads(done.stdout)["tasks"]
    assert tasks["admitted"] > 0
    assert any(reason.startswith("verifier fault") for reason in tasks["rejected"])


def test_verifiers_that_raise_or_never_end(tmp_path: Path, plugins: Path) -> None:
    done = practise(
        tmp_path / "ws", plugins, proposer="odd-verifiers", proposals=6, rounds=1, heldout=0
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    tasks = json.loads(done.stdout)["tasks"]
    assert (tasks["proposed"], tasks["admitted"]) == (6, 2)
    run_id = readable(tmp_path / "ws")["run_id"]
    told = content(tmp_path / "ws", run_id)
    reasons = [payload["reason"] for place, payload in told if place[3] == "TaskRejected"]
    assert sum("ZeroDivisionError" in reason for reason in reasons) == 2
    endless = ("did not end within", "processor time")
    assert sum(any(text in reason for text in endless) for reason in reasons) == 2


@pytest.mark.parametrize(
    ("evaluator", "error"),
    [("raises", "LookupError in attempt: no verdict"), ("hangs", "did not end within 3 s")],
)
def test_an_evaluator_that_gives_no_verdict_at_all(
    tmp_path: Path, plugins: Path, evaluator: str, error: str
) -> None:
    done = practise(
        tmp_path / "ws", plugins, evaluator=evaluator, attempt_seconds=2, attempts=4, proposals=6
    )
    refused(done, 1, error)
    assert readable(tmp_path / "ws")["status"] == "failed"
    assert {status for status, _, _ in attempts(tmp_path / "ws")} == {"infrastructure_failure"}


class Grumbler:
    """Fails at the third event."""

    def __init__(self) -> None:
        self.told = 0

    def notify(self, event: Event) -> None:
        self.told += 1
        if self.told == 3:
            raise RuntimeError("I have had enough")


def test_an_observer_that_raises_is_dropped(
    tmp_path: Path, expected: Expected, caplog: pytest.LogCaptureFixture
) -> None:
    grumbler, seen = Grumbler(), Seen()
    report = agentlab.practice(workspace=tmp_path, observers=[grumbler, seen], **_options(SHORT))
    assert report.status == "finished"
    assert grumbler.told == 3
    assert sorted(seen.attempts) == expected.attempts
    assert content(tmp_path, report.run_id) == expected.content
    (record,) = [r for r in caplog.records if r.name.startswith("agentlab.graph")]
    assert "An observer failed and is dropped" in record.getMessage()
