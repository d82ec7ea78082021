"""A skill runtime in a plain subprocess with limits. It is NOT a security boundary.

The child has an empty environment, a temporary working directory, a session of its own and
limits on memory, processor time, files and wall clock, so that a mistake in skill code ends
in an error and not in a hanging or swollen agent. It can still read files and open sockets.
So this runtime takes only code that search made out of our own tool calls; code that a model,
a pack or a person wrote is refused, and needs a box that implements the same protocol.

While skill code runs, the host waits with a blocking `poll`: a call of a few microseconds is
worth no trip through the event loop. An attempt owns its worker process and its loop; do not
share that loop with anything that may not wait for up to `RuntimeLimits.seconds`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired

from pydantic import JsonValue

from agentlab.errors import SkillFaultError, SkillRefusedError
from agentlab.protocols import EpisodeOver, Perform, SkillReturn
from agentlab.sandbox import protocol
from agentlab.sandbox.protocol import Act, Message, Raised, Ready, Returned, RuntimeLimits
from agentlab.types import JsonObject, Origin, Skill, ToolSpec

CHILD = Path(__file__).with_name("child.py")

# With an empty environment these flags isolate as `-I` does; `-I` itself would also ignore the
# hash seed, and skill code that walks over a set would then differ between two runs.
FLAGS = ("-P", "-s", "-S", "-B")
ENVIRONMENT = {"PYTHONHASHSEED": "0"}


class SubprocessRuntime:
    """Runs skill code that search made; implements `protocols.SkillRuntime`.

    One child serves the instance from its first call to `close`. A child that was killed or
    died is replaced at the next call. Opening other skills keeps the child.
    """

    def __init__(self, limits: RuntimeLimits | None = None) -> None:
        self.limits = limits or RuntimeLimits()
        self._sources: dict[str, str] = {}
        self._tools: tuple[str, ...] = ()
        self._child: _Child | None = None
        self._opened = False
        self._busy = False
        self._spent = 0.0

    async def open(self, skills: Sequence[Skill], tools: Sequence[ToolSpec]) -> None:
        """Make these skills, and no others, callable.

        Raises:
            SkillRefusedError: one of them was not made by search.
        """
        for skill in skills:
            _refuse_foreign(f"The skill {skill.name!r}", skill.origin)
        self._sources = {skill.name: skill.source for skill in skills}
        self._tools = tuple(tool.name for tool in tools)
        self._opened = False

    async def call(self, name: str, arguments: JsonObject, perform: Perform) -> SkillReturn:
        """Call a skill; its tool calls go to `perform`, one at a time.

        Whatever the skill does wrong is told in the returned `error`.

        Raises:
            SkillFaultError: the child cannot be started, or another call is under way.
        """
        if name not in self._sources:
            return SkillReturn(False, error=f"There is no opened skill named {name!r}.")
        child = self._claim()
        try:
            return await self._converse(child, name, arguments, perform)
        except SkillFaultError as error:
            child.kill()
            return SkillReturn(False, error=str(error))
        except BaseException:  # `perform` failed or was cancelled: the skill cannot go on
            child.kill()
            raise
        finally:
            self._busy = False

    async def evaluate(
        self, source: str, function: str, arguments: JsonObject, *, origin: Origin = "search"
    ) -> JsonValue:
        """Call a function of a source with keyword arguments and give back its JSON result.

        Raises:
            SkillRefusedError: it was not made by search.
            SkillFaultError: it raised, called a tool, or did not end in time.
        """
        _refuse_foreign(f"The function {function!r}", origin)
        child = self._claim()
        try:
            child.send(protocol.encode_evaluate(source, function, arguments))
            message, _ = child.receive(self.limits.seconds)
        except SkillFaultError:
            child.kill()
            raise
        finally:
            self._busy = False
        if isinstance(message, Returned):
            return message.value
        child.kill()
        if isinstance(message, Raised):
            raise SkillFaultError(f"The function {function!r} raised {message.error}.")
        raise SkillFaultError(f"The function {function!r} asked for a tool; it has none.")

    @property
    def cpu_seconds(self) -> float:
        """What skill code has used so far, in all children; 0 where the system does not tell."""
        return self._spent + (self._child.cpu_seconds if self._child is not None else 0.0)

    async def close(self) -> None:
        """End the child. Safe to call twice; a later call starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.remove_directory()
            self._spent += self._child.cpu_seconds
            self._child = None

    async def _converse(
        self, child: _Child, name: str, arguments: JsonObject, perform: Perform
    ) -> SkillReturn:
        left = self.limits.seconds
        calls = 0
        child.send(protocol.encode_call(name, arguments))
        while True:
            message, left = child.receive(left)
            if isinstance(message, Returned):
                return SkillReturn(True, message.value)
            if isinstance(message, Raised):
                if message.last:
                    child.kill()
                return SkillReturn(False, error=message.error)
            if not isinstance(message, Act):
                raise SkillFaultError("Skill code broke the line protocol: it spoke out of turn.")
            calls += 1
            if calls > self.limits.tool_calls:
                child.stop()
                limit = self.limits.tool_calls
                return SkillReturn(False, error=f"The skill made more than {limit} tool calls.")
            if message.call.tool not in self._tools:
                text = f"There is no tool named {message.call.tool[:100]!r}."
                child.send(protocol.encode_did(text, ok=False))
                continue
            try:
                result = await perform(message.call)
            except EpisodeOver:
                child.stop()
                return SkillReturn(False, error="episode over")
            text = result.observation.text if result.error is None else result.error
            child.send(protocol.encode_did(text, ok=result.error is None))

    def _claim(self) -> _Child:
        """The child, alive and with the present skills; the caller clears `_busy`."""
        if self._busy:
            raise SkillFaultError(
                "A skill call is already under way in this runtime; use one for each attempt."
            )
        if self._child is None:
            self._child = _Child(self.limits)
        if not self._child.alive:
            self._child.start()
            self._opened = False
        if not self._opened:
            try:
                self._child.send(protocol.encode_open(self._sources, self._tools))
            except SkillFaultError:
                self._child.kill()
                raise
            self._opened = True
        self._busy = True
        return self._child


