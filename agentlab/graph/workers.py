"""Worker processes for what keeps a core busy: search, replays, task checks.

Each worker is a spawned process that takes one job at a time. A job that outlasts its timeout
costs its worker, which is killed and replaced, and nobody else's. Workers ignore Ctrl-C (the
run decides when to stop) and end by themselves when the process that started them is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar, cast

from agentlab.errors import AgentLabError, UsageError

T = TypeVar("T")

JOBS = "agentlab.graph.jobs"
"""What a worker imports before it is ready."""
START_SECONDS = 60.0
"""That a worker has to start; no job's time is spent on it."""
LEAVE_SECONDS = 1.0
"""That an idle worker has to end by itself."""
_CONTEXT = multiprocessing.get_context("spawn")


class WorkerFault(NamedTuple):
    """Why a job gave no result: it raised, its process died, or its time was up."""

    error: str
    usage_error: bool = False


class _Reply(NamedTuple):
    value: object
    fault: WorkerFault | None


class _Worker:
    def __init__(self) -> None:
        self.connection, child = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(
            target=_serve, args=(child, os.getpid()), daemon=True, name="agentlab-worker"
        )
        self.process.start()
        child.close()
        self._ready = False

    def ask(
        self, function: Callable[..., object], args: tuple[object, ...], seconds: float
    ) -> _Reply:
        """Send a job and wait for its answer; blocks the calling thread."""
        try:
            if not self._ready and not self.connection.poll(START_SECONDS):
                self.stop()
                return _Reply(None, WorkerFault("its worker process did not start"))
            if not self._ready:
                self.connection.recv()
                self._ready = True
            self.connection.send((function, args))
            if not self.connection.poll(seconds):
                self.stop()
                return _Reply(None, WorkerFault(f"it did not end within {seconds:.0f} s"))
            return cast("_Reply", self.connection.recv())
        except (EOFError, OSError):
            self.process.join(1)
            code = self.process.exitcode
            self.stop()
            return _Reply(None, WorkerFault(f"its worker process died (exit code {code})"))

    def stop(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        with contextlib.suppress(OSError):  # the thread that asks may have closed it just now
            self.connection.close()

    @property
    def alive(self) -> bool:
        """Whether it can take another job."""
        return self.process.is_alive() and not self.connection.closed


class WorkerPool:
    """As many workers as asked for, started when first needed."""

    def __init__(self, size: int) -> None:
        self.size = max(1, size)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._slots: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None
        self._threads = ThreadPoolExecutor(self.size, thread_name_prefix="agentlab-pool")
        self._closed = False

    async def run(
        self, function: Callable[..., T], *args: object, seconds: float
    ) -> T | WorkerFault:
        """Run a module-level function in a worker.

        Returns:
            What it returned, or a `WorkerFault`. Nothing that happens in a worker raises here,
            but for the user's own mistakes.

        Raises:
            UsageError: the job found the configuration wrong.
        """
        loop = asyncio.get_running_loop()
        async with self._gate(loop):
            worker = (
                self._idle.pop()
                if self._idle
                else await loop.run_in_executor(self._threads, _Worker)
            )
            self._all.add(worker)
            try:
                reply = await loop.run_in_executor(
                    self._threads, worker.ask, function, args, seconds
                )
            except asyncio.CancelledError:
                worker.stop()
                raise
            finally:
                if worker.alive and not self._closed:
                    self._idle.append(worker)
                else:
                    self._all.discard(worker)
        if reply.fault is not None:
            if reply.fault.usage_error:
                raise UsageError(reply.fault.error)
            return reply.fault
        return cast("T", reply.value)

    def _gate(self, loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
        """Lets as many jobs through as there are workers; each event loop has its own."""
        if self._slots is None or self._slots[0] is not loop:
            self._slots = (loop, asyncio.Semaphore(self.size))
        return self._slots[1]

    async def warm(self) -> None:
        """Start all workers now, side by side."""
        await asyncio.gather(*(self.run(_nothing, seconds=60) for _ in range(self.size)))

    def close(self) -> None:
        """End every worker, busy or not; idle ones may put away what they hold."""
        self._closed = True
        for worker in self._idle:
            worker.connection.close()
        for worker in self._idle:
            worker.process.join(LEAVE_SECONDS)
        for worker in tuple(self._all):
            worker.stop()
        self._all.clear()
        self._idle.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _nothing() -> None:
    return None


def _serve(connection: Connection[Any, Any], parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    importlib.import_module(JOBS)
    connection.send(None)
    while True:
        try:
            function, args = connection.recv()
        except EOFError:
            return
        connection.send(_answer(function, args))


def _answer(function: Callable[..., object], args: tuple[object, ...]) -> _Reply:
    try:
        return _Reply(function(*args), None)
    except UsageError as error:
        return _Reply(None, WorkerFault(str(error), usage_error=True))
    except AgentLabError as error:
        return _Reply(None, WorkerFault(str(error)))
    except Exception as error:  # a job may fail in any way; the run goes on
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        return _Reply(None, WorkerFault(f"{type(error).__name__}: {error} ({where})"))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
