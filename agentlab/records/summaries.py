"""A run's log and its draws, counted by the database: what a long run has come to, at once.

A page that opens late must tell what one that was open all along does, and may not read 200,000
events for that. What a log holds by the thousand, tasks and attempts, is counted here; whatever
else is in it is handed out event by event, for its order matters. Nothing here is kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    case,
    cast,
    false,
    func,
    select,
    type_coerce,
)

from agentlab.records.database import Session
from agentlab.records.eventlog import EventRow, event_row
from agentlab.records.tables import ATTEMPTS, DRAWS, EVENTS

FINISHED, ADMITTED, REJECTED = "AttemptFinished", "TaskAdmitted", "TaskRejected"
BY_THE_THOUSAND = (FINISHED, ADMITTED, REJECTED)
BETWEEN = "\n"
"""Between the ids of items; in none of them."""


class FinishedCount(NamedTuple):
    """Finished attempts that are alike."""

    round: int
    kind: str
    status: str
    success: bool | None
    latest: int
    """1 if they came after the latest round was begun, else 0."""
    n: int
    steps: int


class LogSummary(NamedTuple):
    """What a run's log says up to an event."""

    serial: int
    """The number of that event; 0 where there is none."""
    round: int | None
    """The latest that a content event is of."""
    begun: int
    """The number of the first event of that round."""
    finished: tuple[FinishedCount, ...]
    verdicts: tuple[bool, ...]
    """Those of the latest completed practice attempts, oldest first."""
    admitted: int
    rejected: tuple[tuple[str, int], ...]
    """Reasons, and how often each was given, in the order in which they first were."""
    others: tuple[EventRow, ...]
    """Every event that is not counted above."""
    newest: tuple[EventRow, ...]
    """The last events of all, oldest first."""


class ArmCount(NamedTuple):
    """Practice attempts with a verdict, of one round, for which the same items were found."""

    round: int
    items: frozenset[str]
    offered_successes: int
    offered: int
    """Attempts that were offered all of them."""
    withheld_successes: int
    withheld: int
    """Attempts that were offered none of them."""


