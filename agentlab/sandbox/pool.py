"""Started children that wait for work, so that a fresh box costs milliseconds.

A child is taken once and never comes back. Spares are started by one thread that lives as long
as the process, because the kernel ties a child's life to the thread that started it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

from agentlab.errors import SkillFaultError
from agentlab.sandbox.box import Box
from agentlab.sandbox.conversation import Conversation
from agentlab.sandbox.protocol import RuntimeLimits


class Starter:
    """The thread that starts spares, and ends what was used up."""

    _present: Starter | None = None

    def __init__(self) -> None:
        self._process = os.getpid()
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._left = False
        self._thread = threading.Thread(target=self._serve, name="agentlab-boxes", daemon=True)
        self._thread.start()
        atexit.register(self._leave)

    @classmethod
    def present(cls) -> Starter:
        """The one of this process; a forked process has none of its parent's threads."""
        if cls._present is None or cls._present._process != os.getpid():
            cls._present = cls()
        return cls._present

    def start(self, box: Box, limits: RuntimeLimits) -> Future[Conversation]:
        """A child that will have been started."""
        future: Future[Conversation] = Future()

        def work() -> None:
            if self._left:
                future.cancel()
            if future.set_running_or_notify_cancel():
                try:
                    child = Conversation(box.start(limits), limits)
                    child.wait_until_ready()
                    future.set_result(child)
                except BaseException as error:  # told to the one who takes it
                    future.set_exception(error)

        self._put(work)
        return future

    def end(self, child: Conversation) -> Future[None]:
        """A child that has been retired will have been cleared away."""
        future: Future[None] = Future()

        def work() -> None:
            child.kill()
            future.set_result(None)

        self._put(work)
        return future

    def _put(self, work: Callable[[], None]) -> None:
        if self._left:
            work()
        else:
            self._work.put(work)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _leave(self) -> None:
        """Let no start be cut in two by the end of this process."""
        if self._process == os.getpid():
            self._left = True
            self._work.put(None)
            self._thread.join(timeout=10)


class Pool:
    """Spares of one box with one set of limits.

    Args:
        box: what starts them.
        limits: of each call.
        spares: how many wait.
        direct: whether the thread that asks may start a child where no spare is left; not for
            one that may end before the child does.
    """

    def __init__(
        self, box: Box, limits: RuntimeLimits, spares: int, *, direct: bool = True
    ) -> None:
        self._direct = direct
        self.box = box
        self.limits = limits
        self.spares = spares
        self._waiting: deque[Future[Conversation]] = deque()
        self._ending: deque[Future[None]] = deque()

    def fill(self) -> None:
        """Have as many spares as there should be; returns at once."""
        while len(self._waiting) < self.spares:
            self._waiting.append(Starter.present().start(self.box, self.limits))

    def take(self) -> Conversation:
        """A child that is ready and has run nothing; the caller kills it.

        Raises:
            SkillFaultError: it cannot be started.
        """
        while self._waiting:
            child = self._waiting.popleft()
            if (found := _started(child, self.limits.start_seconds)) is not None:
                return found
        if not self._direct:
            return Starter.present().start(self.box, self.limits).result()
        child = Conversation(self.box.start(self.limits), self.limits)
        child.wait_until_ready()
        return child

    def discard(self, child: Conversation) -> None:
        """End a child that was taken; what is left to do is done aside."""
        child.retire()
        while self._ending and self._ending[0].done():
            self._ending.popleft()
        self._ending.append(Starter.present().end(child))

    def close(self) -> None:
        """End the spares, and wait for the end of what was discarded.

        A later `take` starts afresh.
        """
        while self._ending:
            with contextlib.suppress(TimeoutError):
                self._ending.popleft().result(timeout=self.limits.start_seconds)
        while self._waiting:
            child = self._waiting.popleft()
            if not child.cancel():
                child.add_done_callback(_discard)


def _started(future: Future[Conversation], seconds: float) -> Conversation | None:
    """The spare, or None where it died while it waited."""
    try:
        child = future.result(timeout=seconds)
    except (SkillFaultError, TimeoutError, CancelledError):
        return None
    return child if child.alive else None


def _discard(future: Future[Conversation]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().kill()
