"""Insights in a run: written by their curator, admitted by re-solving, retired by effect.

An insight goes the road of a skill with re-solving in place of replay (`library.road`): its
source task must be solved with it, tasks that it was not derived from too, and not all of them
without it. Every re-solve is a shadow attempt on record that counts in no rate.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agentlab.errors import BudgetSpentError, ModelFaultError, UnknownNameError, VerifierFaultError
from agentlab.events import Event, InsightMoved, InsightProposed
from agentlab.graph.approving import asks, path_of, waiting_insights
from agentlab.graph.owning import changes_in_scope
from agentlab.graph.practice import Practice
from agentlab.graph.trials import AdmissionRound, record, shadow_place
from agentlab.library import retirement
from agentlab.library.admission import REJECTED
from agentlab.library.attribution import draws_of
from agentlab.library.road import TRIES, InsightCase, insight_gates, walk
from agentlab.library.skills import origins
from agentlab.library.waiting import gate_evidence
from agentlab.protocols import InsightContext
from agentlab.records import DrawRow, Transaction
from agentlab.types import (
    AttemptSpec,
    Insight,
    InsightChange,
    JsonObject,
    Limits,
    Offer,
    Status,
    Task,
    attempt_id,
    derive_id,
    derive_seed,
)

logger = logging.getLogger(__name__)

UNSEEN = 3
"""Tasks that an insight was not derived from, on which it is tried."""
LEAST_UNSEEN = 2
"""Of them, those that must be solved with it."""
KEPT = 6
"""Tasks that its parents helped with, on which a new version must not do worse."""
SEQUENCE = 40_000
NODE = "advise"
"""Under which the curator's changes are kept between curation and admission."""


class InsightMove(NamedTuple):
    """A change of status that the round has decided on."""

    insight: Insight
    path: tuple[Status, ...]
    reason: str
    evidence: JsonObject
    supersedes: tuple[str, ...] | None = None
    """As in `trials.Move`."""


async def curate(practice: Practice, round_: int) -> None:
    """Ask the insight curator for changes and keep its candidates; once in a round."""
    curator, library = practice.insight_curator, practice.insights
    model = practice.model("curator")
    if curator is None or library is None or model is None:
        return
    run_id, records = practice.run_id, practice.records
    if records.nodes.done(run_id, round_, NODE) is not None:
        return
    library.refresh()
    context = InsightContext(
        environment=practice.environment_name,
        attempts=records.trajectories.learnable(run_id, round_, scope=practice.scope),
        library=[library.insights[key] for key in sorted(library.insights)],
        model=model,
        embedder=library.embedder,
        seed=derive_seed(practice.config.seed, round_, NODE),
    )
    changes: Sequence[InsightChange] = []
    try:
        changes = changes_in_scope(practice.scope, await curator.curate(context))
    except BudgetSpentError:
        pass
    except ModelFaultError as error:
        logger.warning("No advice was written in round %d: %s", round_ + 1, error)
    except BaseException:
        practice.charge_unfinished(round_, NODE)
        raise
    notes = [c.insight for c in changes if c.insight is not None and c.insight.id in c.of]
    noted = {insight.id for insight in notes}
    fresh = [c.insight for c in changes if c.insight is not None and c.insight.id not in noted]
    events: list[Event] = [
        InsightProposed(
            run_id=run_id,
            round=round_,
            sequence=SEQUENCE + number,
            insight_id=insight.id,
            condition=insight.condition,
        )
        for number, insight in enumerate(fresh)
    ]

    def work(part: Transaction) -> JsonObject:
        for insight in fresh:
            part.items.save_insight(insight, run_id=run_id, round_=round_, scope=practice.scope)
        for insight in notes:
            if part.items.insight(insight.id).scope == practice.scope.path:
                part.items.note_outcomes(insight.id, insight.outcomes)
        part.events.append(events)
        practice.charge_model(part, round_, NODE)
        return {"changes": [change.model_dump(mode="json") for change in changes]}

    records.once(run_id, round_, NODE, work)
    practice.tell(events)


