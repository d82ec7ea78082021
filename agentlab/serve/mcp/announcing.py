"""Tells clients that something changed, in each way that the protocol has had for it.

Since 2026-07-28 a client opens a stream of changes (`subscriptions/listen`); before, notices came
unasked over a session that began with a handshake. The library is looked at every second, because
another process may practise into the same workspace.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable

from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ResourcesListChanged,
    ResourceUpdated,
    ToolsListChanged,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from agentlab.errors import AgentLabError
from agentlab.serve.mcp.offerings import Change, Offerings, change

log = logging.getLogger(__name__)

MOST_WATCHED = 1000
"""URIs that one session may ask to be told of."""


class Announcer:
    """Whoever wants to hear of changes to what one caller is offered."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self._sessions: weakref.WeakKeyDictionary[object, tuple[ServerSession, set[str]]] = (
            weakref.WeakKeyDictionary()
        )

    def hear(self, session: ServerSession) -> set[str]:
        """Remember a session of a protocol with handshakes; gives the URIs that it watches."""
        if session.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return set()
        # A session object is made for each request; what lasts is the connection behind it.
        lasting: object = getattr(session, "_connection", session)
        known = self._sessions.get(lasting)
        if known is None:
            known = self._sessions[lasting] = (session, set())
        return known[1]

    async def tell(self, change: Change) -> None:
        """Announce a change to everybody."""
        if change.tools:
            await self.bus.publish(ToolsListChanged())
        if change.resources:
            await self.bus.publish(ResourcesListChanged())
        for uri in change.updated:
            await self.bus.publish(ResourceUpdated(uri=uri))
        for session, watched in list(self._sessions.values()):
            if change.tools:
                await session.send_tool_list_changed()
            if change.resources:
                await session.send_resource_list_changed()
            for uri in watched.intersection(change.updated):
                await session.send_resource_updated(uri)


class Watch:
    """Looks at a scope's library now and then, and has its callers told.

    Args:
        offerings: of the scope.
        tell: announces a change.
        seconds: between two looks.
    """

    def __init__(
        self, offerings: Offerings, tell: Callable[[Change], Awaitable[None]], seconds: float
    ) -> None:
        self._offerings = offerings
        self._tell = tell
        self._seconds = seconds
        self._last = offerings.listing
        self._wake = asyncio.Event()

    def look(self) -> None:
        """Look now, and not at the next moment for it."""
        self._wake.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                self._offerings.refresh()
            except AgentLabError as error:  # the records may be busy; the next look may be luckier
                log.warning("The library cannot be read: %s", error)
                continue
            before, self._last = self._last, self._offerings.listing
            if before is not self._last:
                await self._tell(change(before, self._last))
