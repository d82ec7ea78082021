"""The nodes of a practice round: propose, attempt, curate, and the end of the round.

Each is a plain async function over state and `Practice`, testable without LangGraph, and may
run twice: what it decides depends on the records and the seed alone, and is written once.
`selection` has the node between the first two, and `admit` the one before the last.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

from agentlab.errors import BudgetSpentError, EnvironmentFaultError, ModelFaultError
from agentlab.events import (
    Event,
    RepliesDropped,
    RoundFinished,
    SkillProposed,
    TaskAdmitted,
    TaskRejected,
    TasksChecked,
)
from agentlab.graph import advice, jobs
from agentlab.graph.archive import archive
from agentlab.graph.attempts import finished_event, run_attempt
from agentlab.graph.demonstrating import shown_attempts, shown_tasks
from agentlab.graph.owning import in_scope
from agentlab.graph.practice import LaneState, Practice, RunState, RunUpdate
from agentlab.graph.proposing import proposals
from agentlab.graph.remarks import REFUSED, as_result, dropped_by
from agentlab.graph.surveying import surveys
from agentlab.graph.workers import WorkerFault
from agentlab.library.admission import REJECTED
from agentlab.proposers.novelty import refusals
from agentlab.protocols import CurationContext, ProposalContext
from agentlab.records import AttemptRow, Transaction, Verdict
from agentlab.types import JsonObject, PastAttempt, Skill, Task, Usage

logger = logging.getLogger(__name__)

CURATED_ROUNDS = 6
"""Rounds whose solved attempts a curator reads."""
FAULT = "verifier fault"
"""Why a proposal is rejected when its check came to no answer."""
LEAST_FAILURES = 3
"""Attempts that must fail for reasons outside the agent, and no other, to stop a run."""
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
        practice.tell([TasksChecked(run_id=run_id, round=round_)])
        context = ProposalContext(
            environment=practice.make_environment,
            split_rule=practice.split_rule,
            count=practice.config.proposals,
            seed=practice.config.seed,
            round=round_,
            templates=records.attempts.template_outcomes(run_id),
            recent=_recent(practice, round_),
            model=practice.model("proposer"),
            library=practice.active(),
            archive=archive(practice, round_),
            surveys=await surveys(practice),
        )
        tasks: Sequence[Task] = []
        before = dropped_by(practice.proposer)
        try:
            shown = await shown_tasks(practice, context)
            tasks = [*shown, *await _proposals(practice, context)]
        except BudgetSpentError:
            pass  # what was asked by then is charged, and the round ends the run
        except BaseException:
            practice.charge_unfinished(round_, "propose")
            raise
        faults = await _checked(tasks, practice, round_)
        if context.model is not None:
            # Models repeat themselves. What is refused as not novel goes on record and from there
            # into the next prompt.
            fit = [
                number
                for number, (task, fault) in enumerate(zip(tasks, faults, strict=True))
                if fault is None and practice.split_rule.refusal(task) is None
            ]
            repeats = refusals([tasks[number] for number in fit], context.archive)
            for number, repeat in zip(fit, repeats, strict=True):
                faults[number] = repeat
        if tasks and all(fault is not None and fault.startswith(FAULT) for fault in faults):
            raise EnvironmentFaultError(
                f"No proposed task could be checked in {practice.config.environment!r} "
                f"({str(faults[0]).removeprefix(FAULT + ': ')}); put that right, then "
                f"`agentlab resume {run_id}` goes on."
            )
        lost = dropped_by(practice.proposer) - before
        events: list[Event] = []

        def work(part: Transaction) -> JsonObject:
            verdicts = part.tasks.add_proposals(
                run_id, round_, list(zip(tasks, faults, strict=True)), practice.split_rule
            )
            events.extend(_verdict_events(run_id, round_, tasks, verdicts))
            part.events.append(events)
            practice.charge_model(part, round_, "propose")
            return {"proposed": len(tasks), **as_result(lost)}

        records.once(run_id, round_, "propose", work)
        practice.tell([*events, *_dropped(practice, round_, "proposer", lost)])
    return {"round": round_, "finished": False}


async def _proposals(practice: Practice, context: ProposalContext) -> Sequence[Task]:
    try:
        return await proposals(
            practice.proposer,
            context,
            name=practice.config.proposer,
            environment=practice.environment_ref,
            pool=practice.pool,
            seconds=practice.config.proposal_seconds
            if context.model is not None
            else practice.config.attempt_seconds + practice.config.check_seconds,
            paused=practice.paused,
        )
    except EnvironmentFaultError as error:
        raise EnvironmentFaultError(
            f"No task can be proposed in {practice.config.environment!r} by the proposer "
            f"{practice.config.proposer!r} ({error}); put that right, then "
            f"`agentlab resume {practice.run_id}` goes on."
        ) from error


async def _checked(tasks: Sequence[Task], practice: Practice, round_: int) -> list[str | None]:
    """Why each is not fit, or None; it is told how far this is, for it may take minutes."""
    done = 0

    def tell() -> None:
        if tasks:
            told = TasksChecked(run_id=practice.run_id, round=round_, done=done, total=len(tasks))
            practice.tell([told])

    async def one(task: Task) -> str | None:
        nonlocal done
        fault = await _check(task, practice)
        done += 1
        tell()
        return fault

    tell()
    return list(await asyncio.gather(*map(one, tasks)))


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


def _dropped(practice: Practice, round_: int, role: str, lost: Counter[str]) -> list[Event]:
    if not lost:
        return []
    return [RepliesDropped(run_id=practice.run_id, round=round_, role=role, reasons=dict(lost))]


async def attempt(state: LaneState, practice: Practice) -> RunUpdate:
    """Attempt planned tasks until none is left, recording each with its event in a transaction.

    A lane that runs again after a crash takes what is not on record by then, whatever it was
    doing before.
    """
    practice.go_on()
    while not practice.out_of_time() and (spec := practice.claim(state["round"])) is not None:
        outcome = await run_attempt(
            spec, evaluator=practice.config.evaluator, pool=practice.pool, seats=practice.seats
        )
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


def _recent(practice: Practice, round_: int) -> list[PastAttempt]:
    """The attempts of the round before."""
    if round_ == 0:
        return []
    trajectories = practice.records.trajectories
    return trajectories.learnable(practice.run_id, round_ - 1, scope=practice.scope)


def _lately_solved(practice: Practice, round_: int) -> list[PastAttempt]:
    """The solved attempts of the last rounds, so that a round costs no more in a long run."""
    return [
        past
        for earlier in range(max(0, round_ + 1 - CURATED_ROUNDS), round_ + 1)
        for past in practice.records.trajectories.learnable(
            practice.run_id, earlier, solved=True, scope=practice.scope
        )
    ]


def _spent(rows: Sequence[AttemptRow]) -> Usage:
    return sum(
        (
            Usage(
                attempts=1,
                tool_calls=row.tool_calls,
                steps=row.steps,
                tokens=row.tokens,
                usd=row.usd,
                cpu_seconds=row.cpu_seconds,
                wall_seconds=row.wall_seconds,
            )
            for row in rows
        ),
        Usage(),
    )


async def curate(state: RunState, practice: Practice) -> RunUpdate:
    """Distil the solved attempts of the last rounds into candidates.

    Raises:
        EnvironmentFaultError: no attempt of this round could be made.
    """
    run_id, round_ = practice.run_id, state["round"]
    _check_that_something_works(practice, round_)
    records = practice.records
    if records.nodes.done(run_id, round_, "curate") is None:
        rows = records.items.skills(
            environment=practice.environment_name,
            toolset=practice.toolset,
            scope=practice.scope,
        )
        context = CurationContext(
            environment=practice.environment_name,
            toolset=practice.toolset,
            attempts=[*shown_attempts(practice), *_lately_solved(practice, round_)],
            library=[row.item for row in rows],
            refused=[
                row.item
                for row in rows
                if row.status == "retired" and row.reason.startswith(REJECTED)
            ],
            tools=practice.environment.tools,
            grammar=practice.vocabulary,
            compose=practice.config.compose,
            model=practice.model("curator"),
        )
        candidates: Sequence[Skill] = []
        lost = Counter[str]()
        try:
            candidates = await practice.curator.curate(context)
            candidates = in_scope(practice.scope, candidates)
            lost = dropped_by(practice.curator)
        except BudgetSpentError:
            pass
        except ModelFaultError as error:
            logger.warning("No skills were written in round %d: %s", round_ + 1, error)
        except BaseException:
            practice.charge_unfinished(round_, "curate")
            raise
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
            rows = part.attempts.all(run_id, round_, kind="practice")
            spent = _spent(rows)
            part.budgets.reserve(run_id, round_, spent)  # done at select, but by older versions
            part.budgets.settle(run_id, round_, spent)
            for skill in candidates:
                part.items.save_skill(skill, run_id=run_id, round_=round_, scope=practice.scope)
            part.events.append(events)
            practice.charge_model(part, round_, "curate")
            return {"candidates": [skill.id for skill in candidates], **as_result(lost)}

        records.once(run_id, round_, "curate", work)
        practice.tell([*events, *_dropped(practice, round_, "curator", lost)])
    await advice.curate(practice, round_)
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
            refused = practice.seats.refused if practice.seats is not None else ()
            return {REFUSED: list(refused)} if refused else {}

        records.once(run_id, round_, "end", work)
        practice.tell([event])
    practice.go_on()
    last = round_ + 1 >= practice.config.rounds
    return {"round": round_ + 1, "finished": last or practice.exhausted() is not None}
