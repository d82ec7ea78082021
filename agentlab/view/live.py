"""Server-sent events: a browser is told that a run's log has grown, and from which number on.

The number of the last event is the message's id, so a browser that was cut off asks again from
there (`Last-Event-ID`). What a page then shows it asks the server for: there is one place that
turns records into a page, and a page that was open all along shows what one opened late does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple

from agentlab.records import EventRow, Records

EVERY_SECONDS = 0.4
BEAT_SECONDS = 15.0
AT_ONCE = 200
"""Events in one message."""
RETRY = 1000
"""Milliseconds after which a browser that was cut off asks again."""

Standings = tuple[tuple[str, str, str], ...]


class Heard(NamedTuple):
    """What is new."""

    events: list[EventRow]
    standings: Standings


async def stream(
    records: Records,
    serial: int,
    *,
    run_ids: Sequence[str] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    every: float = EVERY_SECONDS,
) -> AsyncGenerator[str]:
    """Messages for as long as somebody listens.

    Args:
        records: open.
        serial: the number of the last event that is known.
        run_ids: whose events; None is everybody's.
        stopped: whether the server ends.
        every: seconds between looks at the log.
    """
    yield f"retry: {RETRY}\n\n"
    known: Standings | None = None
    quiet = 0.0
    while not stopped():
        heard = await asyncio.to_thread(_listen, records, serial, run_ids)
        if heard.events:
            serial = heard.events[-1].serial
        if heard.events or (known is not None and known != heard.standings):
            yield _message(serial, heard.events)
            quiet = 0.0
        known = heard.standings
        if len(heard.events) == AT_ONCE:
            continue
        quiet += every
        if quiet >= BEAT_SECONDS:
            yield ": still here\n\n"
            quiet = 0.0
        await asyncio.sleep(every)


def _listen(records: Records, serial: int, run_ids: Sequence[str] | None) -> Heard:
    # In this order: who is told that a run ended has been told of its last event before.
    standings = records.browsing.standings(run_ids)
    return Heard(records.events.since(serial, run_ids=run_ids, limit=AT_ONCE), standings)


def _message(serial: int, events: Sequence[EventRow]) -> str:
    # What happened is for the page to ask: it is then escaped, filtered and counted in one place.
    data = {"serial": serial, "events": len(events)}
    return f"id: {serial}\nevent: happened\ndata: {json.dumps(data)}\n\n"
