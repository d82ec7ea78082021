"""A short practice run from config to report: its numbers, its repetition, and what it leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import agentlab
from agentlab.events import AttemptFinished, Event, RunFinished, RunStarted, SkillMoved
from agentlab.library.admission import REJECTED
from agentlab.records import Records, Workspace
from agentlab.types.report import PracticeReport

COURIER: dict[str, Any] = {
    "environment": "courier",
    "rounds": 2,
    "attempts": 24,
    "proposals": 24,
    "tool_calls": 300,
    "heldout": 8,
    "heldout_tool_calls": 150,
    "concurrency": 2,
    "index": "exact",
    "admission.trials": 8,
    "admission.trial_tool_calls": 150,
}
BABYAI: dict[str, Any] = {
    **COURIER,
    "environment": "babyai",
    "attempts": 10,
    "proposals": 10,
    "heldout": 2,
    "heldout_tool_calls": 60,
    "tool_calls": 120,
    "admission.trials": 4,
    "admission.trial_tool_calls": 60,
}


class Run(NamedTuple):
    report: PracticeReport
    workspace: Path
    told: list[Event]


class _Log:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def _practise(workspace: Path, *, seed: int, options: dict[str, Any]) -> Run:
    log = _Log()
    report = agentlab.practice(workspace=workspace, observers=(log,), seed=seed, **options)
    return Run(report, workspace, log.events)


def _comparable(run: Run) -> list[object]:
    with Records.open(Workspace.open(run.workspace)) as records:
        events = [event.comparable() for event in records.events.all(run.report.run_id)]
    assert None not in events
    return list(events)


Runs = Callable[[str, int], Run]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs by environment and number; each is made once. Numbers 0 and 1 share a seed."""
    made: dict[tuple[str, int], Run] = {}

    def run(environment: str, number: int) -> Run:
        key = (environment, number)
        if key not in made:
            options = COURIER if environment == "courier" else BABYAI
            path = tmp_path_factory.mktemp(f"{environment}-{number}") / "ws"
            made[key] = _practise(path, seed=number // 2, options=options)
        return made[key]

    return run


@pytest.mark.parametrize("environment", ["courier", "babyai"])
def test_the_report_is_what_the_records_say(runs: Runs, environment: str) -> None:
    report, workspace, _ = runs(environment, 0)
    run_id = report.run_id
    assert report.status == "finished"
    assert Path(report.run_dir) == workspace / "runs" / run_id
    with Records.open(Workspace.open(workspace)) as records:
        assert records.runs.get(run_id).status == "finished"
        rows = records.attempts.all(run_id)
        kinds = Counter(row.kind for row in rows)
        assert {row.split for row in rows if row.kind != "evaluation"} == {"practice"}
        assert report.attempts in (kinds["practice"], kinds["practice"] + kinds["shadow"])
        counts = records.tasks.proposal_counts(run_id)
        assert report.tasks.proposed == counts.proposed > 0
        assert report.tasks.admitted == counts.admitted
        assert report.tasks.rejected == counts.rejected
        assert counts.admitted == len(records.tasks.all(run_id))
        skills = records.items.skills(environment=environment)
        rejected = [s for s in skills if s.status == "retired" and s.reason.startswith(REJECTED)]
        active = [s for s in skills if s.status == "active"]
        assert report.skills.rejected == len(rejected)
        assert report.skills.admitted - report.skills.retired == len(active)
        assert {line.name for line in report.learnt} == {s.item.name for s in active}
        heldout = report.heldout
        assert heldout is not None
        measured = [row for row in rows if row.kind == "evaluation"]
        assert {row.split for row in measured} == {"heldout"}
        assert len(measured) == 2 * heldout.n
        assert heldout.baseline is not None
        successes = sum(row.success is True for row in measured)
        both = heldout.success_rate + heldout.baseline.success_rate
        assert round(both * heldout.n) == successes
        spent = records.attempts.spent(run_id, kinds=("practice", "shadow"))
        assert report.usage.attempts == spent.attempts
        assert report.usage.tool_calls >= spent.tool_calls
        assert report.seconds > 0


def test_it_learns_the_couriers_trade(runs: Runs) -> None:
    report = runs("courier", 0).report
    assert report.learnt
    assert report.skills.admitted >= 1
    for line in report.learnt:
        assert line.signature.startswith(f"{line.name}(")
        assert line.status == "active"


def test_observers_are_told_what_is_on_record(runs: Runs) -> None:
    run = runs("courier", 0)
    assert isinstance(run.told[0], RunStarted)
    assert isinstance(run.told[-1], RunFinished)
    told = [event.comparable() for event in run.told if not event.lifecycle]
    assert sorted(map(str, told)) == sorted(map(str, _comparable(run)))
    finished = [
        e for e in run.told if isinstance(e, AttemptFinished) and e.attempt_kind == "practice"
    ]
    with Records.open(Workspace.open(run.workspace)) as records:
        assert len(finished) == records.attempts.count(run.report.run_id, kind="practice")


@pytest.mark.parametrize("environment", ["courier", "babyai"])
def test_the_same_seed_in_another_workspace(runs: Runs, environment: str) -> None:
    first, second = runs(environment, 0), runs(environment, 1)
    assert first.report.run_id == second.report.run_id
    assert _comparable(first) == _comparable(second)
    timed = {"run_dir", "seconds", "usage"}
    assert first.report.model_dump(exclude=timed) == second.report.model_dump(exclude=timed)


@pytest.mark.parametrize("environment", ["courier", "babyai"])
def test_another_seed_is_another_run(runs: Runs, environment: str) -> None:
    first, other = runs(environment, 0), runs(environment, 2)
    assert first.report.run_id != other.report.run_id
    assert _comparable(first) != _comparable(other)


def test_a_second_run_starts_with_what_was_learnt(runs: Runs) -> None:
    first = runs("courier", 2)
    known = {line.name for line in first.report.learnt}
    assert known
    options = {**COURIER, "rounds": 1, "heldout": 0, "attempts": 12, "proposals": 12}
    second = _practise(first.workspace, seed=7, options=options)
    assert second.report.run_id != first.report.run_id
    with Records.open(Workspace.open(first.workspace)) as records:
        planned = records.attempts.planned(second.report.run_id, 0)
        offered = {offer.name for spec in planned for offer in spec.offers}
        assert offered
        assert offered <= known
        made = {
            row.item.name
            for row in records.items.skills(environment="courier")
            if row.run_id == second.report.run_id
        }
        assert not made & known
    moved = [e for e in second.told if isinstance(e, SkillMoved) and e.after == "active"]
    assert not {event.name for event in moved} & known