async def admit(current: AdmissionRound) -> list[InsightMove]:
    """Judge the round's changes, and those that an earlier budget did not reach."""
    practice = current.practice
    library = practice.insights
    if library is None:
        return []
    library.refresh()
    awaiting = waiting_insights(practice)
    served = dict(library.insights) | {key: insight for key, (insight, _) in awaiting.items()}
    later = {key: replaces for key, (_, replaces) in awaiting.items()}
    moves: list[InsightMove] = []
    for change in _changes(practice, current.round):
        if change.operation == "remove":
            moves += _gone(served, change.of, change.reason or "its curator took it out")
            continue
        insight = change.insight
        if insight is None or _status(practice, insight) not in ("candidate", "quarantined"):
            continue
        case = _case(practice, insight, change.of, served)
        if not _affordable(current, case):
            continue  # it waits for a round that can pay for it
        if len(case.tasks) < LEAST_UNSEEN and not current.last:
            continue  # it was learnt from nearly every task that there is, and waits for more
        resolver = _Resolver(current, case)
        gates = insight_gates(resolver, particular=_particulars(practice, insight))
        passage = await walk(case, gates)
        evidence: JsonObject = {"gates": list(passage.record()), "tasks": list(case.tasks)}
        if resolver.unknown is not None or (passage.reason is not None and _spent_out(practice)):
            continue  # what was tried says nothing, and a later round tries again
        if passage.reason is not None:
            moves.append(InsightMove(insight, ("retired",), REJECTED + passage.reason, evidence))
            continue
        why = f"superseded: by {insight.id}"
        if not asks(practice):
            moves += _gone(served, change.of, why)
            replaces = None
        else:  # what waits itself goes at once; what serves does so until somebody approves this
            moves += _gone(served, [key for key in change.of if key in later], why)
            replaces = tuple(
                each
                for key in change.of
                for each in (later.pop(key, ()) if key in later else (key,) * (key in served))
            )
            later[insight.id] = replaces
        served[insight.id] = insight
        moves.append(InsightMove(insight, path_of(practice), "admitted", evidence, replaces))
    moves += _retired(practice, current.round, served)
    return moves


def carry_out(
    part: Transaction, practice: Practice, round_: int, moves: Sequence[InsightMove], first: int
) -> list[Event]:
    """Put the moves on record, in the caller's transaction; the events that tell of them."""
    events: list[Event] = []
    for move in moves:
        row = part.items.insight(move.insight.id)
        if row.scope != practice.scope.path:
            continue  # as for skills: a run decides nothing about the items of other scopes
        before = row.status
        for status in move.path:
            sequence = first + len(events)
            evidence = move.evidence if status == move.path[-1] else {}
            if move.supersedes is not None and status == "verified":
                evidence = evidence | gate_evidence(sequence, move.supersedes)
            if part.items.move(
                move.insight.id,
                status,
                reason=move.reason,
                evidence=evidence,
                run_id=practice.run_id,
                round_=round_,
            ):
                events.append(
                    InsightMoved(
                        run_id=practice.run_id,
                        round=round_,
                        sequence=sequence,
                        insight_id=move.insight.id,
                        condition=move.insight.condition,
                        before=before,
                        after=status,
                        reason=move.reason,
                    )
                )
            before = status
    return events


def past_draws(practice: Practice) -> dict[str, list[DrawRow]]:
    """The draws of the served insights on record, oldest first, by id."""
    library = practice.insights
    found: dict[str, list[DrawRow]] = {}
    for row in practice.records.draws.all(
        environment=practice.environment_name, scope=practice.scope
    ):
        if library is not None and row.item_id in library.insights:
            found.setdefault(row.item_id, []).append(row)
    return found


def _changes(practice: Practice, round_: int) -> list[InsightChange]:
    """The changes of this round and of earlier ones, oldest first; who was judged is passed by."""
    found: list[InsightChange] = []
    for earlier in range(round_ + 1):
        known = practice.records.nodes.done(practice.run_id, earlier, NODE) or {}
        rows = known.get("changes")
        changes = (
            [InsightChange.model_validate(row) for row in rows] if isinstance(rows, list) else []
        )
        found += [c for c in changes if earlier == round_ or c.operation != "remove"]
    return found


def _status(practice: Practice, insight: Insight) -> Status | None:
    try:
        return practice.records.items.insight(insight.id).status
    except UnknownNameError:
        return None


def _case(
    practice: Practice, insight: Insight, replaced: Sequence[str], served: Mapping[str, Insight]
) -> InsightCase:
    """The insight with tasks of its kind that it was not derived from, and its parents' tasks."""
    parents = [served[key] for key in replaced if key in served]
    rows = practice.records.attempts.all(practice.run_id, kind="practice")
    tried = {row.task_id for row in rows}
    solved = {row.task_id for row in rows if row.success}
    tasks = [task for task in practice.records.tasks.all(practice.run_id) if task.id in tried]
    sources = [task for task in tasks if task.id in insight.source_tasks]
    kinds = {task.template for task in sources if task.id in insight.must_solve}
    others = [task for task in tasks if task.id not in insight.source_tasks]
    # Those of the same template first, and among them those that failed, on which there is
    # something to gain; each is tried anew without it, so that a failure by chance proves nothing.
    others.sort(
        key=lambda task: (
            task.template not in kinds,
            task.id in solved,
            derive_seed("advice", insight.id, task.id),
        )
    )
    return InsightCase(
        insight=insight,
        tasks=tuple(task.id for task in others[:UNSEEN]),
        solved=tuple(
            dict.fromkeys(
                key for parent in parents for key in parent.outcomes.positive if key in tried
            )
        )[:KEPT],
        library=tuple(other for key, other in sorted(served.items()) if key not in replaced),
    )


