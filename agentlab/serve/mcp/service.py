"""Everything that one process serves: a library, its scopes, and a caller for each token.

Callers of one scope share what is offered; each has an episode, a run and a server of its own, so
that nothing of one is ever at hand where another is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from mcp.server.lowlevel import Server

from agentlab.config import BoxName
from agentlab.environments.registration import base_name, make_environment
from agentlab.graph.practice import toolset_name
from agentlab.records import Records, Workspace
from agentlab.sandbox import settle_box
from agentlab.serve.mcp.announcing import Announcer, Watch
from agentlab.serve.mcp.apart import PATIENCE, foreign
from agentlab.serve.mcp.caller import Caller
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.offerings import Change, Offerings
from agentlab.serve.mcp.pins import FILE, Pins
from agentlab.serve.mcp.server import make_server
from agentlab.serve.mcp.tokens import Principal
from agentlab.types import EnvironmentRef, Frozen, Scope

log = logging.getLogger(__name__)


class Serving(Frozen):
    """What is to be served."""

    workspace: Path
    environment: EnvironmentRef
    pin: Path | None = None
    """Where tools are pinned; a file of the workspace where none is named."""
    box: BoxName = "auto"
    limits: ServeLimits = ServeLimits()


class Served(NamedTuple):
    """One caller, and the server that speaks for it."""

    caller: Caller
    server: Server[Any]


class Service:
    """A library at work. Enter it in a running loop; leaving it ends every episode.

    Args:
        serving: what.
        principals: who may call.

    Raises:
        UsageError: there is no such workspace or environment.
        SkillRefusedError: no box of that name holds here.
    """

    def __init__(self, serving: Serving, principals: Sequence[Principal]) -> None:
        ref, limits = serving.environment, serving.limits
        box = settle_box(serving.box)
        environment = make_environment(ref)
        self._environment = environment
        self._records = Records.open(Workspace.open(serving.workspace, create=False))
        pins = Pins(serving.pin or self._records.workspace.path / FILE)
        self._offerings: dict[Scope, Offerings] = {}
        self._watches: dict[Scope, Watch] = {}
        self._announcers: dict[Scope, list[Announcer]] = {}
        self.served: dict[str, Served] = {}
        self.limits = limits
        self._seconds = limits.poll_seconds
        self._tasks: list[asyncio.Task[None]] = []
        tools = environment.tools
        for principal in principals:
            scope = principal.scope
            if scope not in self._offerings:
                self._offerings[scope] = Offerings(
                    self._records,
                    base_name(ref.name),
                    tools=tools,
                    toolset=toolset_name(tools),
                    foreign=box.takes_foreign_code,
                    scope=scope,
                    pins=pins,
                    limits=limits,
                )
                self._announcers[scope] = []
                self._watches[scope] = self._watch(scope)
            caller = Caller(
                principal,
                self._records,
                ref,
                box,
                self._offerings[scope],
                limits,
                self._watches[scope].look,
            )
            announcer = Announcer()
            self._announcers[scope].append(announcer)
            self.served[principal.name] = Served(caller, make_server(caller, announcer))

    @property
    def offered(self) -> Mapping[Scope, Offerings]:
        """What each scope offers."""
        return self._offerings

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(watch.run()) for watch in self._watches.values()]
        self._tasks.append(asyncio.create_task(self._tidy()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Together: one whose environment blocks is waited for, and the others not after it.
        await asyncio.gather(*(_close(served.caller) for served in self.served.values()))
        try:
            async with asyncio.timeout(PATIENCE):
                await foreign(self._environment.close)
        except Exception as error:  # foreign code, which must not keep the records open
            log.warning("An environment did not close: %s: %s", type(error).__name__, error)
        for offerings in self._offerings.values():
            offerings.close()
        self._records.close()

    def _watch(self, scope: Scope) -> Watch:
        async def tell(change: Change) -> None:
            for announcer in self._announcers[scope]:
                await announcer.tell(change)

        return Watch(self._offerings[scope], tell, self._seconds)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(min(60.0, self.limits.idle_seconds))
            await asyncio.gather(*(served.caller.tidy() for served in self.served.values()))


async def _close(caller: Caller) -> None:
    try:
        await caller.close()
    except Exception as error:  # what the others hold is closed all the same
        log.warning("The caller %s was not closed: %s", caller.principal.name, error)
