"""Kill -9 and Ctrl-C at any moment: nothing acknowledged is lost, and the run ends the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agentlab.records import Records, Workspace
from agentlab.types import JsonObject
from agentlab.types.report import INTERRUPTED
from tests.faults.run_process import (
    HAS_PROC,
    ROOT,
    Child,
    acknowledged,
    all_end,
    descendants,
    run_id_of,
)

SHORT: dict[str, JsonObject] = {
    "courier": {
        "environment": "courier",
        "rounds": 2,
        "attempts": 12,
        "proposals": 12,
        "tool_calls": 150,
        "heldout": 4,
        "heldout_tool_calls": 150,
    },
    "babyai": {
        "environment": "babyai",
        "rounds": 2,
        "attempts": 8,
        "proposals": 8,
        "tool_calls": 100,
        "heldout": 2,
        "heldout_tool_calls": 100,
        "index": "exact",
    },
    "chat": {
        "environment": "courier",
        "model": "scripted:agentlab.testing.rules.roles:courier_rules",
        "curator": "generalise",
        "rounds": 2,
        "attempts": 10,
        "proposals": 10,
        "tool_calls": 60,
        "heldout": 4,
        "heldout_tool_calls": 60,
        "index": "exact",
        "concurrency": 4,
        "admission.trial_tool_calls": 60,
    },
    "budget": {
        "environment": "courier",
        "rounds": 2,
        "attempts": 12,
        "proposals": 12,
        "tool_calls": 150,
        "heldout": 0,
        "index": "exact",
        "budget.attempts": 40,
        "budget.steps": 20000,
    },
}
"""The runs of these tests, by name."""
KILLS_A_RUN = 5
STARTED: list[Child] = []
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


class Wanted(NamedTuple):
    """An uninterrupted run."""

    left: Left
    told: int
    """How many events it told."""


Reference = Callable[[str, int], Wanted]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    base = tmp_path_factory.mktemp("undisturbed")

    @cache
    def run(environment: str, seed: int) -> Wanted:
        place = base / f"{environment}-{seed}"
        child = go_on(place, environment, seed)
        left = left_behind(place, child.finish())
        return Wanted(left, len(child.told) - 1)

    return run


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    yield
    for child in STARTED:
        if child.process.poll() is None:
            child.kill(group=True)
    STARTED.clear()


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
        assert records.runs.get(run_id).status == report["status"] != "running"
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
    child = Child.start(workspace, run=run, config={"seed": seed, **SHORT[environment]})
    STARTED.append(child)
    return child


def same(found: Left, wanted: Left) -> None:
    assert found.events == wanted.events
    assert found.attempts == wanted.attempts
    assert found.life == wanted.life
    assert found.report == wanted.report


def wait_for_the_moment(child: Child, told: int, draw: random.Random) -> None:
    """Until the run has told so much, or, in a third of the trials, for a while.

    Much happens that tells nothing (imports, checks of proposals, replays); hence the times.
    """
    kind = draw.randrange(6)
    if kind == 0:
        time.sleep(draw.uniform(0, 2))
    elif kind == 1:
        child.wait_for("RunStarted")
        time.sleep(draw.uniform(0, 1))
    else:
        child.wait_for_any(told)
        time.sleep(draw.uniform(0, 0.15))


def disturbed(
    workspace: Path, environment: str, seed: int, *, told: int, kills: int, draw: random.Random
) -> tuple[Left, list[int]]:
    """A run that is killed and resumed until it comes to its end.

    Returns also how much was acknowledged at each kill.
    """
    places: list[int] = []
    orphans: list[int] = []
    while len(places) < kills:
        child = go_on(workspace, environment, seed)
        wait_for_the_moment(child, draw.randrange(3 * told // (kills + 1)), draw)
        if child.process.poll() is not None:
            child.finish()
            break
        # In half of the trials the workers outlive the run, and the next process meets them.
        orphans += child.kill(group=draw.random() < 0.5)
        places.append(nothing_lost(workspace))
    report = go_on(workspace, environment, seed).finish()
    nothing_lost(workspace)
    assert all_end(orphans, seconds=LONGEST_SECONDS) == []
    return left_behind(workspace, report), places


@pytest.mark.parametrize("environment", ["courier", "babyai"])
def test_kill_9_at_random_moments(
    tmp_path: Path, kills: int, reference: Reference, environment: str
) -> None:
    draw = random.Random(f"kills {environment}")
    wanted_kills = (kills + 1) // 2
    done = number = 0
    while done < wanted_kills:
        seed = 3 + number // 2
        wanted = reference(environment, seed)
        found, places = disturbed(
            tmp_path / str(number),
            environment,
            seed,
            told=wanted.told,
            kills=min(KILLS_A_RUN, wanted_kills - done),
            draw=draw,
        )
        total = len(wanted.left.attempts)
        print(f"{environment}, seed {seed}: killed after {places} of {total} attempts")
        same(found, wanted.left)
        done += len(places)
        number += 1


def test_kill_9_of_a_run_with_a_chat_model(
    tmp_path: Path, kills: int, reference: Reference
) -> None:
    draw = random.Random("kills chat")
    wanted = reference("chat", 3)
    found, places = disturbed(
        tmp_path / "ws", "chat", 3, told=wanted.told, kills=max(2, kills // 5), draw=draw
    )
    print(f"chat: killed after {places} of {len(wanted.left.attempts)} attempts")
    same(found, wanted.left)


def test_kill_9_during_the_closing_comparison(tmp_path: Path, reference: Reference) -> None:
    wanted = reference("courier", 3).left
    for done in (1, 4):
        child = go_on(tmp_path / "ws", "courier", 3)
        assert child.wait_for("Progress", done + 1)
        child.kill(group=done == 1)
        assert nothing_lost(tmp_path / "ws") > 0
    child = go_on(tmp_path / "ws", "courier", 3)
    same(left_behind(tmp_path / "ws", child.finish()), wanted)
    # What was measured before was not measured again: the rest, and the figure to begin with.
    assert child.told.count("Progress") <= 8 - 4 + 1


def test_kill_9_while_candidates_are_tried_on_a_budget(
    tmp_path: Path, reference: Reference
) -> None:
    wanted = reference("budget", 3).left
    assert wanted.report["reason"] == "attempts used up"
    for told in (16, 7):
        child = go_on(tmp_path / "ws", "budget", 3)
        assert child.wait_for("AttemptFinished", told)
        child.kill(group=True)
        nothing_lost(tmp_path / "ws")
    same(left_behind(tmp_path / "ws", go_on(tmp_path / "ws", "budget", 3).finish()), wanted)


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc to see what runs")
def test_workers_end_by_themselves_when_the_run_is_killed(tmp_path: Path) -> None:
    child = go_on(tmp_path / "ws", "courier", 5)
    assert child.wait_for("AttemptFinished", 3)
    workers = descendants(child.process.pid)
    assert len(workers) >= 2
    started = child.kill(group=False)
    assert all_end([*workers, *started], seconds=LONGEST_SECONDS) == []


def command(workspace: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "agentlab", *words, "--workspace", str(workspace)]


@pytest.mark.parametrize(
    ("count", "terminal"),
    [(5, True), (30, False), (43, True)],
    ids=["in attempts", "in trials, the run alone", "in the closing comparison"],
)
def test_control_c_ends_cleanly_and_resume_finishes(
    tmp_path: Path, reference: Reference, count: int, terminal: bool
) -> None:
    wanted = reference("courier", 3).left
    flags = {name: value for name, value in SHORT["courier"].items() if name != "environment"}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    process = subprocess.Popen(
        command(tmp_path, "practice", "courier", "--seed=3", "--json", *options),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and _recorded(tmp_path) < count:
        time.sleep(0.02)
    below = descendants(process.pid)
    send: Callable[[int, int], None] = os.killpg if terminal else os.kill
    send(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    report = json.loads(out)
    assert (report["status"], report["reason"]) == ("stopped", INTERRUPTED)
    run = report["run_id"]
    assert all_end(below, seconds=5) == []
    shown = json.loads(_cli(tmp_path, "runs", "show", run, "--json").stdout)
    assert (shown["status"], shown["reason"]) == ("stopped", INTERRUPTED)
    assert count <= _recorded(tmp_path) <= len(wanted.attempts)
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
