"""Attempts read in full, and the one way by which what happened may be learnt from.

`learnable` and `exportable` are the firewall's reading side: they ask the database for practice
attempts at admitted tasks of the practice split, so no caller can pass on anything else by
mistake. Both give what was made in one scope alone, which is the shared one unless another is
named.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Table, case, func, select

from agentlab.errors import UnknownNameError
from agentlab.records.calls import field_of, read_calls
from agentlab.records.database import Session
from agentlab.records.documents import batches, bodies
from agentlab.records.encoding import decode
from agentlab.records.tables import (
    ATTEMPTS,
    DRAWS,
    ITEMS,
    MODEL_CALLS,
    OUTCOMES,
    PLANS,
    SCORES,
    STEPS,
    TASKS,
)
from agentlab.types import (
    SHARED,
    AttemptOutcome,
    ModelCall,
    PastAttempt,
    Scope,
    Score,
    ScoreSource,
    Step,
    Task,
    Trajectory,
)


class Exportable(NamedTuple):
    """A recorded practice attempt, with what training must know of where it stood."""

    attempt_id: str
    round: int
    slot: int
    group_id: str
    task: Task
    outcome: AttemptOutcome
    insights: tuple[str, ...]
    """Ids of the insights that it was offered."""
    skills: tuple[str, ...] = ()
    """Ids of the skills that it was offered."""


class Outline(NamedTuple):
    """Of an exportable attempt, what is known without reading it."""

    attempt_id: str
    task_id: str
    group_id: str
    solved: bool
    steps: int
    """Of its trajectory; what search tried besides does not count."""
    source: ScoreSource = "verifier"
    """Who scored it."""


class Asked(NamedTuple):
    """What an attempt's executor asked of models, as far as terms of training go."""

    calls: int
    unsaid: tuple[str, ...]
    """Models whose calls have no terms on record."""


