"""Attempts and proposals a page at a time, found by keys, however many there are.

A page begins after the last row of the page before it, so the hundredth page costs what the first
one does, and a row that is added meanwhile moves no other. Newest first, for that is what people
look for. Nothing here reads a trajectory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, Select, and_, cast, func, select, tuple_

from agentlab.errors import UnknownNameError
from agentlab.records.attempts import ROW_COLUMNS, AttemptRow, attempt_row, spec_of
from agentlab.records.database import Session
from agentlab.records.documents import bodies
from agentlab.records.encoding import decode
from agentlab.records.filters import (
    INSTRUCTION,
    AttemptFilter,
    LibraryArm,
    ProposalFilter,
    attempts_like,
    proposals_like,
)
from agentlab.records.tables import ATTEMPTS, DOCUMENTS, EVENTS, PLANS, PROPOSALS, RUNS, TASKS
from agentlab.types import AttemptSpec, Task

PAGE = 50


class AttemptPlace(NamedTuple):
    """Where an attempt stands in its run; unique there."""

    round: int
    slot: int
    kind: str


class ListedAttempt(NamedTuple):
    """An attempt and what it was asked."""

    row: AttemptRow
    instruction: str

    @property
    def place(self) -> AttemptPlace:
        """Its key."""
        return AttemptPlace(self.row.round, self.row.slot, self.row.kind)


class AttemptsPage(NamedTuple):
    """Attempts, newest first."""

    rows: tuple[ListedAttempt, ...]
    newer: bool
    """Whether there are some before the first one here."""
    older: bool


class ProposalPlace(NamedTuple):
    """Where a proposal stands in its run; unique there."""

    round: int
    position: int


class ListedProposal(NamedTuple):
    """A proposal, what became of it, and how practice at it went."""

    task_id: str
    round: int
    position: int
    instruction: str
    template: str
    source: str
    admitted: bool
    reason: str | None
    attempts: int
    """Completed practice attempts with a verdict."""
    successes: int

    @property
    def place(self) -> ProposalPlace:
        """Its key."""
        return ProposalPlace(self.round, self.position)


class ProposalsPage(NamedTuple):
    """Proposals, newest first."""

    rows: tuple[ListedProposal, ...]
    newer: bool
    older: bool


class Counted(NamedTuple):
    """Attempts of a round that are alike, as far as rates go."""

    round: int
    kind: str
    arm: LibraryArm
    success: bool | None
    """None for infrastructure failures and unknown scores."""
    n: int


class TaskRound(NamedTuple):
    """What a round's tasks are like."""

    round: int
    admitted: int
    fresh: int
    """Templates that no earlier round of the run had."""
    attempts: int
    """Completed practice attempts with a verdict at the round's tasks, whenever they were."""
    successes: int


