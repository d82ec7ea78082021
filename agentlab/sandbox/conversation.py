"""The host's side of one child: lines out, lines in, and an end to every wait.

Nothing that the child says is trusted: what is too long, late, out of turn or not of the
protocol is a `SkillFaultError`, after which the child is killed. It performs no tool call.
"""

from __future__ import annotations

import os
import select
import signal
import time

from agentlab.errors import SkillFaultError
from agentlab.sandbox import protocol
from agentlab.sandbox.box import Started
from agentlab.sandbox.protocol import Message, Raised, Ready, Returned, RuntimeLimits


class Conversation:
    """A started child, from before it is ready until it is killed."""

    def __init__(self, started: Started, limits: RuntimeLimits) -> None:
        self.limits = limits
        self.used = False
        """Whether it has been given any code to run."""
        self.knows: object = None
        """What the runtime has opened in it."""
        self._started = started
        self._began = self._before = 0.0
        self._ready = False
        self._dead = False
        self._buffer = b""
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(started.reading, select.POLLIN)
        self._writable.register(started.writing, select.POLLOUT)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the child."""
        return self._started.cpu_seconds

    @property
    def alive(self) -> bool:
        """Whether the child runs and has said nothing out of turn; one that has is killed."""
        if self._dead:
            return False
        # Before it is ready, what it has to say is that it is.
        if self._ready and (self._buffer or self._readable.poll(0)):
            self.kill()
            return False
        return True

    def wait_until_ready(self) -> None:
        """Wait for the child's first word.

        Raises:
            SkillFaultError: it does not start.
        """
        if self._ready:
            return
        try:
            message, _ = self.receive(self.limits.start_seconds, "did not start")
        except SkillFaultError as error:
            self.kill()
            raise SkillFaultError(
                f"The process for skill code cannot be started: {error}"
            ) from error
        if not isinstance(message, Ready):
            self.kill()
            why = message.error if isinstance(message, Raised) else "it is not ours"
            raise SkillFaultError(f"The process for skill code cannot be started: {why}.")
        self._started.attach()
        self._ready = True

    def begin(self) -> None:
        """Count processor time from here: a call is about to be sent."""
        self._began, self._before = time.monotonic(), self.cpu_seconds

    def refuse_lasting(self) -> None:
        """Check the processor time since `begin`; code can lift a limit that it is under.

        It is read only once so much time has passed at all, as a process here has one thread.

        Raises:
            SkillFaultError: it is more than the system, which counts whole seconds, would give.
        """
        most = self.limits.cpu_seconds + 1
        if time.monotonic() - self._began > most and self.cpu_seconds - self._before > most:
            raise self._lasting()

    def send(self, line: bytes) -> None:
        """Write one line.

        Raises:
            SkillFaultError: it is too long, or the child does not read.
        """
        if len(line) > self.limits.message_bytes:
            raise SkillFaultError(
                f"A message of {len(line)} bytes to skill code is over the limit of "
                f"{self.limits.message_bytes}."
            )
        view = memoryview(line)
        while view:
            try:
                view = view[os.write(self._started.writing, view) :]
            except BlockingIOError:
                if not self._writable.poll(self.limits.seconds * 1000):
                    raise SkillFaultError("The process for skill code reads nothing.") from None
            except OSError as error:
                raise self._ended() from error

    def receive(self, seconds: float, what: str = "did not end") -> tuple[Message, float]:
        """The next message, and what is left of the time.

        Raises:
            SkillFaultError: it took too long, the process ended, or the line makes no sense.
        """
        end = time.monotonic() + seconds
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                if rest:
                    raise SkillFaultError(
                        "Skill code broke the line protocol: it spoke out of turn."
                    )
                return protocol.decode(line), end - time.monotonic()
            if len(self._buffer) > self.limits.message_bytes:
                raise SkillFaultError(
                    f"Skill code sent a line of more than {self.limits.message_bytes} bytes."
                )
            left = end - time.monotonic()
            if left <= 0 or not self._readable.poll(left * 1000):
                limit = self.limits.seconds if what == "did not end" else seconds
                raise SkillFaultError(f"Skill code {what} within {limit:g} s.")
            try:
                chunk = os.read(self._started.reading, 1 << 16)
            except OSError as error:
                raise self._ended() from error
            if not chunk:
                raise self._ended()
            self._buffer += chunk

    def stop(self) -> None:
        """Answer an act by unwinding the skill; a child that lingers is killed."""
        try:
            self.send(protocol.STOP)
            message, _ = self.receive(self.limits.stop_seconds)
        except SkillFaultError:
            self.kill()
            return
        if not isinstance(message, Raised | Returned) or (
            isinstance(message, Raised) and message.last
        ):
            self.kill()

    def retire(self) -> None:
        """Have the child ended, without waiting for it; `kill` is still to come."""
        self._dead, self._buffer = True, b""
        self._started.stop()

    def kill(self) -> None:
        """End the child and all that it started."""
        self._dead, self._buffer = True, b""
        self._started.kill()

    def _ended(self) -> SkillFaultError:
        """Why there is nothing more to read."""
        code = self._started.exit_status()
        if code == -signal.SIGXCPU:
            return self._lasting()
        return SkillFaultError(f"Skill code ended its process (exit status {code}).")

    def _lasting(self) -> SkillFaultError:
        limit = self.limits.cpu_seconds
        return SkillFaultError(f"Skill code used more than {limit:g} s of processor time.")
