"""A remote machine as the box, through the `e2b` package; chosen by name, never by itself.

Choosing it names an endpoint: skill code and what it works on then leave this machine, and each
tool call costs a round trip. Two threads carry lines between the remote process and a pair of
pipes, so that the conversation is the same as with any box. The package is imported when a
child is started, and only then.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shlex
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from agentlab.errors import MissingExtraError, SkillFaultError
from agentlab.sandbox.box import child_arguments
from agentlab.sandbox.interpreter import ENVIRONMENT, FLAGS
from agentlab.sandbox.protocol import RuntimeLimits

log = logging.getLogger(__name__)
PACKAGE = "e2b"
KEY = "E2B_API_KEY"
LIFE_SECONDS = 900
PROGRAM = "/tmp/agentlab-child.py"


class E2bBox:
    """Implements `box.Box` with a remote sandbox.

    Args:
        load: gives the `e2b` package; another one for tests.
    """

    name = "e2b"
    takes_foreign_code = True

    def __init__(self, load: Callable[[], Any] | None = None) -> None:
        self._load = load or _package

    def version(self) -> str:
        """The package's version, empty where it is not installed."""
        if find_spec(PACKAGE) is None:
            return ""
        from importlib.metadata import version

        return f"{PACKAGE} {version(PACKAGE)}"

    def unavailable(self) -> str | None:
        """Why no remote machine can be asked for; the package and the key are looked for."""
        try:
            self._load()
        except MissingExtraError as error:
            return str(error)
        if not os.environ.get(KEY):
            return f"The variable {KEY} is not set; it holds the key to the service."
        return None

    def start(self, limits: RuntimeLimits) -> RemoteProcess:
        """Start a machine without internet access, and the child on it.

        Raises:
            MissingExtraError: the package is not installed.
            SkillFaultError: the service refuses.
        """
        package = self._load()
        try:
            machine = package.Sandbox.create(timeout=LIFE_SECONDS, allow_internet_access=False)
        except Exception as error:  # the package's errors are known only once it is there
            raise SkillFaultError(f"The service of the box 'e2b' refused: {error}.") from error
        return RemoteProcess(machine, limits)


class RemoteProcess:
    """Implements `box.Started` with a process on a remote machine."""

    cpu_seconds = 0.0

    def __init__(self, machine: Any, limits: RuntimeLimits) -> None:
        self._machine: Any = machine
        self._handle: Any = None
        self._inward, self.writing = os.pipe()
        self.reading, self._outward = os.pipe()
        os.set_blocking(self.writing, False)
        try:
            source, settings = child_arguments(limits)
            machine.files.write(PROGRAM, source)
            words = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
            command = shlex.join(
                ["exec", "env", "-i", *words, "python3", *FLAGS, PROGRAM, settings]
            )
            self._handle = machine.commands.run(command, background=True, stdin=True, timeout=0)
        except Exception as error:  # as above
            self.kill()
            raise SkillFaultError(f"The service of the box 'e2b' refused: {error}.") from error
        for work in (self._carry_in, self._carry_out):
            threading.Thread(target=work, name="agentlab-e2b", daemon=True).start()

    def attach(self) -> None:
        """Nothing: the machine is the limit."""

    def exit_status(self) -> int | None:
        """Unknown; the service tells it with an exception of its own."""
        return None

    def stop(self) -> None:
        """Nothing that would not take a round trip; see `kill`."""

    def kill(self) -> None:
        """End the machine with everything on it."""
        machine, self._machine = self._machine, None
        if machine is None:
            return
        try:
            machine.kill()
        except Exception as error:  # of the package's own kinds
            told = "The remote machine could not be ended and ends by itself in %d s: %s"
            log.warning(told, LIFE_SECONDS, error)
        for descriptor in (self.writing, self.reading):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _carry_in(self) -> None:
        """From the pipe to the remote process, until the host's end is closed."""
        machine = self._machine
        with os.fdopen(self._inward, "rb") as lines:
            for line in lines:
                try:
                    machine.commands.send_stdin(self._handle.pid, line.decode())
                except Exception as error:  # the machine is gone; the other thread ends the pipe
                    log.debug("The remote process takes nothing more: %s", error)
                    return

    def _carry_out(self) -> None:
        """From the remote process to the pipe, until either end is gone."""

        def carry(text: str) -> None:
            view = memoryview(text.encode())
            while view:
                view = view[os.write(self._outward, view) :]

        # Its end, or the host's end of the pipe, arrives as an exception; both mean the same.
        try:
            self._handle.wait(on_stdout=carry)
        except Exception as error:
            log.debug("The remote process says nothing more: %s", error)
        os.close(self._outward)


def _package() -> Any:
    if find_spec(PACKAGE) is None:
        raise MissingExtraError("The box 'e2b'", PACKAGE)
    return importlib.import_module(PACKAGE)
