"""From records to the reports that people and programs read. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from agentlab.graph.evaluation import Bench, outcomes
from agentlab.records import ItemRow, Records
from agentlab.statistics import Result, compare, proportion
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


def evaluation_report(
    bench: Bench, plans: Mapping[str, Sequence[AttemptSpec]], *, split: Split, budget: int
) -> EvaluationReport:
    """What an evaluation came to; the first arm is the one that is judged."""
    names = list(plans)
    found = {name: outcomes(bench, plans[name]) for name in names}
    main = found[names[0]]
    report = arm_report(names[0], main)
    baseline = difference = None
    if BASELINE in found and names[0] != BASELINE:
        baseline = arm_report(BASELINE, found[BASELINE])
        difference = paired_difference(
            _results(plans[names[0]], main), _results(plans[BASELINE], found[BASELINE])
        )
    solved = [outcome for outcome in main if outcome.success]
    by_id = {s.id: s.name for spec in plans[names[0]] for s in spec.skills}
    used = Counter(by_id[i] for outcome in solved for i in outcome.skills_used if i in by_id)
    return EvaluationReport(
        success_rate=report.success_rate,
        n=report.n,
        interval=report.interval,
        baseline=baseline,
        difference=difference,
        arms=tuple(arm_report(n, found[n]) for n in names[1:] if n != BASELINE),
        skills_used=tuple(name for name, _ in used.most_common()),
        steps=_mean([_steps(outcome) for outcome in solved]),
        tool_calls=_mean([outcome.usage.tool_calls for outcome in solved]),
        split=split,
        budget=budget,
    )


def arm_report(name: str, results: Sequence[AttemptOutcome]) -> ArmReport:
    """One arm's success rate with Wilson's interval."""
    verdicts = [outcome.success for outcome in results if outcome.success is not None]
    estimate = proportion(verdicts)
    if estimate is None:
        return ArmReport(name=name, success_rate=0.0, n=0, interval=Interval(0.0, 1.0))
    return ArmReport(
        name=name,
        success_rate=estimate.value,
        n=estimate.n,
        interval=Interval(estimate.low, estimate.high),
    )


def paired_difference(arm: Sequence[Result], baseline: Sequence[Result]) -> Difference | None:
    """The difference on the tasks that both tried; the interval resamples tasks."""
    estimate = compare(arm, baseline).difference
    if estimate is None:
        return None
    return Difference(
        value=estimate.value, interval=Interval(estimate.low, estimate.high), n=estimate.n
    )


def _results(specs: Sequence[AttemptSpec], found: Sequence[AttemptOutcome]) -> list[Result]:
    tasks = {spec.id: spec.task.id for spec in specs}
    return [Result(tasks[outcome.attempt_id], outcome.success) for outcome in found]


def _steps(outcome: AttemptOutcome) -> int:
    steps = outcome.trajectory.steps if outcome.trajectory else ()
    return sum(step.result.steps for step in steps)


def _mean(values: Sequence[int]) -> float | None:
    return sum(values) / len(values) if values else None


def task_counts(records: Records, run_id: str) -> TaskCounts:
    """What became of a run's proposals."""
    counts = records.tasks.proposal_counts(run_id)
    return TaskCounts(proposed=counts.proposed, admitted=counts.admitted, rejected=counts.rejected)


def run_skills(records: Records, run_id: str, environment: str) -> list[ItemRow[Skill]]:
    """Every skill that a run proposed, whatever became of it."""
    return [r for r in records.items.skills(environment=environment) if r.run_id == run_id]
