"""A thread with a loop of its own, in which one caller's environment is at work.

An environment is foreign code, and may block whoever waits for it. Here that is its own caller and
nobody else: the server's loop goes on. Work that is to be cancelled is asked to end and has its say
first, so whoever starts it can wait for what became of it. What foreign code raises to end a
program, or as if it had been cancelled, is a fault of the environment and ends nothing here.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import logging
import os
import resource
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, ParamSpec, TypeVar

from agentlab.errors import EnvironmentFaultError
from agentlab.serve.connections import MOST_IDLE

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]
"""Called in the thread, so that what is never begun leaves nothing behind."""
PATIENCE = 5.0
"""Seconds that what blocks is waited for in the end."""
MOST_LEFT = 4
"""Blocked threads that a caller may have before it is given no other."""
ROOM = MOST_IDLE + 16
"""Descriptors that environments leave to the connections and the records of the server."""


async def foreign(work: Work[T]) -> T:
    """What comes of foreign code, which may raise anything.

    Raises:
        EnvironmentFaultError: it raised what ends a loop or looks like a cancellation that nobody
            asked for. Other exceptions, and a cancellation that was asked for, go through.
    """
    task = asyncio.current_task()
    assert task is not None
    asked = task.cancelling()
    try:
        return await work()
    except asyncio.CancelledError:
        if task.cancelling() > asked:
            raise
        raise EnvironmentFaultError("The environment raised CancelledError.") from None
    except SystemExit as error:
        raise EnvironmentFaultError(f"The environment called sys.exit({error.code!r}).") from None
    except (KeyboardInterrupt, GeneratorExit) as error:
        raise EnvironmentFaultError(f"The environment raised {type(error).__name__}.") from None


class StuckError(Exception):
    """Work has not ended, though it was given time to."""


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

    async def result(self, seconds: float | None = None) -> T:
        """What it gives; who is cancelled meanwhile leaves it going on.

        Raises:
            StuckError: it has not ended after so many seconds, and is left going on.
        """
        done = asyncio.wrap_future(self._done)
        done.add_done_callback(_heard)
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await asyncio.shield(done)
        except TimeoutError:
            if limit.expired():
                raise StuckError from None
            raise  # of the work itself

    def when_done(self, then: Callable[[], None]) -> None:
        """Call that once it has ended, in its thread."""
        self._done.add_done_callback(lambda _: then())

    def cancel(self) -> None:
        """Ask it to end, wherever it waits; `result` then tells what became of it."""

        def ask() -> None:
            # A task that is cancelled before its first step would never take one.
            if self._task is not None:
                self._loop.call_soon(self._task.cancel)

        self._loop.call_soon_threadsafe(ask)

    async def _carry_out(self, work: Work[T]) -> None:
        try:
            self._done.set_result(await foreign(work))
        except asyncio.CancelledError:
            self._done.cancel()
        except Exception as error:  # whoever waits for the result is told
            self._done.set_exception(error)


def _heard(done: asyncio.Future[Any]) -> None:
    """Whoever stopped waiting for it need not be told what it raised."""
    if not done.cancelled():
        done.exception()


class Apart:
    """A thread that is started when there is first work for it.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: _Running | None = None
        self._latest: UnderWay[Any] | None = None
        self._left: list[_Running] = []

    @property
    def started(self) -> bool:
        """Whether there was work for it."""
        return self._running is not None

    def start(self, work: Work[T]) -> UnderWay[T]:
        """Begin work there.

        Raises:
            EnvironmentFaultError: there is no thread, and none can be made now.
        """
        running = self._running
        if running is None:
            self._left = [each for each in self._left if not each.gone.done()]
            if len(self._left) >= MOST_LEFT:
                raise EnvironmentFaultError(
                    f"{len(self._left)} environments of this caller block; there is no other "
                    "until one of them goes on."
                )
            running = self._running = _Running(self._name)
        under_way = self._latest = UnderWay(running.loop, work)
        return under_way

    def leave(self) -> None:
        """Leave the thread behind; it ends when its work does, or with the process."""
        running, self._running = self._running, None
        if running is not None and self._latest is not None:
            self._latest.when_done(running.end)
            self._left.append(running)
            log.warning("The environment of %s blocks and was left behind.", self._name)

    async def close(self) -> None:
        """End the thread; one that is blocked is left behind."""
        running = self._running
        if running is None:
            return
        running.end()
        await asyncio.wait([asyncio.wrap_future(running.gone)], timeout=PATIENCE)
        if running.gone.done():
            self._running = None
        else:
            self.leave()


class _Running:
    """A thread at work. Its loop is here before it is, so that nobody has to wait for either.

    Raises:
        EnvironmentFaultError: the system has no room for it.
    """

    def __init__(self, name: str) -> None:
        try:
            _leave_room()
            self.loop = asyncio.new_event_loop()
        except OSError as error:
            raise _no_room(error) from None
        self._ended = False
        self.gone: Future[None] = Future()
        """Done once the thread has ended."""
        # It may be blocked for good, and must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self.loop.close()
            raise _no_room(error) from None

    def end(self) -> None:
        """Ask it to end."""
        self._ended = True
        with contextlib.suppress(RuntimeError):  # it ended before it was asked
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.get_loop()
                self.loop.set_default_executor(_Aside())
                while not self._ended:
                    try:
                        self.loop.run_forever()
                    except (SystemExit, KeyboardInterrupt) as error:
                        # Raised in a task of the environment's own: whoever waits for it is told.
                        log.warning("An environment raised %s.", type(error).__name__)
        finally:
            self.gone.set_result(None)


class _Aside(ThreadPoolExecutor):
    """Where an environment waits in threads: none of them keeps the process from ending."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call it in a thread of its own."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # whoever waits for the result is told
                future.set_exception(error)

        threading.Thread(target=run, name="agentlab-mcp-aside", daemon=True).start()
        return future


def _leave_room() -> None:
    """Return, where the server keeps as many descriptors as its own connections need.

    Raises:
        OSError: it would not.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The system gives the lowest number that is free, so it tells how many are in use.
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    if most != resource.RLIM_INFINITY and lowest + ROOM > most:
        raise OSError(errno.EMFILE, f"{lowest} of {most} descriptors are in use")


def _no_room(error: Exception) -> EnvironmentFaultError:
    return EnvironmentFaultError(
        f"There is no room for another environment now ({error}); try again when others have "
        "ended, or have the server started with a higher `ulimit -n`."
    )