def _cpu_seconds(process: int) -> float:
    """User and system time of a running process; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def _refuse_foreign(what: str, origin: Origin) -> None:
    if origin != "search":
        raise SkillRefusedError(
            f"{what} has the origin {origin!r}: a subprocess runs only code that search made, "
            "so run it in a box or leave it out."
        )


class _Child:
    """The process and its two pipes; every wait has an end."""

    def __init__(self, limits: RuntimeLimits) -> None:
        self.limits = limits
        self._process: Popen[bytes] | None = None
        self._directory: str | None = None
        self._buffer = b""
        self._in = -1
        self._out = -1
        self._readable = select.poll()
        self._writable = select.poll()
        self._spent = 0.0

    @property
    def cpu_seconds(self) -> float:
        """Processor time of this process and of those that it replaced."""
        return self._spent + (_cpu_seconds(self._process.pid) if self._process else 0.0)

    @property
    def alive(self) -> bool:
        """Whether the process runs and has said nothing out of turn."""
        if self._process is None:
            return False
        if self._buffer or self._readable.poll(0):  # unread words, or the end of its pipe
            self.kill()
            return False
        return True

    def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            SkillFaultError: it does not start.
        """
        if self._directory is None:
            self._directory = tempfile.mkdtemp(prefix="agentlab-skill-")
        command = [sys.executable, *FLAGS, str(CHILD), json.dumps(asdict(self.limits))]
        try:
            self._process = process = Popen(
                command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                bufsize=0,
                cwd=self._directory,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            raise SkillFaultError(
                f"The process for skill code cannot be started: {error}."
            ) from error
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._in, False)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(self._out, select.POLLIN)
        self._writable.register(self._in, select.POLLOUT)
        message, _ = self.receive(self.limits.start_seconds)
        if not isinstance(message, Ready):
            self.kill()
            raise SkillFaultError("The process for skill code cannot be started: it is not ours.")

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
                view = view[os.write(self._in, view) :]
            except BlockingIOError:
                if not self._writable.poll(self.limits.seconds * 1000):
                    raise SkillFaultError("The process for skill code reads nothing.") from None
            except OSError as error:
                raise self._ended() from error

    def receive(self, seconds: float) -> tuple[Message, float]:
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
                raise SkillFaultError(f"Skill code did not end within {self.limits.seconds:g} s.")
            try:
                chunk = os.read(self._out, 1 << 16)
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

    def kill(self) -> None:
        """End the process and all in its session, and close the pipes."""
        process, self._process, self._buffer = self._process, None, b""
        if process is None:
            return
        self._spent += _cpu_seconds(process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()

    def remove_directory(self) -> None:
        """Delete the working directory of the process."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _ended(self) -> SkillFaultError:
        """Why there is nothing more to read."""
        process = self._process
        code: int | None = None
        if process is not None:
            with contextlib.suppress(TimeoutExpired):
                code = process.wait(timeout=1.0)
        if code == -signal.SIGXCPU:
            return SkillFaultError(
                f"Skill code used more than {self.limits.cpu_seconds:g} s of processor time."
            )
        return SkillFaultError(f"Skill code ended its process (exit status {code}).")
