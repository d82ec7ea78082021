"""A child on this machine: a process, its two pipes, and its end.

It is started in a session of its own with nothing inherited. Killing it kills its process
group, its namespace or control group where it has one, and what the box left behind. It knows
nothing of the line protocol.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired

from agentlab.errors import SkillFaultError
from agentlab.sandbox.cgroup import Cgroup


class LocalProcess:
    """Implements `box.Started` with a process of this machine."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: str = "/",
        pass_fds: Sequence[int] = (),
        uid: int | None = None,
        cgroup: Cgroup | None = None,
        release: Callable[[], None] | None = None,
    ) -> None:
        """Start it.

        Args:
            command: with its arguments; no shell is involved.
            environment: all that the process sees of one.
            directory: where it starts.
            pass_fds: descriptors that it inherits besides its two pipes.
            uid: the user to run as, where this process is root.
            cgroup: what it joins when it is ready.
            release: called once, after its end.

        Raises:
            SkillFaultError: it cannot be started.
        """
        self._cgroup = cgroup
        self._release = release
        self._inner: int | None = None
        self._stopped = False
        self._spent = 0.0
        self._process: Popen[bytes] | None = None
        try:
            process: Popen[bytes] = Popen(
                command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                bufsize=0,
                cwd=directory,
                env=dict(environment),
                pass_fds=pass_fds,
                start_new_session=True,
                user=uid,
                group=uid,
                extra_groups=None if uid is None else [],
            )
        except (OSError, ValueError) as error:
            self._end()
            raise SkillFaultError(
                f"The process for skill code cannot be started: {error}."
            ) from error
        self._process, self._pid = process, process.pid
        assert process.stdin is not None
        assert process.stdout is not None
        self.reading, self.writing = process.stdout.fileno(), process.stdin.fileno()
        os.set_blocking(self.writing, False)

    @property
    def pid(self) -> int:
        """The process that was started; the child itself may be below it."""
        return self._pid

    @property
    def inner(self) -> int:
        """The process that runs skill code, as this machine numbers it."""
        if self._inner is None:
            self._inner = self._family()[-1]
        return self._inner

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the process that runs skill code."""
        return self._spent if self._stopped else _cpu_seconds(self.inner)

    def attach(self) -> None:
        """Put the process and those below it into the control group."""
        if self._cgroup is not None:
            self._cgroup.add(self._family())

    def exit_status(self) -> int | None:
        """How it ended, waiting at most a second."""
        if self._process is None:
            return None
        with contextlib.suppress(TimeoutExpired):
            status = self._process.wait(timeout=1.0)
            # A box tells of a signal inside it as shells do.
            return 128 - status if status > 128 else status
        return None

    def stop(self) -> None:
        """Send the signal that ends the process and, with it, its namespace."""
        if self._process is not None and not self._stopped:
            self._spent = _cpu_seconds(self.inner)
            self._stopped = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it and all that it started."""
        self.stop()
        process, self._process = self._process, None
        if process is None:
            return
        if self._cgroup is not None:
            self._cgroup.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()
        self._end()

    def _end(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()
        if self._cgroup is not None:
            self._cgroup.remove()

    def _family(self) -> list[int]:
        """The process and its descendants, innermost last; a box has one at each level."""
        found, level = [self._pid], [self._pid]
        while level:
            level = [child for process in level for child in _children(process)]
            found += level
        return found


def _children(process: int) -> list[int]:
    try:
        return [int(word) for word in _read(f"/proc/{process}/task/{process}/children").split()]
    except (OSError, ValueError):
        return []


def _read(path: str) -> str:
    return Path(path).read_text()


def _cpu_seconds(process: int) -> float:
    """User and system time of a running process; 0 where the system does not tell."""
    try:
        fields = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
