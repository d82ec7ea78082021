"""Measuring: arms on the same tasks, with the same seeds and the same budget.

Nothing is learnt, withheld or selected here. The attempts are recorded as evaluation attempts,
keyed by their place, so that an interrupted comparison goes on where it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.config import RetrievalConfig
from agentlab.errors import UsageError
from agentlab.events import Progress
from agentlab.graph.attempts import run_attempt
from agentlab.graph.seats import Seats
from agentlab.graph.workers import WorkerPool
from agentlab.library.insights import InsightLibrary
from agentlab.library.skills import SkillLibrary
from agentlab.protocols import Environment, HasTasks, Observer
from agentlab.records import Records
from agentlab.types import (
    Allotment,
    AttemptOutcome,
    AttemptSpec,
    EnvironmentRef,
    JsonObject,
    Limits,
    Offer,
    Split,
    Task,
    attempt_id,
    derive_id,
    derive_seed,
)

ARM_SLOTS = 100_000
"""Slots of one arm; the k-th arm begins at k times this."""


class Arm(NamedTuple):
    """One way of attempting the tasks."""

    name: str
    executor: str
    library: SkillLibrary | None = None
    """None is an empty library."""
    insights: InsightLibrary | None = None
    options: JsonObject | None = None
    """Of the executor."""


class Bench(NamedTuple):
    """Where the attempts of an evaluation belong and what runs them."""

    run_id: str
    round: int
    records: Records
    pool: WorkerPool
    environment: EnvironmentRef
    evaluator: str
    retrieval: RetrievalConfig
    observers: Sequence[Observer] = ()
    seats: Seats | None = None
    advice: RetrievalConfig = RetrievalConfig(k=4, tokens=1500)


def evaluation_tasks(
    environment: Environment, split: Split, count: int, seed: int
) -> Sequence[Task]:
    """The environment's own tasks of a split, distinct.

    Raises:
        UsageError: the environment brings no tasks.
    """
    if not isinstance(environment, HasTasks):
        raise UsageError("This environment brings no tasks of its own to evaluate on.")
    return environment.tasks(split, count, derive_seed("evaluation", seed) % 10**6)


async def evaluate_arms(
    bench: Bench,
    arms: Sequence[Arm],
    tasks: Sequence[Task],
    *,
    tool_calls: int,
    seconds: float = 120.0,
    allotted: tuple[Allotment, ...] = (),
) -> dict[str, list[AttemptSpec]]:
    """Attempt every task in every arm and record it; the specs of each arm, in task order.

    Args:
        bench: where the attempts belong.
        arms: ways of attempting.
        tasks: each is attempted once in each arm.
        tool_calls: that an attempt may try.
        seconds: that an attempt may take.
        allotted: what the calls of each to models may take, where a budget caps them.
    """
    limits = Limits(tool_calls=tool_calls, seconds=seconds)
    plans: dict[str, list[AttemptSpec]] = {}
    for number, arm in enumerate(arms):
        plans[arm.name] = [
            evaluation_spec(bench, arm, number * ARM_SLOTS + place, task, limits).model_copy(
                update={"allotted": allotted}
            )
            for place, task in enumerate(tasks)
        ]
    specs = [spec for column in zip(*plans.values(), strict=True) for spec in column]
    recorded = set(bench.records.attempts.recorded_ids(bench.run_id, bench.round))
    done = len([spec for spec in specs if spec.id in recorded])
    total = len(specs)
    _tell(bench, done, total)
    width = bench.seats.concurrency if bench.seats is not None else 0
    gate = asyncio.Semaphore(max(bench.pool.size * 2, width, 1))

    async def one(spec: AttemptSpec) -> None:
        nonlocal done
        async with gate:
            outcome = await run_attempt(
                spec, evaluator=bench.evaluator, pool=bench.pool, seats=bench.seats
            )
        bench.records.attempts.record(spec, outcome)
        done += 1
        _tell(bench, done, total)

    try:
        async with asyncio.TaskGroup() as group:
            for spec in specs:
                if spec.id not in recorded:
                    group.create_task(one(spec))
    except ExceptionGroup as failures:
        # One is enough to say; the others mostly say the same (a disk that is full, say).
        raise failures.exceptions[0] from None
    return plans


def outcomes(bench: Bench, specs: Sequence[AttemptSpec]) -> list[AttemptOutcome]:
    """The recorded outcomes of an arm, in task order."""
    return bench.records.trajectories.outcomes([spec.id for spec in specs])


def _tell(bench: Bench, done: int, total: int) -> None:
    event = Progress(run_id=bench.run_id, phase="held-out comparison", done=done, total=total)
    for observer in bench.observers:
        observer.notify(event)


def evaluation_spec(bench: Bench, arm: Arm, slot: int, task: Task, limits: Limits) -> AttemptSpec:
    """The attempt of an arm at a task: its draws follow from the task, and not from the arm."""
    found = (
        arm.library.retrieve(task.instruction, bench.retrieval, task_id=task.id)
        if arm.library is not None
        else []
    )
    skills = [item.skill for item in found]
    told = (
        arm.insights.retrieve(task.instruction, bench.advice, task_id=task.id)
        if arm.insights is not None
        else []
    )
    return AttemptSpec(
        id=attempt_id(bench.run_id, bench.round, slot, "evaluation"),
        run_id=bench.run_id,
        round=bench.round,
        slot=slot,
        kind="evaluation",
        task=task,
        group_id=derive_id("group", bench.run_id, bench.round, task.id),
        seed=derive_seed("evaluation", task.id),
        environment=bench.environment,
        executor=arm.executor,
        executor_options=arm.options or {},
        limits=limits,
        skills=arm.library.with_callees(skills) if arm.library is not None else (),
        insights=tuple(item.insight for item in told),
        offers=(
            *(_offer(item.skill.id, item.skill.name, item.score) for item in found),
            *(_offer(item.insight.id, item.insight.id, item.score) for item in told),
        ),
    )


def _offer(item_id: str, name: str, score: float) -> Offer:
    """Offered for certain: an evaluation withholds nothing."""
    return Offer(item_id=item_id, name=name, probability=0.0, withheld=False, score=score)
