"""From records to the reports that people and programs read. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from agentlab.errors import UsageError
from agentlab.graph.evaluation import ARM_SLOTS, Bench, outcomes
from agentlab.records import ItemRow, Records, RunRow
from agentlab.statistics import Estimate, Result, bootstrap_mean, compare, proportion
from agentlab.types import AttemptOutcome, AttemptSpec, Skill, Split
from agentlab.types.report import (
    ArmReport,
    Difference,
    EvaluationReport,
    Interval,
    TaskCounts,
)

LIBRARY = "library"
BASELINE = "empty library"

PSEUDO_RUNS = {
    "evaluate": "an evaluation",
    "agent": "an agent",
    "library": "a library that was lent",
    "mcp serve": "an MCP client",
    "learn": "an agent that learnt from them",
    "verify": "the verification of a library",
    "import": "the verification of a pack",
    "gate": "a gate",
}
"""Whose attempts a run with that `command` in its config holds; a practice run has none."""


class Tried(NamedTuple):
    """A task of an evaluation, and what came of it in one arm."""

    task_id: str
    outcome: AttemptOutcome

    @property
    def result(self) -> Result:
        """What a comparison takes."""
        return Result(self.task_id, self.outcome.success)


def practice_run(records: Records, run_id: str) -> RunRow:
    """A run that practised.

    Raises:
        UnknownNameError: there is no such run.
        UsageError: it is one under which an evaluation or an agent recorded its attempts.
    """
    row = records.runs.get(run_id)
    command = row.config.get("command")
    if command is not None:
        raise UsageError(
            f"The run {run_id!r} holds the attempts of {PSEUDO_RUNS.get(str(command), command)} "
            "and is no practice run; choose one that `agentlab runs list` shows."
        )
    return row


def evaluation_report(
    bench: Bench, plans: Mapping[str, Sequence[AttemptSpec]], *, split: Split, budget: int
) -> EvaluationReport:
    """What an evaluation came to; the first arm is the one that is judged."""
    arms: dict[str, list[Tried]] = {}
    for name, specs in plans.items():
        tasks = {spec.id: spec.task.id for spec in specs}
        arms[name] = [Tried(tasks[o.attempt_id], o) for o in outcomes(bench, specs)]
    return _evaluated(bench.records, bench.run_id, arms, split=split, budget=budget)


def closing_comparison(records: Records, row: RunRow) -> dict[str, list[Tried]]:
    """The recorded attempts of a practice run's held-out comparison, by arm, in task order."""
    names = (LIBRARY, BASELINE)
    arms: dict[str, list[Tried]] = {name: [] for name in names}
    tried = records.attempts.all(row.run_id, kind="evaluation")
    found = records.trajectories.outcomes([attempt.attempt_id for attempt in tried])
    for attempt, outcome in zip(tried, found, strict=True):
        number = attempt.slot // ARM_SLOTS
        if number < len(names):
            arms[names[number]].append(Tried(attempt.task_id, outcome))
    return arms


def closing_report(records: Records, row: RunRow) -> EvaluationReport | None:
    """What a practice run's held-out comparison came to so far; None where it has none."""
    arms = closing_comparison(records, row)
    if not arms[LIBRARY]:
        return None
    budget = row.config.get("heldout_tool_calls")
    return _evaluated(
        records,
        row.run_id,
        {name: tried for name, tried in arms.items() if tried},
        split="heldout",
        budget=budget if isinstance(budget, int) else 1000,
    )


def _evaluated(
    records: Records,
    run_id: str,
    arms: Mapping[str, Sequence[Tried]],
    *,
    split: Split,
    budget: int,
) -> EvaluationReport:
    first, *others = arms
    reports = {name: arm_report(name, _verdicts(tried)) for name, tried in arms.items()}
    judged = reports[first]
    compared = BASELINE in others
    solved = [tried.outcome for tried in arms[first] if tried.outcome.success]
    steps = bootstrap_mean([[_steps(outcome)] for outcome in solved], seed=0)
    calls = bootstrap_mean([[outcome.usage.tool_calls] for outcome in solved], seed=0)
    return EvaluationReport(
        run_id=run_id,
        success_rate=judged.success_rate,
        n=judged.n,
        interval=judged.interval,
        failed=judged.failed,
        baseline=reports[BASELINE] if compared else None,
        difference=paired_difference(arms[first], arms[BASELINE]) if compared else None,
        arms=tuple(reports[name] for name in others if name != BASELINE),
        skills_used=_skills_used(records, solved),
        steps=steps.value if steps else None,
        steps_interval=_interval(steps),
        tool_calls=calls.value if calls else None,
        tool_calls_interval=_interval(calls),
        split=split,
        budget=budget,
        box=ran_in(records, run_id),
    )


def ran_in(records: Records, run_id: str) -> str:
    """The box in which a run's skill code ran, with its version; empty where it is not known."""
    box = records.runs.get(run_id).versions.get("box")
    return box if isinstance(box, str) else ""


def arm_report(name: str, verdicts: Sequence[bool | None]) -> ArmReport:
    """One arm's success rate with Wilson's interval; None is an attempt without a verdict."""
    known = [verdict for verdict in verdicts if verdict is not None]
    failed = len(verdicts) - len(known)
    estimate = proportion(known)
    return ArmReport(
        name=name,
        success_rate=estimate.value if estimate else 0.0,
        n=len(known),
        interval=_interval(estimate) or Interval(0.0, 1.0),
        failed=failed,
    )


def paired_difference(arm: Iterable[Tried], baseline: Iterable[Tried]) -> Difference | None:
    """The difference on the tasks that both tried; the interval resamples tasks."""
    estimate = compare(
        [tried.result for tried in arm], [tried.result for tried in baseline]
    ).difference
    if estimate is None:
        return None
    return Difference(
        value=estimate.value, interval=Interval(estimate.low, estimate.high), n=estimate.n
    )


def _verdicts(arm: Iterable[Tried]) -> list[bool | None]:
    return [tried.outcome.success for tried in arm]


def _skills_used(records: Records, solved: Iterable[AttemptOutcome]) -> tuple[str, ...]:
    """Names, most used first."""
    names = {row.item.id: row.item.name for row in records.items.skills(scope=None)}
    used = Counter(names[i] for outcome in solved for i in outcome.skills_used if i in names)
    return tuple(name for name, _ in used.most_common())


def _steps(outcome: AttemptOutcome) -> int:
    steps = outcome.trajectory.steps if outcome.trajectory else ()
    return sum(step.result.steps for step in steps)


def _interval(estimate: Estimate | None) -> Interval | None:
    return Interval(estimate.low, estimate.high) if estimate else None


def task_counts(records: Records, run_id: str) -> TaskCounts:
    """What became of a run's proposals."""
    counts = records.tasks.proposal_counts(run_id)
    return TaskCounts(proposed=counts.proposed, admitted=counts.admitted, rejected=counts.rejected)


def run_skills(records: Records, run_id: str, environment: str) -> list[ItemRow[Skill]]:
    """Every skill that a run proposed, whatever became of it."""
    return [
        r for r in records.items.skills(environment=environment, scope=None) if r.run_id == run_id
    ]
