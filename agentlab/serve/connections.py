"""Connections over HTTP, before there is a request: how long and how many may wait to say one.

Whoever opens a connection has shown no token yet, and must not be able to hold places that others
need. So the head of a request has to arrive in time and in a bounded size, and where many wait,
those that have waited longest make room. What is asked is for the guard.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""That the head of a request may take to arrive."""
LARGEST_HEAD = 16 * 1024
"""Bytes of a head."""
MOST_IDLE = 64
"""Connections without a request under way that are kept open, where a server says nothing else."""


class Connection(H11Protocol):
    """Uvicorn's connection, with an end to its patience."""

    most_idle = MOST_IDLE

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._since = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has come."""
        super().connection_made(cast("asyncio.Transport", transport))
        _make_room(self.connections)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Something was said; maybe not yet a request."""
        super().data_received(data)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever it was has gone."""
        self._forget()
        super().connection_lost(exc)

    @property
    def waits(self) -> bool:
        """Whether no request is under way."""
        under_way = self._has_asked and not self.cycle.response_complete
        return not under_way and not self.transport.is_closing()

    @property
    def _has_asked(self) -> bool:
        return bool(self.cycle)  # None before the first request

    @property
    def claim(self) -> tuple[bool, float]:
        """What it counts when room is needed: more where it has asked before, or came later."""
        return self._has_asked, self._since

    def leave(self) -> None:
        """Make room."""
        self.transport.close()

    def _expect(self) -> None:
        if not self.waits:
            self._forget()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.leave)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _make_room(connections: Iterable[object]) -> None:
    waiting = [each for each in connections if isinstance(each, Connection) and each.waits]
    waiting.sort(key=lambda each: each.claim)
    most = min((each.most_idle for each in waiting), default=0)  # they are all of one server
    for each in waiting[: max(0, len(waiting) - most)]:
        each.leave()