def _spent_out(practice: Practice) -> bool:
    return practice.seats is not None and practice.seats.spent_out is not None


def _particulars(practice: Practice, insight: Insight) -> list[str]:
    """What its source tasks name as particular to them."""
    found: list[str] = []
    for task in practice.records.tasks.all(practice.run_id):
        named = task.parameters.get("particulars")
        if task.id in insight.source_tasks and isinstance(named, list):
            found += [str(each) for each in named]
    return found


def _most(case: InsightCase) -> int:
    """The most attempts that its gates may make."""
    return TRIES * (len(case.insight.must_solve) + 2 * len(case.tasks) + len(case.solved))


def _affordable(current: AdmissionRound, case: InsightCase) -> bool:
    return current.attempts_left is None or current.attempts_left >= _most(case)


def _gone(served: dict[str, Insight], keys: Sequence[str], reason: str) -> list[InsightMove]:
    found = [served.pop(key) for key in keys if key in served]
    return [InsightMove(insight, ("retired",), reason, {}) for insight in found]


def _retired(practice: Practice, round_: int, served: dict[str, Insight]) -> list[InsightMove]:
    """Insights that their measured effect speaks against."""
    moves: list[InsightMove] = []
    rows = past_draws(practice)
    for key, insight in list(served.items()):
        draws = [row for row in rows.get(key, []) if row.kind in ("practice", "production")]
        if not draws:
            continue
        here = [row for row in draws if row.run_id == practice.run_id]
        offered = [row for row in here if not row.withheld]
        found = retirement.judge(
            retirement.Evidence(
                item_id=key,
                draws=tuple(draws_of(insight, draws)),
                rounds=round_ + 1,
                attempts=(round_ + 1) * practice.config.attempts,
                retrieved=len(here),
                offered=len(offered),
                # Advice is read wherever it is offered; whether it was followed is not known.
                used=len(offered),
                templates_offered=len({row.template for row in offered}),
                templates_used=len({row.template for row in offered}),
            )
        )
        if found.retire:
            del served[key]
            reason = f"{found.reason}: {found.text}"
            moves.append(InsightMove(insight, ("retired",), reason, found.numbers))
    return moves


class _Resolver:
    """Implements `road.Resolver` with shadow attempts."""

    def __init__(self, current: AdmissionRound, case: InsightCase) -> None:
        self._current = current
        # Whichever of its attempts are made, each has the same part of what is left: none of them
        # can take what the others, or the rounds that follow, were to have.
        seats, most = current.practice.seats, max(1, _most(case))
        self._allotted = seats.share(most)[1] if seats is not None else ()
        self.unknown: str | None = None
        """Why a try said neither yes nor no, where one did."""

    async def solve(self, insight: Insight, task_id: str, *, offered: bool, number: int) -> bool:
        """Whether the task is solved; everything else that is served is there either way."""
        current, practice = self._current, self._current.practice
        spec = self._spec(practice.records.tasks.get(task_id), insight, offered, number)
        outcome = await record(practice, spec)
        if outcome.score.success is None:
            self.unknown = outcome.error or outcome.score.explanation
        if current.attempts_left is not None:
            current.attempts_left -= 1
        if current.steps_left is not None:
            current.steps_left -= outcome.usage.steps
        if outcome.score.success is not None and outcome.score.source == "judge":
            why = practice.judge_refusal()
            if why is not None:
                raise VerifierFaultError(why)
        # With help it was solved all the same: this asks what can be done, and is no rate.
        return outcome.status == "completed" and outcome.score.success is True

    def _spec(self, task: Task, insight: Insight, offered: bool, number: int) -> AttemptSpec:
        current, practice = self._current, self._current.practice
        slot = shadow_place(current)
        # Nothing is shown to an attempt at a task that it was derived from, the insight apart
        # whose re-solve this is.
        skills = [
            skill
            for skill in current.served.values()
            if task.id not in origins(skill, current.served)
        ]
        return AttemptSpec(
            id=attempt_id(practice.run_id, current.round, slot, "shadow"),
            run_id=practice.run_id,
            round=current.round,
            slot=slot,
            kind="shadow",
            task=task,
            group_id=derive_id("group", practice.run_id, current.round, task.id, "advice"),
            seed=derive_seed(practice.config.seed, task.id, insight.id, offered, number),
            environment=practice.environment_ref,
            executor=practice.config.acting,
            executor_options=practice.config.executor_options,
            limits=Limits(
                tool_calls=practice.config.admission.trial_tool_calls,
                seconds=practice.config.attempt_seconds,
            ),
            allotted=self._allotted,
            skills=practice.library.with_callees(skills),
            insights=(insight,) if offered else (),
            unverified=(insight.id,) if offered else (),
            offers=(
                Offer(item_id=insight.id, name=insight.id, probability=0.0, withheld=not offered),
            ),
            scope=practice.scope.path,
        )
