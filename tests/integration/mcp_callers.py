"""Callers of a served library, what holds a call of theirs up, and what is on record of them.

What waits does so on an event of the test, until that lets it go on; nothing is timed.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from agentlab.environments.registration import make_environment
from agentlab.protocols import Environment
from agentlab.records import Records, Workspace
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.types import EnvironmentRef
from tests.integration.mcp_episode import told
from tests.integration.mcp_http import BOB, client, serving

PATIENCE = 20
"""Seconds after which a test fails whose wait nobody ended."""
COURIER = type(make_environment(EnvironmentRef(name="courier")))
"""The class as it is registered."""


@asynccontextmanager
async def caller(
    library: Path, *, limits: ServeLimits | None = None, mode: str = "auto"
) -> AsyncGenerator[Client]:
    """Somebody who calls a library that is served meanwhile."""
    async with (
        serving(library, limits=limits) as place,
        client(place.url, mode=mode) as found,
    ):
        yield found


@asynccontextmanager
async def two_callers(library: Path) -> AsyncGenerator[tuple[Client, Client]]:
    """Two who are served apart."""
    async with (
        serving(library) as place,
        client(place.url) as one,
        client(place.url, BOB) as other,
    ):
        yield one, other


async def begun(found: Client) -> dict[str, Any]:
    """A place of a new episode."""
    seen = told(await found.call_tool("begin", {"seed": 1}))
    return next(t["reference"] for t in seen["shows"]["things"] if t["type"] == "place")


async def break_off(call: asyncio.Task[Any]) -> None:
    """Have the client give up a call."""
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@contextmanager
def only_run(library: Path) -> Generator[tuple[Records, str]]:
    """The one run that the calls are on record under."""
    with Records.open(Workspace.open(library)) as records:
        (run,) = records.runs.ids()
        yield records, run


class Hold:
    """The first that comes here waits, in its own thread, until it is let go on."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()
        self._turns = itertools.count()

    def come(self) -> None:
        if next(self._turns) == 0:
            self.entered.set()
            assert self.let_go.wait(PATIENCE), "it was let go on by nobody"

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE)


class Block(Hold):
    """The first of some calls into an environment blocks its thread, once this is armed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        super().__init__()
        self.armed = False
        own = getattr(COURIER, method)

        async def blocking(environment: Environment, *given: Any) -> Any:
            if self.armed:
                self.come()
            return await own(environment, *given)

        monkeypatch.setattr(COURIER, method, blocking)
