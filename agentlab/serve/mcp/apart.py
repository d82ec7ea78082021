"""A thread with a loop of its own, in which one caller's environment is at work.

An environment is foreign code, and may block whoever waits for it. Here that is its own caller and
nobody else: the server's loop goes on. Work that is to be cancelled is asked to end and has its say
first, so whoever starts it can wait for what became of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]
"""Called in the thread, so that what is never begun leaves nothing behind."""
PATIENCE = 5.0
"""Seconds that what blocks is waited for in the end."""


class UnderWay(Generic[T]):
    """Work that was begun in another loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Work[T]) -> None:
        self._loop = loop
        self._done: Future[T] = Future()
        self._task: asyncio.Task[None] | None = None
        context = contextvars.copy_context()

        def begin() -> None:
            self._task = loop.create_task(self._carry_out(work), context=context)

        loop.call_soon_threadsafe(begin)

    async def result(self) -> T:
        """What it gives; who is cancelled meanwhile leaves it going on."""
        return await asyncio.shield(asyncio.wrap_future(self._done))

    def cancel(self) -> None:
        """Ask it to end, wherever it waits; `result` then tells what became of it."""

        def ask() -> None:
            # A task that is cancelled before its first step would never take one.
            if self._task is not None:
                self._loop.call_soon(self._task.cancel)

        self._loop.call_soon_threadsafe(ask)

    async def _carry_out(self, work: Work[T]) -> None:
        try:
            self._done.set_result(await work())
        except asyncio.CancelledError:
            self._done.cancel()
        except Exception as error:  # whoever waits for the result is told
            self._done.set_exception(error)


class Apart:
    """A thread that is started when there is first work for it.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def started(self) -> bool:
        """Whether there was work for it."""
        return self._thread is not None

    def start(self, work: Work[T]) -> UnderWay[T]:
        """Begin work there."""
        return UnderWay(self._loop or self._started(), work)

    def close(self) -> None:
        """End the thread; one that is blocked is left to end with the process."""
        thread, loop = self._thread, self._loop
        self._thread = self._loop = None
        self._ready.clear()
        if thread is None or loop is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        if thread.is_alive():
            log.warning("The environment of %s blocks and was left behind.", self._name)

    def _started(self) -> asyncio.AbstractEventLoop:
        # It may be blocked for good, and must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        self._ready.wait()
        assert self._loop is not None
        return self._loop

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            loop = self._loop = runner.get_loop()
            self._ready.set()
            loop.run_forever()
