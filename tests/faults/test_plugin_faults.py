"""Environments that break their contract: one sentence each, nothing hangs, nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentlab.analysis.runs import list_runs
from agentlab.records import Records, Workspace
from tests.faults import odd_courier, unruly_courier
from tests.faults.run_process import ROOT

SHORT: dict[str, Any] = {
    "seed": 3,
    "rounds": 1,
    "attempts": 8,
    "proposals": 8,
    "tool_calls": 150,
    "heldout": 0,
    "index": "exact",
    "concurrency": 2,
}
Result = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plugins")
    odd_courier.register(place)
    unruly_courier.register(place)
    return place


def cli(plugins: Path, *words: str) -> Result:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "agentlab", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(plugins)])},
    )


def practise(workspace: Path, plugins: Path, environment: str, **config: Any) -> Result:
    """Practise to the end, in a process of its own."""
    file = workspace.with_name(f"{workspace.name}.toml")
    values = {**SHORT, "environment": environment, **config}
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    chosen = ["--config", str(file), "--workspace", str(workspace)]
    return cli(plugins, "practice", *chosen, "--display", "none", "--json")


def refused(done: Result, code: int, *parts: str) -> None:
    """One sentence on stderr, and nothing else."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    for part in parts:
        assert part in line


def errors(workspace: Path) -> list[str | None]:
    """What went wrong with each practice attempt; None for one that was completed."""
    (run,) = list_runs(workspace)
    with Records.open(Workspace.open(workspace)) as records:
        rows = records.attempts.all(run.run_id, kind="practice")
    assert all(row.success is None for row in rows if row.status != "completed")
    assert all((row.error is None) == (row.status == "completed") for row in rows)
    return [row.error for row in rows]


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ("StepGivesNone", "In the environment 'StepGivesNone', step() gave a NoneType"),
        ("StepTakesBack", "In the environment 'StepTakesBack', step() gave a StepResult whose"),
        ("StepExits", "In the environment 'StepExits', step() called sys.exit(0); raise instead"),
        ("StepInterrupts", "step() raised KeyboardInterrupt, which is no Exception"),
        ("StepEndsItsTask", "step() raised GeneratorExit, which is no Exception"),
        ("StepCancels", "step() raised CancelledError, which is no Exception"),
        ("ShowsTooMuch", "at most 262,144 are recorded for a step"),
        ("StepEndsItsProcess", "its worker process died (exit code 0)"),
        (
            "ShowsWhatCannotBeSent",
            "The environment's step() gave what is no StepResult: observation.data",
        ),
    ],
)
def test_a_step_that_breaks_the_contract_costs_its_own_attempt(
    tmp_path: Path, plugins: Path, environment: str, says: str
) -> None:
    done = practise(tmp_path / "ws", plugins, environment)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    found = errors(tmp_path / "ws")
    broken = [error for error in found if error is not None]
    assert report["status"] == "finished"
    assert report["attempts"] == len(found)
    assert 0 < len(broken) < len(found)
    assert all(says in error for error in broken)
    assert not any("\n" in error for error in broken)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ("ResetGivesText", "reset() gave a str; it must give Observation"),
        ("ResetExits", "reset() called sys.exit(0)"),
        ("InitRaisesInWorkers", "raised OSError in __init__(): only one courier at a time"),
    ],
)
def test_a_start_that_always_fails_stops_the_run(
    tmp_path: Path, plugins: Path, environment: str, says: str
) -> None:
    done = practise(tmp_path / "ws", plugins, environment)
    refused(done, 1, f"'{environment}'", says, "agentlab resume")
    (run,) = list_runs(tmp_path / "ws")
    assert run.status == "failed"


@pytest.mark.parametrize(
    ("environment", "code", "says"),
    [
        ("InitRaises", 1, "raised OSError in __init__(): no map of the town"),
        ("InitExits", 1, "raised SystemExit in __init__()"),
        ("ToolsAreAGenerator", 2, "has tools that are a generator"),
        ("PropertiesAreAList", 2, "has `properties` that are a list"),
    ],
)
def test_what_can_be_seen_at_the_start_is_refused_there(
    tmp_path: Path, plugins: Path, environment: str, code: int, says: str
) -> None:
    done = practise(tmp_path / "ws", plugins, environment)
    refused(done, code, f"environment '{environment}'", says)
    assert not list(tmp_path.glob("ws/runs/*"))


def test_a_reset_that_never_returns_ends_the_run_in_time(tmp_path: Path, plugins: Path) -> None:
    done = practise(
        tmp_path / "ws", plugins, "ResetNeverReturns", attempt_seconds=1, check_seconds=1
    )
    refused(done, 1, "'ResetNeverReturns'", "it did not end within 2 s", "agentlab resume")
    (run,) = list_runs(tmp_path / "ws")
    assert run.status == "failed"


def test_a_plugin_that_leaves_at_import_ends_no_command(tmp_path: Path, plugins: Path) -> None:
    listed = cli(plugins, "envs", "list", "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    found = {line["name"]: line for line in json.loads(listed.stdout)}
    assert found["courier"]["available"]
    assert not found["Leaves"]["available"]
    done = practise(tmp_path / "ws", plugins, "Leaves")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The plugin 'environment/Leaves'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert not list(tmp_path.glob("ws/runs/*"))


UNGUARDED = """
import agentlab
agentlab.practice("courier", rounds=1, attempts=4, proposals=4, heldout=0, index="exact")
"""


def test_a_script_without_a_guard_is_told_and_leaves_one_run(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT), "AGENTLAB_WORKSPACE": str(tmp_path / "ws")},
    )
    assert done.returncode == 1
    assert 'put the call under `if __name__ == "__main__":`' in done.stderr
    assert done.stderr.count("Traceback") == 1
    assert len(list_runs(tmp_path / "ws")) == 1


def test_text_that_no_file_can_hold_costs_nothing(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, "ShowsHalfACharacter", heldout=2)
    assert (done.returncode, done.stderr) == (0, "")
    assert errors(tmp_path / "ws") == [None] * 8


def test_an_environment_that_prints_leaves_the_document_alone(
    tmp_path: Path, plugins: Path
) -> None:
    done = practise(tmp_path / "ws", plugins, "Prints", heldout=2)
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "finished"
    assert "a new day" in done.stderr
    assert errors(tmp_path / "ws") == [None] * 8
    checked = cli(plugins, "envs", "check", "Prints", "--json")
    assert json.loads(checked.stdout)
