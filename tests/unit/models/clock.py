"""Time that passes only when everyone waits, so that hours take no time and order is kept."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A clock to inject: `now` in seconds, `date`, and `sleep`, which moves it on."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._driver: asyncio.Future[None] | None = None
        self._order = itertools.count()
        self.slept: list[float] = []

    def now(self) -> float:
        return self._now

    def date(self) -> datetime:
        return START + timedelta(seconds=self._now)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.ensure_future(self._drive())
        await woken

    async def _drive(self) -> None:
        while self._sleepers:
            # Let everybody who can do something do it first.
            for _ in range(30):
                await asyncio.sleep(0)
            due, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._now = max(self._now, due)
                woken.set_result(None)
