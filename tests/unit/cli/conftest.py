"""What the tests of the command line share: the events of a small run, and a report of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from agentlab.events import (
    AttemptFinished,
    AttemptsPlanned,
    Event,
    Progress,
    RoundFinished,
    RunFinished,
    RunStarted,
    SkillMoved,
    SkillProposed,
    TaskAdmitted,
    TaskRejected,
)
from agentlab.types.report import (
    ArmReport,
    Difference,
    EvaluationReport,
    Interval,
    PracticeReport,
    SkillCounts,
    SkillLine,
    TaskCounts,
)

RUN = "run-0123456789abcdef"


@pytest.fixture
def run_events() -> tuple[Event, ...]:
    """Two rounds of ten attempts and a shadow attempt; 2, then 5 of 10 succeed."""
    return tuple(_run())


@pytest.fixture
def practice_report(tmp_path: Path) -> PracticeReport:
    return PracticeReport(
        run_id=RUN,
        run_dir=str(tmp_path / "runs" / RUN),
        status="finished",
        attempts=22,
        tasks=TaskCounts(proposed=24, admitted=20, rejected={"duplicate": 2, "reserved seed": 2}),
        skills=SkillCounts(admitted=2, rejected=1, retired=1),
        learnt=(
            SkillLine(
                name="deliver",
                signature="deliver(letter: object, house: object)",
                summary="Bring a letter to a house.\n\nMore about it.",
                status="active",
            ),
        ),
        heldout=EvaluationReport(
            success_rate=0.75,
            n=120,
            interval=Interval(0.66, 0.82),
            baseline=ArmReport(
                name="empty library", success_rate=0.25, n=120, interval=Interval(0.18, 0.34)
            ),
            difference=Difference(value=0.5, interval=Interval(0.4, 0.6), n=120),
            skills_used=("deliver",),
            steps=12.5,
            steps_interval=Interval(10.0, 15.0),
            tool_calls=140.0,
        ),
        seconds=83.0,
    )


@pytest.fixture
def replace_module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put functions in the place of a module of agentlab, for one test of what is shown."""

    def replace(name: str, **functions: Callable[..., object]) -> None:
        module = ModuleType(name)
        for function, body in functions.items():
            setattr(module, function, body)
        monkeypatch.setitem(sys.modules, name, module)

    return replace


def _run() -> Iterator[Event]:
    yield RunStarted(run_id=RUN, environment="courier", model="search")
    for number in range(2):
        yield from _round(number)
    for done in (0, 4, 8):
        yield Progress(run_id=RUN, phase="held-out comparison", done=done, total=8)
    yield RunFinished(run_id=RUN, status="finished")


def _round(number: int) -> Iterator[Event]:
    for _ in range(10):
        yield TaskAdmitted(run_id=RUN, round=number, instruction="deliver it")
    for reason in ("reserved seed: 19 belongs to heldout", "duplicate"):
        yield TaskRejected(run_id=RUN, round=number, reason=reason)
    yield AttemptsPlanned(run_id=RUN, round=number, attempts=11, shadow=1)
    for slot in range(10):
        solved = slot < 2 + 3 * number
        yield AttemptFinished(run_id=RUN, round=number, slot=slot, success=solved, steps=5)
    yield AttemptFinished(
        run_id=RUN, round=number, slot=10, attempt_kind="shadow", success=True, steps=5
    )
    name = f"deliver_{number}"
    yield SkillProposed(run_id=RUN, round=number, name=name)
    yield SkillMoved(run_id=RUN, round=number, name=name, before="verified", after="active")
    if number == 1:
        yield SkillMoved(
            run_id=RUN, round=1, name="deliver_0", before="active", after="retired", reason="no use"
        )
    yield RoundFinished(run_id=RUN, round=number, attempts=10, successes=2, active_skills=1)