class Browsing:
    """What a person leafs through."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def attempts(
        self,
        run_id: str,
        wanted: AttemptFilter | None = None,
        *,
        older_than: AttemptPlace | None = None,
        newer_than: AttemptPlace | None = None,
        limit: int = PAGE,
    ) -> AttemptsPage:
        """Recorded attempts of a run, newest first, from one place on."""
        key = (ATTEMPTS.c.round, ATTEMPTS.c.slot, ATTEMPTS.c.kind)
        query = (
            select(*ROW_COLUMNS, INSTRUCTION.label("instruction"))
            .join(PLANS, PLANS.c.attempt_id == ATTEMPTS.c.id)
            .join(DOCUMENTS, DOCUMENTS.c.digest == PLANS.c.task)
            .where(ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.status.is_not(None))
        )
        query = query.where(*attempts_like(wanted or AttemptFilter()))
        rows, newer, older = self._page(query, key, older_than, newer_than, limit)
        found = [ListedAttempt(attempt_row(tuple(row)[:-1]), _text(row[-1])) for row in rows]
        return AttemptsPage(tuple(found), newer, older)

    def attempt(self, attempt_id: str) -> AttemptRow | None:
        """One recorded attempt."""
        query = select(*ROW_COLUMNS).where(
            ATTEMPTS.c.id == attempt_id, ATTEMPTS.c.status.is_not(None)
        )
        with self._session.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else attempt_row(row)

    def spec(self, attempt_id: str) -> AttemptSpec:
        """What an attempt depended on, without the code of the skills that it was offered.

        Raises:
            UnknownNameError: there is no attempt of that id.
        """
        with self._session.read() as connection:
            row = connection.execute(
                select(PLANS.c.body, PLANS.c.task).where(PLANS.c.attempt_id == attempt_id)
            ).one_or_none()
            if row is None:
                raise UnknownNameError("attempt", attempt_id, ())
            text = bodies(connection, [row.task])[row.task]
        task = decode(Task, text, table="documents", key=row.task)
        return spec_of(attempt_id, row.body, task, ())

    def siblings(self, attempt: AttemptRow, *, limit: int = PAGE) -> list[AttemptRow]:
        """The other recorded attempts of its group, in the order of their places."""
        query = (
            select(*ROW_COLUMNS)
            .where(
                ATTEMPTS.c.run_id == attempt.run_id,
                ATTEMPTS.c.task_id == attempt.task_id,
                ATTEMPTS.c.group_id == attempt.group_id,
                ATTEMPTS.c.id != attempt.attempt_id,
                ATTEMPTS.c.status.is_not(None),
            )
            .order_by(ATTEMPTS.c.round, ATTEMPTS.c.slot, ATTEMPTS.c.kind)
            .limit(limit)
        )
        with self._session.read() as connection:
            return [attempt_row(row) for row in connection.execute(query)]

    def counts(self, run_id: str) -> list[Counted]:
        """A run's recorded attempts by round, kind, what they were offered, and verdict.

        Held-out attempts are among them under the kind `evaluation`.
        """
        some, none = ATTEMPTS.c.offered > 0, ATTEMPTS.c.withheld > 0
        columns = (ATTEMPTS.c.round, ATTEMPTS.c.kind, ATTEMPTS.c.success)
        query = (
            select(*columns, some.label("some"), none.label("none"), func.count().label("n"))
            .where(ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.status.is_not(None))
            .group_by(*columns, some, none)
            .order_by(ATTEMPTS.c.round, ATTEMPTS.c.kind)
        )
        arms: dict[tuple[bool, bool], LibraryArm] = {
            (True, False): "offered",
            (True, True): "partly",
            (False, True): "withheld",
            (False, False): "none",
        }
        with self._session.read() as connection:
            return [
                Counted(
                    row.round, row.kind, arms[bool(row.some), bool(row.none)], row.success, row.n
                )
                for row in connection.execute(query)
            ]

    def scopes(self, run_id: str) -> list[str]:
        """Paths of the scopes in which a run's recorded attempts were made."""
        query = select(ATTEMPTS.c.scope).where(
            ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.status.is_not(None)
        )
        with self._session.read() as connection:
            return sorted(connection.scalars(query.distinct()))

    def proposals(
        self,
        run_id: str,
        wanted: ProposalFilter | None = None,
        *,
        older_than: ProposalPlace | None = None,
        newer_than: ProposalPlace | None = None,
        limit: int = PAGE,
    ) -> ProposalsPage:
        """Proposals of a run, newest first, from one place on."""
        key = (PROPOSALS.c.round, PROPOSALS.c.position)
        query = (
            select(
                *(PROPOSALS.c[name] for name in ("task_id", "round", "position")),
                *(PROPOSALS.c.admitted, PROPOSALS.c.reason),
                *(TASKS.c.template, TASKS.c.source, INSTRUCTION.label("instruction")),
            )
            .join(DOCUMENTS, DOCUMENTS.c.digest == PROPOSALS.c.document)
            .join(
                TASKS, (TASKS.c.run_id == PROPOSALS.c.run_id) & (TASKS.c.id == PROPOSALS.c.task_id)
            )
            .where(PROPOSALS.c.run_id == run_id)
        )
        query = query.where(*proposals_like(wanted or ProposalFilter()))
        rows, newer, older = self._page(query, key, older_than, newer_than, limit)
        tried = self.tried(run_id, [row.task_id for row in rows])
        found = [
            ListedProposal(
                task_id=row.task_id,
                round=row.round,
                position=row.position,
                instruction=_text(row.instruction),
                template=row.template,
                source=row.source,
                admitted=bool(row.admitted),
                reason=row.reason,
                attempts=tried.get(row.task_id, (0, 0))[0],
                successes=tried.get(row.task_id, (0, 0))[1],
            )
            for row in rows
        ]
        return ProposalsPage(tuple(found), newer, older)

    def admitted(self, run_id: str) -> dict[int, int]:
        """How many of each round's proposals became tasks."""
        query = (
            select(TASKS.c.round, func.count())
            .where(TASKS.c.run_id == run_id, TASKS.c.admitted.is_(True))
            .group_by(TASKS.c.round)
        )
        with self._session.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def task_rounds(self, run_id: str) -> list[TaskRound]:
        """What the admitted tasks of each round are like, in the order of rounds."""
        here = (TASKS.c.run_id == run_id, TASKS.c.admitted.is_(True))
        begun = (
            select(func.min(TASKS.c.round).label("first")).where(*here).group_by(TASKS.c.template)
        ).subquery()
        fresh = select(begun.c.first, func.count()).group_by(begun.c.first)
        tried = (
            select(TASKS.c.round, func.count(), func.sum(cast(ATTEMPTS.c.success, Integer)))
            .join(ATTEMPTS, and_(ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.task_id == TASKS.c.id))
            .where(*here, *_practised())
            .group_by(TASKS.c.round)
        )
        with self._session.read() as connection:
            news = {row[0]: row[1] for row in connection.execute(fresh)}
            went = {row[0]: (row[1], int(row[2] or 0)) for row in connection.execute(tried)}
        rows = sorted(self.admitted(run_id).items())
        return [TaskRound(r, n, news.get(r, 0), *went.get(r, (0, 0))) for r, n in rows]

    def last_event(self, run_ids: Sequence[str] | None = None) -> int:
        """The number of the newest event, of these runs or of all; 0 where there is none."""
        query = select(func.max(EVENTS.c.serial))
        if run_ids is not None:
            query = query.where(EVENTS.c.run_id.in_(run_ids))
        with self._session.read() as connection:
            return connection.scalar(query) or 0

    def standings(self, run_ids: Sequence[str] | None = None) -> tuple[tuple[str, str, str], ...]:
        """Each run's id, status and when it was given that: what no event tells of."""
        query = select(RUNS.c.id, RUNS.c.status, RUNS.c.updated_at).order_by(RUNS.c.serial)
        if run_ids is not None:
            query = query.where(RUNS.c.id.in_(run_ids))
        with self._session.read() as connection:
            return tuple((row[0], row[1], row[2]) for row in connection.execute(query))

    def last_word(self, run_id: str) -> str | None:
        """When the newest event of a run was recorded (ISO 8601, UTC)."""
        query = (
            select(EVENTS.c.created_at)
            .where(EVENTS.c.run_id == run_id)
            .order_by(EVENTS.c.serial.desc())
            .limit(1)
        )
        with self._session.read() as connection:
            return connection.scalar(query)

    def tried(self, run_id: str, task_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Completed practice attempts with a verdict at each task, and how many succeeded."""
        query = (
            select(ATTEMPTS.c.task_id, func.count(), func.sum(cast(ATTEMPTS.c.success, Integer)))
            .where(ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.task_id.in_(task_ids), *_practised())
            .group_by(ATTEMPTS.c.task_id)
        )
        with self._session.read() as connection:
            return {row[0]: (row[1], int(row[2] or 0)) for row in connection.execute(query)}

    def _page(
        self,
        query: Select[Any],
        key: Sequence[ColumnElement[Any]],
        older_than: tuple[Any, ...] | None,
        newer_than: tuple[Any, ...] | None,
        limit: int,
    ) -> tuple[list[Any], bool, bool]:
        """Rows newest first, and whether there are newer and older ones.

        One more than is shown is asked for, which tells of the side that is walked to; on the
        other side there is at least the row whose place was given.
        """
        place = tuple_(*key)
        if newer_than is not None:
            walked = query.where(place > newer_than).order_by(*key)
        else:
            walked = query.order_by(*(column.desc() for column in key))
            if older_than is not None:
                walked = walked.where(place < older_than)
        walked = walked.limit(limit + 1)
        with self._session.read() as connection:
            rows = list(connection.execute(walked).all())
        more, rows = len(rows) > limit, rows[:limit]
        if newer_than is not None:
            return rows[::-1], more, True
        return rows, older_than is not None, more


def _practised() -> tuple[ColumnElement[bool], ...]:
    return (
        ATTEMPTS.c.kind == "practice",
        ATTEMPTS.c.status == "completed",
        ATTEMPTS.c.success.is_not(None),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
