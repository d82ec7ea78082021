"""Worker processes for what keeps a core busy: search, replays, task checks.

Each worker is a spawned process that takes one job at a time. A job that outlasts its timeout
costs its worker, which is killed and replaced, and nobody else's. Workers ignore Ctrl-C (the
run decides when to stop) and end by themselves when the process that started them is gone. What
code in a worker prints goes to stderr: stdout is for the result of the command.

A spawned process imports the script that started it. One that practises without asking whether
it is the main program would start workers in each worker: that is told in one sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from agentlab.errors import AgentLabError, SkillFaultError, SkillRefusedError, UsageError
from agentlab.models.redaction import known, name_secret, named_secrets

T = TypeVar("T")

JOBS = "agentlab.graph.jobs"
"""What a worker imports before it is ready."""
START_SECONDS = 60.0
"""That a worker has to start; no job's time is spent on it."""
LEAVE_SECONDS = 1.0
"""That an idle worker has to end by itself."""
NAME = "agentlab-worker"
UNGUARDED = 86
"""The exit code of a worker whose script would start workers of its own."""
GUARD = (
    "The script that started this run is imported again by each worker process and would start "
    'the run once more there: put the call under `if __name__ == "__main__":`.'
)
_CONTEXT = multiprocessing.get_context("spawn")


def refuse_unguarded() -> None:
    """Return, unless this process is a worker that is still importing the script behind the run.

    To be asked before anything is written: what follows would be done once for each worker.

    Raises:
        UsageError: the process was started by somebody else's `multiprocessing`.
    """
    process = multiprocessing.current_process()
    # What multiprocessing itself goes by; private, so its absence must do no harm.
    if not getattr(process, "_inheriting", False):
        return
    if process.name == NAME:
        os._exit(UNGUARDED)  # the process that waits for this one says why, once
    raise UsageError(GUARD)


class WorkerFault(NamedTuple):
    """Why a job gave no result: it raised, its process died, or its time was up."""

    error: str
    usage_error: bool = False
    of_skill: bool = False
    """Whether it was the skill's code that could not be run, and nothing around it."""
    timed_out: bool = False


class _Reply(NamedTuple):
    value: object
    fault: WorkerFault | None


class _Worker:
    def __init__(self, box: str, blobs: str) -> None:
        self.connection, child = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(
            target=_serve,
            args=(child, os.getpid(), box, blobs, named_secrets()),
            daemon=True,
            name=NAME,
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
                return _Reply(None, _late(seconds))
            answer = self.connection.recv_bytes()
        except (EOFError, OSError):
            self.process.join(1)
            code = self.process.exitcode
            self.stop()
            if not self._ready:
                return _Reply(None, _died_at_start(code))
            return _Reply(None, WorkerFault(f"its worker process died (exit code {code})"))
        try:
            return cast("_Reply", pickle.loads(answer))
        except Exception as error:  # what was sent may be of a class that does as it likes
            return _Reply(None, _unsendable(error))

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


def _late(seconds: float) -> WorkerFault:
    return WorkerFault(f"it did not end within {seconds:.0f} s", timed_out=True)


def _died_at_start(code: int | None) -> WorkerFault:
    if code == UNGUARDED:
        return WorkerFault(GUARD, usage_error=True)
    return WorkerFault(
        f"its worker process ended before it was ready (exit code {code}); each worker imports "
        "the script that started the run, so what that does belongs under "
        '`if __name__ == "__main__":`'
    )


def _unsendable(error: BaseException) -> WorkerFault:
    return WorkerFault(
        f"its result cannot be sent between processes ({type(error).__name__}: {error}); it must "
        "be plain data"
    )


class WorkerPool:
    """As many workers as asked for, started when first needed.

    Args:
        size: how many.
        box: where their skill code runs; found out and checked before (`sandbox.settle_box`).
        blobs: the directory in which environments' pictures and the like are kept, if any.

    Raises:
        UsageError: it is made while this process still imports its main module.
    """

    def __init__(self, size: int, *, box: str = "subprocess", blobs: Path | None = None) -> None:
        refuse_unguarded()
        self.box = box
        self.blobs = blobs
        self.size = max(1, size)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._slots: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None
        self._threads = ThreadPoolExecutor(self.size, thread_name_prefix="agentlab-pool")
        self._closed = False

    async def run(
        self,
        function: Callable[..., T],
        *args: object,
        seconds: float,
        begun: Callable[[], None] | None = None,
    ) -> T | WorkerFault:
        """Run a module-level function in a worker.

        Args:
            function: what to run.
            *args: of it.
            seconds: that it may take.
            begun: called when it is this job's turn; before, it waits for others to end.

        Returns:
            What it returned, or a `WorkerFault`. Nothing that happens in a worker raises here,
            but for the user's own mistakes.

        Raises:
            UsageError: the job found the configuration wrong.
        """
        loop = asyncio.get_running_loop()
        async with self._gate(loop):
            if begun is not None:
                begun()
            worker = self._idle.pop() if self._idle else await self._started(loop)
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

    async def _started(self, loop: asyncio.AbstractEventLoop) -> _Worker:
        """A new worker; one that nobody waits for any more when it has started is kept."""
        starting = loop.run_in_executor(self._threads, _Worker, self.box, str(self.blobs or ""))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._keep)
            raise

    def _keep(self, starting: asyncio.Future[_Worker]) -> None:
        if starting.cancelled() or starting.exception() is not None:
            return
        worker = starting.result()
        if self._closed:
            worker.stop()
        else:
            self._all.add(worker)
            self._idle.append(worker)

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


def _serve(
    connection: Connection[Any, Any], parent: int, box: str, blobs: str, secrets: tuple[str, ...]
) -> None:
    name_secret(*secrets)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    os.dup2(2, 1)
    jobs = importlib.import_module(JOBS)
    jobs.use_box(box)
    jobs.use_blobs(blobs)
    connection.send(None)
    while True:
        try:
            function, args = connection.recv()
        except EOFError:
            return
        reply = _answer(function, args)
        try:
            connection.send(reply)
        except OSError:
            return  # nobody waits for it any more
        except Exception as error:  # pickling foreign objects may fail in any way
            connection.send(_Reply(None, _unsendable(error)))


def _answer(function: Callable[..., object], args: tuple[object, ...]) -> _Reply:
    try:
        return _Reply(function(*args), None)
    except UsageError as error:
        return _Reply(None, WorkerFault(str(error), usage_error=True))
    except (SkillFaultError, SkillRefusedError) as error:
        return _Reply(None, WorkerFault(str(error), of_skill=True))
    except AgentLabError as error:
        return _Reply(None, WorkerFault(str(error)))
    except SystemExit as error:
        return _Reply(None, WorkerFault(f"it called sys.exit({error.code!r})"))
    except (Exception, KeyboardInterrupt, GeneratorExit) as error:
        # A job may fail in any way, and Ctrl-C does not reach a worker; the run goes on.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        told = known().text(f"{type(error).__name__}: {error}")
        return _Reply(None, WorkerFault(f"{told} ({where})"))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