class Summaries:
    """What runs have come to."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def log(self, run_id: str, *, verdicts: int, newest: int) -> LogSummary:
        """A run's log, as of one moment.

        Args:
            run_id: whose.
            verdicts: how many of the latest to give one by one.
            newest: how many of the latest events to give, of every class.
        """
        own = EVENTS.c.run_id == run_id
        with self._session.read() as connection:
            serial = connection.scalar(select(func.max(EVENTS.c.serial)).where(own)) or 0
            content = (own, EVENTS.c.lifecycle == false())
            latest = connection.scalar(select(func.max(EVENTS.c.round)).where(*content))
            begun = connection.scalar(
                select(func.min(EVENTS.c.serial)).where(*content, EVENTS.c.round == latest)
            )
            finished = connection.execute(_finished(run_id, begun or 0)).all()
            admitted = select(func.count()).where(own, EVENTS.c.kind == ADMITTED)
            others = (
                select(EVENTS)
                .where(own, EVENTS.c.kind.not_in(BY_THE_THOUSAND))
                .order_by(EVENTS.c.serial)
            )
            return LogSummary(
                serial=serial,
                round=latest,
                begun=begun or 0,
                finished=tuple(FinishedCount._make(row) for row in finished),
                verdicts=_verdicts(connection, run_id, verdicts),
                admitted=connection.scalar(admitted) or 0,
                rejected=_rejected(connection, run_id),
                others=tuple(event_row(row) for row in connection.execute(others)),
                newest=_newest(connection, run_id, newest),
            )

    def arms(self, run_id: str, rounds: int) -> list[ArmCount]:
        """What a run's draws decided, over its first so many rounds, in their order.

        Attempts of which a part was withheld are in neither count.
        """
        drawn = (
            select(func.aggregate_strings(DRAWS.c.item_id, BETWEEN))
            .where(DRAWS.c.attempt_id == ATTEMPTS.c.id)
            .scalar_subquery()
        )
        each = (
            select(
                ATTEMPTS.c.round,
                cast(ATTEMPTS.c.success, Integer).label("success"),
                drawn.label("drawn"),
                case((ATTEMPTS.c.offered == 0, 1), else_=0).label("gone"),
            ).where(
                ATTEMPTS.c.run_id == run_id,
                ATTEMPTS.c.round < rounds,
                ATTEMPTS.c.kind == "practice",
                ATTEMPTS.c.status == "completed",
                ATTEMPTS.c.split != "heldout",
                ATTEMPTS.c.success.is_not(None),
                (ATTEMPTS.c.offered == 0) != (ATTEMPTS.c.withheld == 0),
            )
        ).subquery()
        query = select(
            each.c.round, each.c.drawn, each.c.gone, func.sum(each.c.success), func.count()
        ).group_by(each.c.round, each.c.drawn, each.c.gone)
        strata: dict[tuple[int, frozenset[str]], list[int]] = {}
        with self._session.read() as connection:
            for round_, drawn, withheld, successes, n in connection.execute(query):
                # The database need not join the ids in one order.
                counts = strata.setdefault((round_, frozenset(drawn.split(BETWEEN))), [0] * 4)
                place = 2 if withheld else 0
                counts[place] += int(successes)
                counts[place + 1] += n
        ordered = sorted(strata.items(), key=lambda entry: (entry[0][0], sorted(entry[0][1])))
        return [ArmCount(*key, *counts) for key, counts in ordered]


def _finished(run_id: str, begun: int) -> Select[Any]:
    alike: list[ColumnElement[Any]] = [
        EVENTS.c.round,
        func.coalesce(_said("attempt_kind").as_string(), "practice").label("attempt_kind"),
        func.coalesce(_said("status").as_string(), "completed").label("status"),
        _said("success").as_boolean().label("success"),
        case((EVENTS.c.serial >= begun, 1), else_=0).label("latest"),
    ]
    steps = func.sum(func.coalesce(_said("steps").as_integer(), 0))
    return (
        select(*alike, func.count(), steps)
        .where(EVENTS.c.run_id == run_id, EVENTS.c.kind == FINISHED)
        .group_by(*alike)
    )


def _verdicts(connection: Connection, run_id: str, most: int) -> tuple[bool, ...]:
    success = _said("success").as_boolean()
    query = (
        select(success)
        .where(
            EVENTS.c.run_id == run_id,
            EVENTS.c.kind == FINISHED,
            and_(
                func.coalesce(_said("attempt_kind").as_string(), "practice") == "practice",
                func.coalesce(_said("status").as_string(), "completed") == "completed",
                success.is_not(None),
            ),
        )
        .order_by(EVENTS.c.serial.desc())
        .limit(most)
    )
    return tuple(bool(each) for each in connection.scalars(query))[::-1]


def _rejected(connection: Connection, run_id: str) -> tuple[tuple[str, int], ...]:
    reason = func.coalesce(_said("reason").as_string(), "").label("reason")
    query = (
        select(reason, func.count())
        .where(EVENTS.c.run_id == run_id, EVENTS.c.kind == REJECTED)
        .group_by("reason")
        .order_by(func.min(EVENTS.c.serial))
    )
    return tuple((row[0], row[1]) for row in connection.execute(query))


def _newest(connection: Connection, run_id: str, most: int) -> tuple[EventRow, ...]:
    query = (
        select(EVENTS).where(EVENTS.c.run_id == run_id).order_by(EVENTS.c.serial.desc()).limit(most)
    )
    return tuple(event_row(row) for row in connection.execute(query))[::-1]


def _said(name: str) -> ColumnElement[JSON]:
    """A value of an event's payload."""
    return type_coerce(EVENTS.c.payload, JSON)[name]
