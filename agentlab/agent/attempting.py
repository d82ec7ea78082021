"""One attempt of an agent, from its plan to its record.

What was drawn is on record before the first step, so that no draw is lost selectively; and what
was planned has an outcome, whatever ends it: a result, a mistake in the configuration, a caller
that does not wait any longer.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TypeVar
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from agentlab.agent.answers import asked_again
from agentlab.agent.offering import Offered
from agentlab.agent.results import Asked
from agentlab.agent.seating import Seating
from agentlab.errors import AgentLabError
from agentlab.events import AttemptBegun, is_watched, show
from agentlab.executors.recorder import step_event
from agentlab.graph import jobs
from agentlab.graph.attempts import finished_event, run_attempt
from agentlab.graph.recording import AttemptWriter
from agentlab.graph.seats import Seats
from agentlab.graph.watching import Watchers
from agentlab.graph.workers import WorkerPool
from agentlab.lending.portal import SETTLE_SECONDS
from agentlab.models.redaction import known
from agentlab.records import Records
from agentlab.types import AttemptOutcome, AttemptSpec, Scope

A = TypeVar("A", bound=BaseModel)

CANCELLED = "cancelled"
"""The ending of an attempt whose caller did not wait for it."""


class _Writer(AttemptWriter):
    """Writes for one event loop, and knows how many attempts are under way in it."""

    under_way = 0


class Attempting:
    """Makes the attempts of one agent. Several may be under way, in several event loops."""

    def __init__(
        self, records: Records, pool: WorkerPool, seating: Seating, watchers: Watchers
    ) -> None:
        self._records = records
        self._watchers = watchers
        self._pool = pool
        self._seating = seating
        self._lock = threading.Lock()
        self._writers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Writer] = WeakKeyDictionary()

    async def make(
        self,
        spec: AttemptSpec,
        offered: Offered,
        asked: Asked,
        shape: type[A] | None,
        *,
        own_loop: bool,
    ) -> tuple[AttemptOutcome, A | None, str]:
        """Plan, attempt and record.

        Args:
            spec: what to attempt.
            offered: what came of the draws.
            asked: what the user said.
            shape: of the answer.
            own_loop: whether this is the agent's own event loop, which may be held up.

        Returns:
            The outcome, the typed answer, and why there is none.

        Raises:
            UsageError: the configuration is wrong, and every attempt would fail alike.
            RecordsError: the attempt cannot be recorded.
        """
        writer = self._writer()
        writer.under_way += 1
        try:
            return await self._make(writer, spec, offered, asked, shape, own_loop)
        finally:
            writer.under_way -= 1

    async def _make(
        self,
        writer: _Writer,
        spec: AttemptSpec,
        offered: Offered,
        asked: Asked,
        shape: type[A] | None,
        own_loop: bool,
    ) -> tuple[AttemptOutcome, A | None, str]:
        kept = bool(asked.said and asked.session)
        if kept or any(0.0 < offer.probability < 1.0 for offer in spec.offers):
            await writer.plan(spec, at_once=own_loop and writer.under_way == 1)
        try:
            if kept:
                await asyncio.to_thread(self._keep, spec, asked)
            if is_watched():
                show(_begun(spec, offered))
            async with self._seating.seated() as (config, seats):
                outcome = await run_attempt(
                    spec, evaluator=config.evaluator, pool=self._pool, seats=seats
                )
                answer, fault, outcome = await _answered(spec, outcome, seats, shape)
        except BaseException as error:
            # Not awaited by a caller who is gone; it is written all the same.
            await asyncio.shield(
                asyncio.wait_for(
                    self._record(writer, spec, _broken(spec, error), at_once=False),
                    SETTLE_SECONDS,
                )
            )
            raise
        if is_watched() and getattr(jobs.executor_of(spec.executor), "cpu_bound", False):
            _show_steps(outcome)
        alone = own_loop and writer.under_way == 1
        await self._record(writer, spec, outcome, at_once=alone)
        return outcome, answer, fault

    async def _record(
        self, writer: _Writer, spec: AttemptSpec, outcome: AttemptOutcome, *, at_once: bool
    ) -> None:
        """Record an outcome with the event that tells of it, and tell it."""
        event = finished_event(spec, outcome)
        if await writer.record(spec, outcome, [event], at_once=at_once):
            self._watchers.notify(event)

    def _keep(self, spec: AttemptSpec, asked: Asked) -> None:
        self._records.requests.add(
            spec.id,
            environment=spec.task.environment,
            scope=Scope.parse(spec.scope),
            session=known().text(asked.session),
            said=asked.said,
            asked=asked.attempted,
        )

    def _writer(self) -> _Writer:
        loop = asyncio.get_running_loop()
        with self._lock:
            writer = self._writers.get(loop)
            if writer is None:
                writer = self._writers[loop] = _Writer(self._records)
            return writer


async def _answered(
    spec: AttemptSpec, outcome: AttemptOutcome, seats: Seats | None, shape: type[A] | None
) -> tuple[A | None, str, AttemptOutcome]:
    if shape is None:
        return None, "", outcome
    mine = seats.attempt(spec) if seats is not None else None
    return await asked_again(outcome, spec.task, shape, mine)


def _begun(spec: AttemptSpec, offered: Offered) -> AttemptBegun:
    return AttemptBegun(
        run_id=spec.run_id,
        slot=spec.slot,
        attempt_id=spec.id,
        task_id=spec.task.id,
        instruction=spec.task.instruction,
        scope=spec.scope,
        offered=tuple(offer.name for offer in offered.offers if not offer.withheld),
        withheld=tuple(offer.name for offer in offered.offers if offer.withheld),
    )


def _show_steps(outcome: AttemptOutcome) -> None:
    """Tell of the steps that a worker made, where nobody could look on."""
    for position, step in enumerate(outcome.trajectory.steps if outcome.trajectory else ()):
        show(step_event(position, step))


def _broken(spec: AttemptSpec, error: BaseException) -> AttemptOutcome:
    """What is on record of an attempt that nobody will hear the end of."""
    cancelled = not isinstance(error, Exception)
    told = "its caller did not wait for it"
    if not cancelled:
        text = (
            str(error) if isinstance(error, AgentLabError) else f"{type(error).__name__}: {error}"
        )
        told = known().text(text)
    return AttemptOutcome(
        attempt_id=spec.id,
        status="infrastructure_failure",
        error=told,
        ending=CANCELLED if cancelled else "",
    )
