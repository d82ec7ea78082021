"""The nodes of a practice round: propose, select, attempt, curate, and the end of the round.

Each is a plain async function over state and `Practice`, testable without LangGraph, and may
run twice: what it decides depends on the records and the seed alone, and is written once.
Admission is in `admit`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agentlab.curricula.draw import Pool, draw_tasks
from agentlab.errors import EnvironmentFaultError
from agentlab.events import (
    AttemptsPlanned,
    Event,
    RoundFinished,
    SkillProposed,
    TaskAdmitted,
    TaskRejected,
)
from agentlab.graph import jobs
from agentlab.graph.attempts import finished_event, run_attempt
from agentlab.graph.practice import LaneState, Practice, RunState, RunUpdate
from agentlab.graph.workers import WorkerFault
from agentlab.library.admission import REJECTED
from agentlab.library.attribution import (
    Retrieved,
    draw_offers,
    draws_of,
    withholding_probability,
)
from agentlab.protocols import CurationContext, PastAttempt, ProposalContext
from agentlab.records import DrawRow, Transaction, Verdict
from agentlab.statistics import Draw
from agentlab.types import (
    AttemptSpec,
    JsonObject,
    Limits,
    Task,
    Template,
    attempt_id,
    derive_id,
    derive_seed,
)

CURATED_ROUNDS = 6
"""Rounds whose solved attempts a curator reads."""
LEAST_STEPS = 200
"""Primitive steps without which an attempt is not begun."""
FAULT = "verifier fault"
"""Why a proposal is rejected when its check came to no answer."""
LEAST_FAILURES = 3
"""Attempts that must fail for reasons outside the agent, and no other, to stop a run."""
SELECT_SEQUENCE = 10_000
CURATE_SEQUENCE = 20_000
ADMIT_SEQUENCE = 30_000
END_SEQUENCE = 90_000


async def propose(state: RunState, practice: Practice) -> RunUpdate:
    """Make tasks and admit those that are fit; the record store enforces the splits.

    Raises:
        EnvironmentFaultError: none of them could be made or checked.
    """
    run_id, round_ = practice.run_id, state["round"]
    records = practice.records
    if records.nodes.done(run_id, round_, "propose") is None:
        context = ProposalContext(
            environment=practice.make_environment,
            split_rule=practice.split_rule,
            count=practice.config.proposals,
            seed=practice.config.seed,
            round=round_,
            templates=records.attempts.template_outcomes(run_id),
            recent=records.trajectories.learnable(run_id, round_ - 1) if round_ else [],
        )
        tasks = await _proposals(practice, context)
        faults = await asyncio.gather(*(_check(task, practice) for task in tasks))
        if tasks and all(fault is not None and fault.startswith(FAULT) for fault in faults):
            raise EnvironmentFaultError(
                f"No proposed task could be checked in {practice.config.environment!r} "
                f"({str(faults[0]).removeprefix(FAULT + ': ')}); put that right, then "
                f"`agentlab resume {run_id}` goes on."
            )
        events: list[Event] = []

        def work(part: Transaction) -> JsonObject:
            verdicts = part.tasks.add_proposals(
                run_id, round_, list(zip(tasks, faults, strict=True)), practice.split_rule
            )
            events.extend(_verdict_events(run_id, round_, tasks, verdicts))
            part.events.append(events)
            return {"proposed": len(tasks)}

        records.once(run_id, round_, "propose", work)
        practice.tell(events)
    return {"round": round_, "finished": False}


async def _proposals(practice: Practice, context: ProposalContext) -> Sequence[Task]:
    try:
        return await practice.proposer.propose(context)
    except EnvironmentFaultError as error:
        raise EnvironmentFaultError(
            f"No task can be proposed in {practice.config.environment!r} ({error}); put that "
            f"right, then `agentlab resume {practice.run_id}` goes on."
        ) from error


async def _check(task: Task, practice: Practice) -> str | None:
    if practice.split_rule.refusal(task) is not None:
        return None
    found = await practice.pool.run(
        jobs.check, task, practice.environment_ref, seconds=practice.config.check_seconds
    )
    if isinstance(found, WorkerFault):
        return f"{FAULT}: {found.error}"
    return found


def _verdict_events(
    run_id: str, round_: int, tasks: Sequence[Task], verdicts: Sequence[Verdict]
) -> list[Event]:
    events: list[Event] = []
    for number, (task, verdict) in enumerate(zip(tasks, verdicts, strict=True)):
        if verdict.admitted:
            events.append(
                TaskAdmitted(
                    run_id=run_id,
                    round=round_,
                    sequence=number,
                    task_id=task.id,
                    instruction=task.instruction,
                    template=task.template,
                    source=task.source,
                )
            )
        else:
            events.append(
                TaskRejected(
                    run_id=run_id,
                    round=round_,
                    sequence=number,
                    task_id=task.id,
                    instruction=task.instruction,
                    reason=verdict.reason or "",
                    source=task.source,
                )
            )
    return events


async def select(state: RunState, practice: Practice) -> RunUpdate:
    """Choose the round's attempts, what each is offered, and reserve their cost.

    Library, curriculum and budget are frozen here, in slot order.
    """
    run_id, round_ = practice.run_id, state["round"]
    records = practice.records
    known = records.nodes.done(run_id, round_, "select")
    if known is None:
        specs = _plan(practice, round_)
        events: list[Event] = [
            AttemptsPlanned(
                run_id=run_id,
                round=round_,
                sequence=SELECT_SEQUENCE,
                attempts=len(specs),
                templates=dict(sorted(Counter(s.task.template for s in specs).items())),
            )
        ]

        def work(part: Transaction) -> JsonObject:
            part.attempts.plan(run_id, round_, specs)
            part.events.append(events)
            return {"planned": len(specs)}

        known = records.once(run_id, round_, "select", work)
        practice.tell(events)
    planned = known.get("planned")
    return {"planned": planned if isinstance(planned, int) else 0}


class _Reserved(NamedTuple):
    attempts: int
    steps: int | None
    """Primitive steps that each of them may take."""


def _reserve(practice: Practice) -> _Reserved:
    """What the budget can pay for: as many attempts, each with an equal part of the steps."""
    left = practice.left()
    count = practice.config.attempts
    if left.attempts is not None:
        count = min(count, left.attempts)
    if left.seconds is not None and left.seconds <= 0:
        count = 0
    if left.steps is None:
        return _Reserved(count, None)
    count = min(count, left.steps // LEAST_STEPS)
    return _Reserved(count, left.steps // count if count else 0)


def _plan(practice: Practice, round_: int) -> list[AttemptSpec]:
    reserved = _reserve(practice)
    config, records, run_id = practice.config, practice.records, practice.run_id
    tasks = records.tasks.all(run_id)
    tried = Counter(row.task_id for row in records.attempts.all(run_id, kind="practice"))
    fresh = [task for task in tasks if not tried[task.id]]
    outcomes = {template.name: template for template in records.attempts.template_outcomes(run_id)}
    names = sorted({task.template for task in fresh})
    if not names or reserved.attempts <= 0:
        return []
    templates = [outcomes.get(name, Template(name=name)) for name in names]
    pools = [Pool(name, tuple(t.id for t in fresh if t.template == name)) for name in names]
    choices = draw_tasks(
        pools,
        practice.curriculum.probabilities(templates),
        min(reserved.attempts, len(fresh)),
        seed=config.seed,
        round_=round_,
    )
    by_id = {task.id: task for task in fresh}
    practice.library.refresh()
    draws = past_draws(practice)
    limits = Limits(
        tool_calls=config.tool_calls, steps=reserved.steps, seconds=config.attempt_seconds
    )
    return [
        _spec(practice, round_, choice.slot, by_id[choice.task_id], draws, limits)
        for choice in choices
    ]


def past_draws(practice: Practice, *, relevant: bool = False) -> dict[str, list[Draw]]:
    """Past draws by item, oldest first; attempts at an item's own source tasks left out.

    Args:
        practice: the run at work.
        relevant: only those for tasks that state the clause that the item achieves.
    """
    rows: dict[str, list[DrawRow]] = {}
    for row in practice.records.trajectories.draws(environment=practice.environment_name):
        rows.setdefault(row.item_id, []).append(row)
    return {
        skill.id: draws_of(skill, rows[skill.id], relevant=relevant)
        for skill in practice.library.skills.values()
        if skill.id in rows
    }


def _spec(
    practice: Practice,
    round_: int,
    slot: int,
    task: Task,
    draws: Mapping[str, Sequence[Draw]],
    limits: Limits,
) -> AttemptSpec:
    config = practice.config
    found = practice.library.retrieve(task.instruction, config.retrieval, task_id=task.id)
    retrieved = [
        Retrieved(
            item.skill.id,
            item.skill.name,
            withholding_probability(draws.get(item.skill.id, []), config.attribution),
            item.score,
        )
        for item in found
    ]
    offers = draw_offers(
        retrieved,
        calls=practice.library.calls(),
        seed=config.seed,
        round_=round_,
        slot=slot,
    )
    offered = {offer.item_id for offer in offers if not offer.withheld}
    skills = [item.skill for item in found if item.skill.id in offered]
    return AttemptSpec(
        id=attempt_id(practice.run_id, round_, slot),
        run_id=practice.run_id,
        round=round_,
        slot=slot,
        task=task,
        group_id=derive_id("group", practice.run_id, round_, task.id),
        seed=derive_seed(config.seed, round_, slot),
        environment=practice.environment_ref,
        executor=config.model,
        limits=limits,
        skills=practice.library.with_callees(skills),
        offers=offers,
    )


async def attempt(state: LaneState, practice: Practice) -> RunUpdate:
    """Attempt planned tasks until none is left, recording each with its event in a transaction.

    A lane that runs again after a crash takes what is not on record by then, whatever it was
    doing before.
    """
    practice.go_on()
    while not practice.out_of_time() and (spec := practice.claim(state["round"])) is not None:
        outcome = await run_attempt(spec, evaluator=practice.config.evaluator, pool=practice.pool)
        event = finished_event(spec, outcome)
        if await practice.writer.record(spec, outcome, [event]):
            practice.tell([event])
        practice.go_on()
    return {}


def _check_that_something_works(practice: Practice, round_: int) -> None:
    """Stop where every attempt failed for reasons outside the agent; once, so that it may go on."""
    rows = practice.records.attempts.all(practice.run_id, round_, kind="practice")
    if len(rows) < LEAST_FAILURES or any(row.status == "completed" for row in rows):
        return
    if all(row.attempt_id in practice.recorded(round_) for row in rows):
        return
    raise EnvironmentFaultError(
        f"All {len(rows)} attempts of a round failed in {practice.config.environment!r} for "
        f"reasons outside the agent ({rows[0].error}); put that right, then "
        f"`agentlab resume {practice.run_id}` goes on."
    )


def _lately_solved(practice: Practice, round_: int) -> list[PastAttempt]:
    """The solved attempts of the last rounds, so that a round costs no more in a long run."""
    return [
        past
        for earlier in range(max(0, round_ + 1 - CURATED_ROUNDS), round_ + 1)
        for past in practice.records.trajectories.learnable(practice.run_id, earlier, solved=True)
    ]


async def curate(state: RunState, practice: Practice) -> RunUpdate:
    """Distil the solved attempts of the last rounds into candidates.

    Raises:
        EnvironmentFaultError: no attempt of this round could be made.
    """
    run_id, round_ = practice.run_id, state["round"]
    _check_that_something_works(practice, round_)
    records = practice.records
    if records.nodes.done(run_id, round_, "curate") is None:
        rows = records.items.skills(environment=practice.environment_name, toolset=practice.toolset)
        candidates = await practice.curator.curate(
            CurationContext(
                environment=practice.environment_name,
                toolset=practice.toolset,
                attempts=_lately_solved(practice, round_),
                library=[row.item for row in rows],
                refused=[
                    row.item
                    for row in rows
                    if row.status == "retired" and row.reason.startswith(REJECTED)
                ],
                tools=practice.environment.tools,
                grammar=practice.grammar,
                compose=practice.config.compose,
            )
        )
        events: list[Event] = [
            SkillProposed(
                run_id=run_id,
                round=round_,
                sequence=CURATE_SEQUENCE + number,
                skill_id=skill.id,
                name=skill.name,
            )
            for number, skill in enumerate(candidates)
        ]

        def work(part: Transaction) -> JsonObject:
            for skill in candidates:
                part.items.save_skill(skill, run_id=run_id, round_=round_)
            part.events.append(events)
            return {"candidates": [skill.id for skill in candidates]}

        records.once(run_id, round_, "curate", work)
        practice.tell(events)
    return {}


async def end_round(state: RunState, practice: Practice) -> RunUpdate:
    """Close the round and say whether the run is complete."""
    run_id, round_ = practice.run_id, state["round"]
    records = practice.records
    rows = records.attempts.all(run_id, round_, kind="practice")
    practice.library.refresh()
    event = RoundFinished(
        run_id=run_id,
        round=round_,
        sequence=END_SEQUENCE,
        attempts=sum(row.success is not None for row in rows),
        successes=sum(row.success is True for row in rows),
        active_skills=len(practice.library.skills),
    )
    if records.nodes.done(run_id, round_, "end") is None:

        def work(part: Transaction) -> JsonObject:
            part.events.append([event])
            return {}

        records.once(run_id, round_, "end", work)
        practice.tell([event])
    practice.go_on()
    last = round_ + 1 >= practice.config.rounds
    return {"round": round_ + 1, "finished": last or practice.exhausted() is not None}