class Trajectories:
    """Recorded attempts in full."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def outcome(self, attempt_id: str) -> AttemptOutcome:
        """An attempt's outcome as it was recorded.

        Raises:
            UnknownNameError: no attempt of that id is recorded.
        """
        with self._session.read() as connection:
            found = _outcomes(connection, [attempt_id])
        if attempt_id not in found:
            raise UnknownNameError("recorded attempt", attempt_id, ())
        return found[attempt_id]

    def trajectory(self, attempt_id: str) -> Trajectory | None:
        """What happened in an attempt; None when it ended before anything did.

        Raises:
            UnknownNameError: no attempt of that id is recorded.
        """
        return self.outcome(attempt_id).trajectory

    def outcomes(self, attempt_ids: Sequence[str]) -> list[AttemptOutcome]:
        """The outcomes of those attempts that are recorded, in the order asked for."""
        with self._session.read() as connection:
            found = _outcomes(connection, attempt_ids)
        return [found[key] for key in attempt_ids if key in found]

    def learnable(
        self,
        run_id: str,
        round_: int | None = None,
        *,
        solved: bool | None = None,
        scope: Scope = SHARED,
    ) -> list[PastAttempt]:
        """What proposers, curators and exports may read, in (round, slot) order.

        Completed practice attempts at tasks that were admitted to the run and belong to the
        practice split; with `solved`, only those that succeeded, or that did not.
        """
        query = _practised(run_id, scope)
        if round_ is not None:
            query = query.where(ATTEMPTS.c.round == round_)
        if solved is not None:
            query = query.where(ATTEMPTS.c.success.is_(solved))
        with self._session.read() as connection:
            rows = connection.execute(query).all()
            texts = bodies(connection, [row.task for row in rows])
            outcomes = _outcomes(connection, [row.id for row in rows])
            advised = _advised(connection, [row.id for row in rows])
        return [
            PastAttempt(
                task=decode(Task, texts[row.task], table="documents", key=row.task),
                attempt_id=row.id,
                success=row.success,
                trajectory=outcomes[row.id].trajectory,
                tool_calls=row.tool_calls,
                feedback=outcomes[row.id].score.explanation,
                insights=tuple(advised.get(row.id, ())),
            )
            for row in rows
        ]

    def exportable(
        self,
        run_id: str,
        *,
        batch: int = 64,
        rounds: tuple[int, int] | None = None,
        steps: bool = True,
        scope: Scope = SHARED,
        among: Collection[str] | None = None,
    ) -> Iterator[Exportable]:
        """What may leave for training, in (round, slot) order.

        The same attempts as `learnable`, `batch` of them read and held at a time; with `rounds`,
        those from the first up to, and without, the second. Without `steps`, trajectories have
        none, which spares reading them; with `among`, attempts of other ids are not read either.

        Raises:
            RecordsError: a row is not what was written.
        """
        with self._session.read() as connection:
            rows = connection.execute(_within(_practised(run_id, scope), rounds)).all()
        if among is not None:
            rows = [row for row in rows if row.id in among]
        for part in (rows[at : at + batch] for at in range(0, len(rows), batch)):
            with self._session.read() as connection:
                texts = bodies(connection, [row.task for row in part])
                ids = [row.id for row in part]
                outcomes = _outcomes(connection, ids, steps=steps)
                advised = _advised(connection, ids)
                equipped = _advised(connection, ids, kind="skill")
            for row in part:
                yield Exportable(
                    attempt_id=row.id,
                    round=row.round,
                    slot=row.slot,
                    group_id=row.group_id,
                    task=decode(Task, texts[row.task], table="documents", key=row.task),
                    outcome=outcomes[row.id],
                    insights=tuple(advised.get(row.id, ())),
                    skills=tuple(equipped.get(row.id, ())),
                )

    def outline(
        self, run_id: str, *, rounds: tuple[int, int] | None = None, scope: Scope = SHARED
    ) -> list[Outline]:
        """What `exportable` will give, in the same order, without reading any trajectory."""
        practised = _within(_practised(run_id, scope), rounds).subquery()
        steps = (
            select(STEPS.c.attempt_id, func.count().label("number"))
            .group_by(STEPS.c.attempt_id)
            .subquery()
        )
        query = (
            select(practised, ATTEMPTS.c.task_id, steps.c.number, SCORES.c.source)
            .join(ATTEMPTS, ATTEMPTS.c.id == practised.c.id)
            .join(SCORES, SCORES.c.attempt_id == practised.c.id)
            .outerjoin(steps, steps.c.attempt_id == practised.c.id)
            .order_by(practised.c.round, practised.c.slot)
        )
        with self._session.read() as connection:
            return [
                Outline(
                    row.id,
                    row.task_id,
                    row.group_id,
                    row.success is True,
                    row.number or 0,
                    row.source,
                )
                for row in connection.execute(query)
            ]

    def asked(self, attempt_ids: Sequence[str]) -> dict[str, Asked]:
        """What attempts asked of models, without reading any call; those that asked none lack."""
        terms = field_of(MODEL_CALLS.c.body, "terms")
        role = func.coalesce(field_of(MODEL_CALLS.c.body, "role"), "executor")
        termless = case((terms.is_(None), MODEL_CALLS.c.model))
        models = func.json_group_array(termless.distinct())
        found: dict[str, Asked] = {}
        with self._session.read() as connection:
            for part in batches(attempt_ids):
                query = (
                    select(MODEL_CALLS.c.attempt_id, func.count(), models)
                    .where(MODEL_CALLS.c.attempt_id.in_(part), role == "executor")
                    .group_by(MODEL_CALLS.c.attempt_id)
                )
                for key, calls, names in connection.execute(query):
                    unsaid = tuple(sorted(each for each in json.loads(names) if each is not None))
                    found[key] = Asked(calls, unsaid)
        return found


def _practised(run_id: str, scope: Scope) -> Select[Any]:
    """Completed practice attempts of a run at its admitted tasks, in (round, slot) order.

    Of the scope alone, not of those around it: what was made there is told there.
    """
    columns = ("id", "success", "tool_calls", "round", "slot", "group_id")
    return (
        select(*(ATTEMPTS.c[name] for name in columns), PLANS.c.task)
        .join(
            TASKS,
            (TASKS.c.run_id == ATTEMPTS.c.run_id) & (TASKS.c.id == ATTEMPTS.c.task_id),
        )
        .join(PLANS, PLANS.c.attempt_id == ATTEMPTS.c.id)
        .where(
            ATTEMPTS.c.run_id == run_id,
            ATTEMPTS.c.kind == "practice",
            ATTEMPTS.c.status == "completed",
            ATTEMPTS.c.split == "practice",
            ATTEMPTS.c.scope == scope.path,
            TASKS.c.split == "practice",
            TASKS.c.admitted.is_(True),
        )
        .order_by(ATTEMPTS.c.round, ATTEMPTS.c.slot)
    )


def _within(query: Select[Any], rounds: tuple[int, int] | None) -> Select[Any]:
    """The query for some rounds alone."""
    if rounds is None:
        return query
    return query.where(ATTEMPTS.c.round >= rounds[0], ATTEMPTS.c.round < rounds[1])


def _outcomes(
    connection: Connection, attempt_ids: Sequence[str], *, steps: bool = True
) -> dict[str, AttemptOutcome]:
    found: dict[str, AttemptOutcome] = {}
    for part in batches(attempt_ids):
        made = _steps(connection, part) if steps else {}
        calls = _calls(connection, part)
        query = (
            select(OUTCOMES.c.attempt_id, OUTCOMES.c.body, SCORES.c.body.label("score"))
            .join(SCORES, SCORES.c.attempt_id == OUTCOMES.c.attempt_id)
            .where(OUTCOMES.c.attempt_id.in_(part))
        )
        for row in connection.execute(query):
            key = row.attempt_id
            outcome = decode(AttemptOutcome, row.body, table="outcomes", key=key)
            trajectory = outcome.trajectory and outcome.trajectory.model_copy(
                update={
                    "steps": tuple(made.get(key, ())),
                    "model_calls": tuple(calls.get(key, ())),
                }
            )
            score = decode(Score, row.score, table="scores", key=key)
            found[key] = outcome.model_copy(update={"trajectory": trajectory, "score": score})
    return found


def _advised(
    connection: Connection, attempt_ids: Sequence[str], *, kind: str = "insight"
) -> dict[str, list[str]]:
    """The items of a kind that each attempt was offered, by id."""
    found: dict[str, list[str]] = {}
    for part in batches(attempt_ids):
        query = (
            select(DRAWS.c.attempt_id, DRAWS.c.item_id)
            .join(ITEMS, ITEMS.c.id == DRAWS.c.item_id)
            .where(
                DRAWS.c.attempt_id.in_(part),
                DRAWS.c.withheld.is_(False),
                ITEMS.c.kind == kind,
            )
            .order_by(DRAWS.c.attempt_id, DRAWS.c.item_id)
        )
        for key, item in connection.execute(query):
            found.setdefault(key, []).append(item)
    return found


def _steps(connection: Connection, attempt_ids: Sequence[str]) -> dict[str, list[Step]]:
    return {
        key: [
            decode(Step, body, table=STEPS.name, key=f"{key}, {position}")
            for position, body in rows
        ]
        for key, rows in _parts(connection, STEPS, attempt_ids)
    }


def _calls(connection: Connection, attempt_ids: Sequence[str]) -> dict[str, list[ModelCall]]:
    return {
        key: read_calls(rows, attempt_id=key)
        for key, rows in _parts(connection, MODEL_CALLS, attempt_ids)
    }


def _parts(
    connection: Connection, table: Table, attempt_ids: Sequence[str]
) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Positions and bodies of a table's rows, attempt by attempt."""
    query = (
        select(table.c.attempt_id, table.c.position, table.c.body)
        .where(table.c.attempt_id.in_(attempt_ids))
        .order_by(table.c.attempt_id, table.c.position)
    )
    for key, rows in groupby(connection.execute(query).all(), itemgetter(0)):
        yield key, [(row[1], row[2]) for row in rows]
