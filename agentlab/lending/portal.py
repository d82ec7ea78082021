"""An event loop of an agent's or a library's own, in a thread, for callers in whatever they are in.

`run` is then the same from a plain script, from any thread, in a notebook and inside a running
loop. Environments, boxes and servers belong to the loop that opened them, and the programs that
use them have loops of their own, one after another, or none.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from agentlab.errors import UsageError

T = TypeVar("T")

SETTLE_SECONDS = 30.0
"""That what is broken off has to let go of what it holds, before it is left alone."""


class Portal:
    """Runs coroutines for threads that wait for them. Close it when done.

    Args:
        owner: whose it is, as errors say it: `agent`, `library` or `pack`.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns; an interrupt here cancels it and waits until it has ended.

        Raises:
            UsageError: the call comes from inside the portal's own loop, which would wait for
                itself, or it is closed.
        """
        wait, cancel, result = self.begin(work)
        try:
            wait(None)
        except BaseException:
            cancel()
            wait(SETTLE_SECONDS)
            raise
        return result()

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """As `run`, from a running event loop; cancelling it cancels the work."""
        with self._opened(work) as loop:
            future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):
                raise self._ended() from None
            raise

    def begin(
        self, work: Coroutine[Any, Any, T]
    ) -> tuple[Callable[[float | None], bool], Callable[[], None], Callable[[], T]]:
        """Begin a coroutine in the portal's loop, with the caller's context variables.

        Returns:
            What waits for its end (at most so many seconds), what cancels it, and what gives its
            result once it has ended.

        Raises:
            UsageError: see `run`.
        """
        ended = threading.Event()
        tasks: list[asyncio.Task[T]] = []

        with self._opened(work) as loop:

            def start() -> None:
                tasks.append(loop.create_task(work))
                tasks[0].add_done_callback(lambda _: ended.set())

            # The handle takes the caller's context along, and the task takes it from there.
            loop.call_soon_threadsafe(start)

        def cancel() -> None:
            with suppress(RuntimeError):  # the loop is closed, and what ran there has ended
                loop.call_soon_threadsafe(lambda: tasks[0].cancel())

        def result() -> T:
            if self._closed and tasks[0].cancelled():
                raise self._ended()
            return tasks[0].result()

        return ended.wait, cancel, result

    def close(self) -> None:
        """Cancel what is under way and end the thread. Safe to call twice."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        if threading.current_thread() is thread:
            raise UsageError(
                f"The {self._owner} cannot be closed from inside one of its own calls; do it after "
                "the call."
            )
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    @contextmanager
    def _opened(self, work: Coroutine[Any, Any, object]) -> Generator[asyncio.AbstractEventLoop]:
        """The loop, which is not closed for the block; work that cannot begin is closed."""
        with self._lock:
            try:
                loop = self._started()
            except UsageError:
                work.close()
                raise
            yield loop

    def _ended(self) -> UsageError:
        return UsageError(
            f"The {self._owner} was closed while this was under way; close it when its calls have "
            "ended."
        )

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise UsageError(f"The {self._owner} is closed; make another one.")
        if threading.current_thread() is self._thread:
            raise UsageError(
                f"This was called from inside a call of the same {self._owner}, which would "
                "wait for itself; use another one there."
            )
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_serve, args=(self._loop,), name=f"agentlab-{self._owner}", daemon=True
            )
            self._thread.start()
        return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=SETTLE_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
