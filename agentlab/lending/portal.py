"""One event loop in a thread of its own, in which everything that is lent lives.

Environments, boxes and servers belong to the loop that opened them, and the programs that borrow
a library have loops of their own, one after another, or none. So each handle keeps one: whoever
asks waits for it, blocking or not, and nobody's loop is held up.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from agentlab.errors import UsageError

T = TypeVar("T")


class Portal:
    """Runs coroutines in its own thread. Close it when done."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()
        self._closed = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work gives; blocks until it is there.

        Raises:
            UsageError: it is closed, or asked from its own thread, which would wait for itself.
        """
        self._refuse(work)
        done = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return done.result()
        except BaseException:
            done.cancel()  # Ctrl-C while waiting: the work is broken off too
            raise

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """As `run`, from a running event loop; cancelling it cancels the work."""
        self._refuse(work)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def close(self) -> None:
        """End the thread. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._end_all())
        self._loop.close()

    async def _end_all(self) -> None:
        """End what somebody gave up waiting for."""
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _refuse(self, work: Coroutine[Any, Any, object]) -> None:
        if self._closed:
            work.close()
            raise UsageError("This library is closed; open it again with `Library.open`.")
        if threading.current_thread() is self._thread:
            work.close()
            raise UsageError(
                "A skill's own call cannot wait for another of the same library; open a second one."
            )
