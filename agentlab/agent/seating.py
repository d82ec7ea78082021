"""The chat models of an agent's attempts, shared by those that are under way in one event loop.

Connections belong to a loop. In the agent's own loop they stay open for its life, in a caller's as
long as an attempt there is under way, or until the end of `async with agent`. A policy is pinned
for each attempt, which is asked of what serves when it begins and of nothing else until it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from agentlab.config import PracticeConfig
from agentlab.graph.policies import pinned, routed
from agentlab.graph.seats import Seats, asks_models, open_seats, seated
from agentlab.models.routes import POLICY
from agentlab.records import Records


class _Shared:
    def __init__(self, seats: Seats | None) -> None:
        self.seats = seats
        self.users = 0


class Seating:
    """Opens and closes the chat models of one config.

    Args:
        records: where policies are.
        config: names the models.
    """

    def __init__(self, records: Records, config: PracticeConfig) -> None:
        self._records = records
        self._config = config
        self._asks = asks_models(config)
        self._pinned = POLICY + ":" in config.model_dump_json()
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()

    @asynccontextmanager
    async def seated(self) -> AsyncGenerator[tuple[PracticeConfig, Seats | None]]:
        """The config and the chat models for one attempt; None where it asks none."""
        if not self._asks:
            yield self._config, None
            return
        if self._pinned:
            config = pinned(self._records, self._config)
            with routed(self._records, config) as routes:
                async with seated(config, routes) as seats:
                    yield config, seats
            return
        loop = asyncio.get_running_loop()
        shared = self._open.get(loop)
        if shared is None:
            shared = self._open[loop] = _Shared(open_seats(self._config))
        shared.users += 1
        try:
            yield self._config, shared.seats
        finally:
            shared.users -= 1
            if not shared.users:
                del self._open[loop]
                if shared.seats is not None:
                    await shared.seats.close()
