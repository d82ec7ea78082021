"""Kill -9 and Ctrl-C at any moment: nothing acknowledged is lost, and the run ends the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agentlab.records import Records, Workspace
from agentlab.types import JsonObject
from tests.faults.run_process import (
    HAS_PROC,
    ROOT,
    Child,
    acknowledged,
    alive,
    all_end,
    descendants,
    run_id_of,
)

SHORT: JsonObject = {
    "rounds": 2,
    "attempts": 12,
    "proposals": 12,
    "tool_calls": 150,
    "heldout": 4,
    "heldout_tool_calls": 150,
}
KILLS_A_RUN = 3
LONGEST_SECONDS = 15.0
"""Within which processes whose parent was killed must end by themselves."""
TIMED = {"cpu_seconds", "wall_seconds", "first_cpu_seconds"}


class Left(NamedTuple):
    """What a run left behind, times and places apart."""

    report: JsonObject
    events: list[Any]
    attempts: list[dict[str, Any]]
    life: dict[str, list[tuple[str, str]]]
    """What became of each skill."""


@cache
def undisturbed(environment: str, seed: int, place: Path) -> tuple[Left, float]:
    """An uninterrupted run, and how long it took from its first word."""
    child = Child.start(place, config={"environment": environment, "seed": seed, **SHORT})
    assert child.wait_for("RunStarted")
    started = time.monotonic()
    report = child.finish()
    return left_behind(place, report), time.monotonic() - started


@pytest.fixture(scope="session")
def reference(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, int], tuple[Left, float]]:
    base = tmp_path_factory.mktemp("undisturbed")
    return lambda environment, seed: undisturbed(
        environment, seed, base / f"{environment}-{seed}"
    )


def left_behind(workspace: Path, report: JsonObject) -> Left:
    run_id = str(report["run_id"])
    with Records.open(Workspace.open(workspace)) as records:
        attempts = [
            {name: value for name, value in row._asdict().items() if name not in TIMED}
            for row in records.attempts.all(run_id)
        ]
        life = {
            row.item.name: [(m.after, m.reason) for m in records.items.history(row.item.id)]
            for row in records.items.skills()
        }
        events = [event.comparable() for event in records.events.all(run_id)]
        assert records.runs.get(run_id).status == "finished"
    assert len({row["attempt_id"] for row in attempts}) == len(attempts)
    return Left(_untimed(report), events, attempts, life)


def _untimed(report: JsonObject) -> JsonObject:
    usage = report["usage"]
    assert isinstance(usage, dict)
    kept = {name: value for name, value in usage.items() if name not in TIMED}
    rest = {name: v for name, v in report.items() if name not in ("run_dir", "seconds", "usage")}
    return {**rest, "usage": kept}


def nothing_lost(workspace: Path) -> int:
    """Everything acknowledged is on record, and nothing was acknowledged twice; how many."""
    told, heldout = acknowledged(workspace)
    assert len(set(told)) == len(told)
    if not told and not heldout:
        return 0
    run_id = run_id_of(workspace)
    assert run_id is not None
    with Records.open(Workspace.open(workspace)) as records:
        rows = records.attempts.all(run_id)
    assert len({row.attempt_id for row in rows}) == len(rows)
    assert set(told) <= {row.attempt_id for row in rows}
    assert sum(row.kind == "evaluation" for row in rows) >= heldout
    return len(told) + heldout


def go_on(workspace: Path, environment: str, seed: int) -> Child:
    """The next process: it resumes what is there, or starts where nothing was written yet."""
    run = run_id_of(workspace)
    config: JsonObject = {"environment": environment, "seed": seed, **SHORT}
    return Child.start(workspace, run=run, config=config)


def same(found: Left, wanted: Left) -> None:
    assert found.events == wanted.events
    assert found.attempts == wanted.attempts
    assert found.life == wanted.life
    assert found.report == wanted.report


def disturbed(
    workspace: Path, environment: str, seed: int, moments: list[float], draw: random.Random
) -> tuple[Left, list[int]]:
    """A run that is killed at each moment after its start and then resumed, to its end.

    Returns also how much was acknowledged at each kill.
    """
    places: list[int] = []
    orphans: list[int] = []
    for moment in moments:
        child = go_on(workspace, environment, seed)
        # A quarter are killed while they start.
        if draw.random() < 0.75 and not child.wait_for("RunStarted"):
            break
        time.sleep(moment)
        # In half of the trials the workers outlive the run, and the next process meets them.
        orphans += child.kill(group=draw.random() < 0.5)
        places.append(nothing_lost(workspace))
    report = go_on(workspace, environment, seed).finish()
    nothing_lost(workspace)
    assert all_end(orphans, seconds=LONGEST_SECONDS) == []
    return left_behind(workspace, report), places


def shares(kills: int) -> list[tuple[str, int, int]]:
    """The trials: environment, seed, kills. One in three is on babyai."""
    trials: list[tuple[str, int, int]] = []
    while kills > 0:
        environment = "babyai" if len(trials) % 3 == 1 else "courier"
        trials.append((environment, 3 + len(trials) // 6, min(KILLS_A_RUN, kills)))
        kills -= KILLS_A_RUN
    return trials


def test_kill_9_at_random_moments(
    tmp_path: Path, kills: int, reference: Callable[[str, int], tuple[Left, float]]
) -> None:
    draw = random.Random(11)
    done = 0
    for number, (environment, seed, count) in enumerate(shares(kills)):
        wanted, seconds = reference(environment, seed)
        moments = [draw.uniform(0, seconds / 1.5) for _ in range(count)]
        found, places = disturbed(tmp_path / str(number), environment, seed, moments, draw)
        print(f"{environment}, seed {seed}: killed after {places} of {len(wanted.attempts)}")
        same(found, wanted)
        done += len(places)
    assert done >= 0.8 * kills  # a run that was over before its moment came is no kill


def test_kill_9_during_the_closing_comparison(
    tmp_path: Path, reference: Callable[[str, int], tuple[Left, float]]
) -> None:
    wanted, _ = reference("courier", 3)
    for done in (1, 4):
        child = go_on(tmp_path, "courier", 3)
        assert child.wait_for("Progress", done + 1)
        child.kill(group=done == 1)
        assert nothing_lost(tmp_path) > 0
    child = go_on(tmp_path, "courier", 3)
    same(left_behind(tmp_path, child.finish()), wanted)
    # What was measured before was not measured again: the rest, and the figure to begin with.
    assert child.told.count("Progress") <= 8 - 4 + 1


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc to see what runs")
def test_workers_end_by_themselves_when_the_run_is_killed(tmp_path: Path) -> None:
    child = go_on(tmp_path, "courier", 5)
    assert child.wait_for("AttemptFinished", 3)
    workers = descendants(child.process.pid)
    assert len(workers) >= 2
    started = child.kill(group=False)
    assert all_end([*workers, *started], seconds=LONGEST_SECONDS) == []


def command(workspace: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "agentlab", *words, "--workspace", str(workspace)]


@pytest.mark.parametrize("terminal", [True, False], ids=["the whole group", "the run alone"])
def test_control_c_ends_cleanly_and_resume_finishes(
    tmp_path: Path, reference: Callable[[str, int], tuple[Left, float]], terminal: bool
) -> None:
    wanted, _ = reference("courier", 3)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SHORT.items()]
    process = subprocess.Popen(
        command(tmp_path, "practice", "courier", "--seed=3", "--json", *options),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    count = 5 if terminal else 20
    while process.poll() is None and _recorded(tmp_path) < count:
        time.sleep(0.02)
    below = descendants(process.pid)
    send: Callable[[int, int], None] = os.killpg if terminal else os.kill
    send(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    report = json.loads(out)
    assert report["status"] == "interrupted"
    run = report["run_id"]
    assert alive(below) == []
    shown = _cli(tmp_path, "runs", "show", run, "--json")
    assert json.loads(shown.stdout)["status"] == "interrupted"
    assert count <= _recorded(tmp_path) < len(wanted.attempts)
    resumed = _cli(tmp_path, "resume", run, "--json")
    same(left_behind(tmp_path, json.loads(resumed.stdout)), wanted)


def _cli(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(workspace, *words), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def _recorded(workspace: Path) -> int:
    run_id = run_id_of(workspace)
    if run_id is None:
        return 0
    with Records.open(Workspace.open(workspace)) as records:
        return records.attempts.count(run_id)
