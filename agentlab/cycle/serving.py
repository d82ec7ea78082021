"""The server of a cycle: found where it is, or started, with what serves loaded and proven.

A server that went away takes its adapters with it, and what one that was there already calls by a
name need not be what was trained. So the version that serves is proven live before anything is
asked of it: at the beginning of each stage, and whenever a server was started again. A server that
does not come back ends the stage that waits for it, with the error of the last try.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from agentlab.cycle.settings import CycleConfig
from agentlab.errors import ModelFaultError, UsageError
from agentlab.graph.registering import register
from agentlab.records import Records, Workspace
from agentlab.training.serving.client import ModelServerClient, ServerFaultError
from agentlab.training.serving.launcher import ServerProcess
from agentlab.training.serving.swap import bring_up
from agentlab.training.versions import read_version

TICK = 2.0
"""Seconds between two looks at a server that was started here."""
PAUSES = (1.0, 5.0, 25.0)
"""Seconds between the tries to have a server up again that was up before."""
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
        self._was_up = False
        self._ending = False
        # A stage that is cut off leaves behind the thread in which a server is being started; the
        # next must not start another beside it.
        self._lock = threading.Lock()

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
        await asyncio.to_thread(self._end)

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

        Whoever waits for it meanwhile finds it at the same address, with what serves loaded. Where
        it does not come back, the block is cancelled, and this raises what was wrong.

        Raises:
            UsageError: none is launched and none is named.
            ServerFaultError: it does not answer at first, or does not come back.
            AdapterRefusedError: what serves is not what it was.
        """
        await (self._again() if self._was_up else self.up())
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch())
                try:
                    yield
                finally:
                    watching.cancel()
        except BaseExceptionGroup as failures:
            # What the block raised; or, before that, what the watch did.
            raise failures.exceptions[0] from None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if why := await asyncio.to_thread(self._fault):
                logger.warning("The model server is started again: %s.", why.rstrip("."))
                await self._again()

    async def _again(self) -> None:
        """Have it up as before, with some patience: a port or memory may be free a little later."""
        for pause in (*PAUSES, None):
            try:
                await self.up()
            except Exception as error:
                logger.error("The model server is not up again: %s", error)
                if pause is None or not isinstance(error, ModelFaultError | OSError):
                    raise
                await asyncio.sleep(pause)
            else:
                return

    def _fault(self) -> str:
        """Why a server that was started here is of no use any more; nothing while it is."""
        process = self._process
        if process is None:
            return ""
        return ModelServerClient(process.base_url).fault() if process.running else "it ended"

    def _end(self) -> None:
        self._ending = True
        if (process := self._process) is not None:
            process.close()
        with self._lock:  # one that is being started is ended when it is
            if self._process is not None:
                self._process.close()

    def _up(self) -> str:
        with self._lock:
            where = self._proven()
        self._was_up = True
        return where

    def _proven(self) -> str:
        base_url = self._reachable() or self._launched()
        config = self._config
        with Records.open(self._workspace) as records:
            policy = register(records, config.policy, Path(config.base), base_url)
            current = records.policies.current(config.policy)
            if current:
                adapter = read_version(records.policies.version(current))
                # Proven where it is loaded already, too: a name says nothing of the weights.
                bring_up(
                    ModelServerClient(base_url),
                    adapter,
                    Path(policy.base_path),
                    tolerance=config.gate.tolerance,
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
        if self._ending:
            raise ServerFaultError("The cycle is about to end, and starts no model server.")
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
