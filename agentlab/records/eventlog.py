"""The stream of what happened, in the order in which it was committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, select

from agentlab.events import Event, rebuild
from agentlab.records.database import Session, add, now
from agentlab.records.encoding import decode_object, encode_object
from agentlab.records.tables import EVENTS

Kind = TypeVar("Kind", bound=Event)


class EventRow(NamedTuple):
    """An event and its number, which grows from commit to commit."""

    serial: int
    event: Event


class EventLog:
    """Events of every run."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, events: Sequence[Event]) -> None:
        """Record events. A content event whose place is taken is left out: it was recorded."""
        with self._session.write() as connection:
            append(connection, events)

    def after(self, run_id: str, serial: int = 0, *, limit: int | None = None) -> list[EventRow]:
        """Events of a run with a greater number, in the order in which they were recorded."""
        return self.since(serial, run_ids=[run_id], limit=limit)

    def since(
        self, serial: int, *, run_ids: Sequence[str] | None = None, limit: int | None = None
    ) -> list[EventRow]:
        """As `after`, over several runs, or over all: numbers grow through the whole store."""
        query = select(EVENTS).where(EVENTS.c.serial > serial)
        if run_ids is not None:
            query = query.where(EVENTS.c.run_id.in_(run_ids))
        with self._session.read() as connection:
            rows = connection.execute(query.order_by(EVENTS.c.serial).limit(limit)).all()
        return [event_row(row) for row in rows]

    def of(self, run_id: str, kind: type[Kind]) -> list[Kind]:
        """A run's events of one class, in the order in which they were recorded."""
        query = (
            select(EVENTS)
            .where(EVENTS.c.run_id == run_id, EVENTS.c.kind == kind.__name__)
            .order_by(EVENTS.c.serial)
        )
        with self._session.read() as connection:
            rows = connection.execute(query).all()
        found = [event_row(row).event for row in rows]
        return [event for event in found if isinstance(event, kind)]

    def all(self, run_id: str) -> list[Event]:
        """Content events of a run by (round, slot, sequence), for comparing two runs."""
        events = [row.event for row in self.after(run_id) if not row.event.lifecycle]
        return sorted(events, key=lambda event: (event.round, event.slot, event.sequence))


def event_row(row: Row[Any]) -> EventRow:
    """An event and its number, from a row of `EVENTS`."""
    payload = decode_object(row.payload, table="events", key=row.serial)
    event = rebuild(row.kind, row.run_id, row.round, row.slot, row.sequence, payload)
    return EventRow(row.serial, event)


def append(connection: Connection, events: Sequence[Event]) -> None:
    """Record events inside a transaction; see `EventLog.append`."""
    time = now()
    add(
        connection,
        EVENTS,
        [
            {
                "run_id": event.run_id,
                "round": event.round,
                "slot": event.slot,
                "sequence": event.sequence,
                "lifecycle": event.lifecycle,
                "kind": event.kind,
                "payload": encode_object(event.payload()),
                "created_at": time,
            }
            for event in events
        ],
    )
