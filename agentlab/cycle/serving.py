"""The server of a cycle: found where it is, or started, with what serves loaded and proven.

A server that went away takes its adapters with it. So whenever one is started, the version that
serves is loaded again and proven live before anything is asked of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from agentlab.cycle.settings import CycleConfig
from agentlab.errors import ModelFaultError, UsageError
from agentlab.graph.registering import register
from agentlab.records import Records, Workspace
from agentlab.training.adapters import read_adapter
from agentlab.training.serving.client import ModelServerClient
from agentlab.training.serving.launcher import ServerProcess
from agentlab.training.serving.swap import bring_up

TICK = 2.0
"""Seconds between two looks at a server that was started here."""
logger = logging.getLogger(__name__)


class CycleServer:
    """Where a cycle's policy is served; ends what it started.

    Args:
        config: of the cycle.
        workspace: where policies are on record.
        log: file that a started server writes into.
    """

    def __init__(self, config: CycleConfig, workspace: Workspace, log: Path) -> None:
        self._config = config
        self._workspace = workspace
        self._log = log
        self._process: ServerProcess | None = None
        self._port = 0
        """Where one was that ended: runs that wait for it look there."""

    async def __aenter__(self) -> Self:
        """Nothing is started before it is asked for."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the server, if it was started here."""
        if self._process is not None:
            await asyncio.to_thread(self._process.close)

    async def up(self) -> str:
        """Have the server up and the version that serves loaded; where it is.

        Raises:
            UsageError: none is launched and none is named.
            ServerFaultError: it does not answer.
            AdapterRefusedError: what serves is not what it was.
        """
        return await asyncio.to_thread(self._up)

    @asynccontextmanager
    async def kept_up(self) -> AsyncGenerator[None]:
        """Have the server up while the block runs: one that ends is started again in its place.

        Whoever waits for it meanwhile finds it at the same address, with what serves loaded.

        Raises:
            UsageError: none is launched and none is named.
            ServerFaultError: it does not answer at first.
            AdapterRefusedError: what serves is not what it was.
        """
        await self.up()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if self._process is not None and not self._process.running:
                logger.warning("The model server ended and is started again.")
                with contextlib.suppress(ModelFaultError):
                    await self.up()

    def _up(self) -> str:
        base_url = self._reachable() or self._launched()
        config = self._config
        with Records.open(self._workspace) as records:
            policy = register(records, config.policy, Path(config.base), base_url)
            current = records.policies.current(config.policy)
            if current:
                adapter = read_adapter(Path(records.policies.version(current).path))
                server = ModelServerClient(base_url)
                if all(each.name != current for each in server.models()):
                    bring_up(
                        server, adapter, Path(policy.base_path), tolerance=config.gate.tolerance
                    )
        return base_url

    def _reachable(self) -> str:
        if self._process is not None:
            # One that hangs is as good as gone.
            if self._process.running and ModelServerClient(self._process.base_url).healthy():
                return self._process.base_url
            self._process.close()
            self._port, self._process = self._process.port, None
        named = self._config.serve.base_url
        return named if self._config.serve.launch == "none" else ""

    def _launched(self) -> str:
        serve = self._config.serve
        if serve.launch == "none":
            raise UsageError(
                "No server is named for the cycle; say where it is as 'base_url' in [serve], or "
                "have one started with 'launch'."
            )
        self._process = ServerProcess(
            serve.launch,
            Path(self._config.base),
            log=self._log,
            name=f"{self._config.policy}-base",
            python=serve.python,
            port=serve.port or self._port,
            options=serve.options,
            seconds=serve.seconds,
        )
        try:
            self._process.start()
        except BaseException:
            self._process = None
            raise
        return self._process.base_url
