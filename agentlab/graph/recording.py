"""Putting attempts on record from many tasks without holding up the event loop.

A commit waits for the disk, and waiting in the event loop would stop every attempt under way.
Commits are made in a thread; attempts that finish while one is being made share the next. Each
is on the disk before `record` returns, recorded once under its id, as if it had been alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.errors import RecordsError
from agentlab.events import Event
from agentlab.records import Records, Transaction
from agentlab.types import AttemptOutcome, AttemptSpec


class _Entry(NamedTuple):
    spec: AttemptSpec
    outcome: AttemptOutcome | None
    """None where it is planned."""
    events: Sequence[Event]
    recorded: asyncio.Future[bool]


class AttemptWriter:
    """Records attempts for the tasks of one event loop."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._waiting: list[_Entry] = []
        self._writing: asyncio.Task[None] | None = None

    async def record(
        self,
        spec: AttemptSpec,
        outcome: AttemptOutcome,
        events: Sequence[Event] = (),
        *,
        at_once: bool = False,
    ) -> bool:
        """As `records.attempts.record`: False when it was recorded before.

        Args:
            spec: of the attempt.
            outcome: what came of it.
            events: that tell of it.
            at_once: write here and now, which holds up the loop: for one in which nothing else is
                under way, where going to a thread and back takes longer than writing.

        Raises:
            RecordsError: it cannot be recorded, or the disk failed.
        """
        return await self._put(spec, outcome, events, at_once)

    async def plan(self, spec: AttemptSpec, *, at_once: bool = False) -> bool:
        """As `records.attempts.plan` of one: False when it was planned before; see `record`.

        Raises:
            RecordsError: it cannot be recorded, or the disk failed.
        """
        return await self._put(spec, None, (), at_once)

    async def _put(
        self,
        spec: AttemptSpec,
        outcome: AttemptOutcome | None,
        events: Sequence[Event],
        at_once: bool,
    ) -> bool:
        recorded: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if at_once and self._writing is None:
            (fate,) = self._commit([_Entry(spec, outcome, events, recorded)])
            if isinstance(fate, BaseException):
                raise fate
            return fate
        self._waiting.append(_Entry(spec, outcome, events, recorded))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await recorded

    async def _write(self) -> None:
        try:
            while self._waiting:
                entries, self._waiting = self._waiting, []
                for entry, fate in zip(
                    entries, await asyncio.to_thread(self._commit, entries), strict=True
                ):
                    if entry.recorded.done():  # its task was cancelled meanwhile
                        continue
                    if isinstance(fate, BaseException):
                        entry.recorded.set_exception(fate)
                    else:
                        entry.recorded.set_result(fate)
        finally:
            self._writing = None

    def _commit(self, entries: Sequence[_Entry]) -> list[bool | BaseException]:
        try:
            # A plan has to outlive this process and no more; the outcome is what is acknowledged.
            flushed = any(entry.outcome is not None for entry in entries)
            with self._records.transaction(flushed=flushed) as part:
                return [_written(part, entry) for entry in entries]
        except RecordsError as error:
            if len(entries) == 1:
                return [error]
            # One that is at fault must not take the others with it.
            return [fate for entry in entries for fate in self._commit([entry])]
        except Exception as error:  # handed on to whoever waits
            return [error for _ in entries]


def _written(part: Transaction, entry: _Entry) -> bool:
    if entry.outcome is None:
        return bool(part.attempts.plan(entry.spec.run_id, entry.spec.round, [entry.spec]))
    return part.attempts.record(entry.spec, entry.outcome, entry.events)
