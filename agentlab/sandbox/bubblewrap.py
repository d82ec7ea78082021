"""The default box: bubblewrap's namespaces around a child that also confines itself.

Inside there is the interpreter, read-only, an empty directory of limited size and two devices:
no network, no home, no `/etc`, no `/proc`, no other process. Before skill code runs the child
drops to a spare user where the agent is root, and refuses itself processes, programs, sockets
and signals. It needs the program `bwrap` and permission to make namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from agentlab.sandbox import seccomp
from agentlab.sandbox.box import Confinement, Started, child_command
from agentlab.sandbox.cgroup import Cgroup
from agentlab.sandbox.interpreter import ENVIRONMENT, Interpreter, find_interpreter
from agentlab.sandbox.process import LocalProcess
from agentlab.sandbox.protocol import RuntimeLimits
from agentlab.sandbox.users import spare_user

DIRECTORY = "/box"
FILES = 8
"""How many files of the largest size fit into the box's directory."""
DEVICES = ("/dev/null", "/dev/urandom")
OUTSIDE = ("--unshare-all", "--unshare-user", "--disable-userns")
"""Namespaces where whoever starts the box needs no privilege for them."""
AS_ROOT = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup")
"""Those that root makes without a user namespace, in which there could be no second user."""


class Way(NamedTuple):
    """How the box gets its user."""

    starts_as: int | None
    """The user that runs bwrap, or None for the present one."""
    becomes: int | None
    """The user that the child becomes inside, or None to stay."""


class BubblewrapBox:
    """Implements `box.Box` with bubblewrap."""

    name = "bubblewrap"
    takes_foreign_code = True

    def version(self) -> str:
        """What `bwrap --version` says."""
        return _version()

    def unavailable(self) -> str | None:
        """Why there is no bubblewrap here, or None; whether it holds is for the probes."""
        if not seccomp.supported():
            return f"There is no seccomp filter for a machine of the kind {seccomp.machine()!r}."
        if _program() is None:
            return "bwrap is not installed; `apt-get install bubblewrap` brings it."
        return _refusal()

    def start(self, limits: RuntimeLimits) -> Started:
        """Start a child in namespaces of its own."""
        interpreter = find_interpreter()
        way = choose_way(interpreter)
        filter_file = _sealed(seccomp.boxed())
        try:
            return LocalProcess(
                command(limits, interpreter, way, filter_file),
                environment=ENVIRONMENT,
                pass_fds=(filter_file,),
                uid=way.starts_as,
                cgroup=Cgroup.make(limits.memory_bytes + FILES * limits.file_bytes),
            )
        finally:
            os.close(filter_file)


def choose_way(interpreter: Interpreter) -> Way:
    """The spare user runs bwrap where it can read the interpreter, else takes over inside."""
    if os.geteuid() != 0:
        return Way(None, None)
    user = spare_user()
    return Way(user, None) if interpreter.readable() else Way(None, user)


def command(
    limits: RuntimeLimits, interpreter: Interpreter, way: Way, filter_file: int
) -> list[str]:
    """The whole command line."""
    words = [_program() or "bwrap"]
    if way.becomes is None:
        words += [*OUTSIDE, "--cap-drop", "ALL"]
    else:
        words += [*AS_ROOT, "--cap-drop", "ALL"]
        words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    words += ["--die-with-parent", "--new-session", "--clearenv", "--seccomp", str(filter_file)]
    words += _files(interpreter)
    for device in DEVICES:
        words += ["--dev-bind", device, device]
    words += ["--size", str(FILES * limits.file_bytes), "--perms", "1777", "--tmpfs", DIRECTORY]
    words += ["--remount-ro", "/", "--chdir", DIRECTORY]
    for name, value in ENVIRONMENT.items():
        words += ["--setenv", name, value]
    words += ["--setenv", "LD_LIBRARY_PATH", ":".join(_directories(interpreter)), "--"]
    confinement = Confinement(uid=way.becomes, filter=seccomp.strict())
    return words + child_command(interpreter.executable, limits, confinement)


def _files(interpreter: Interpreter) -> list[str]:
    """What is shown, read-only, with parents that every user may pass through."""
    words: list[str] = []
    shown = {*interpreter.paths}
    if interpreter.loader and not any(interpreter.loader.startswith(path + "/") for path in shown):
        shown.add(interpreter.loader)
    parents = {str(parent) for path in (*shown, *DEVICES) for parent in Path(path).parents}
    made: set[str] = {"/"}
    for parent in sorted(parents - made - shown):
        if not any(parent.startswith(path + "/") for path in shown):
            words += ["--perms", "0755", "--dir", parent]
    for path in sorted(shown):
        words += ["--ro-bind", path, path]
    for path in interpreter.hidden:
        words += ["--perms", "0755", "--tmpfs", path, "--remount-ro", path]
    return words


def _directories(interpreter: Interpreter) -> list[str]:
    return sorted({p if os.path.isdir(p) else os.path.dirname(p) for p in interpreter.shared})


def _sealed(data: bytes) -> int:
    """A descriptor from which the data can be read; far less than a pipe holds."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(data)
    return reading


@cache
def _program() -> str | None:
    return shutil.which("bwrap")


@cache
def _refusal() -> str | None:
    """What the system says to a namespace, found out once; None where it has nothing against."""
    way = choose_way(find_interpreter())
    flags = AS_ROOT if way.starts_as is None and way.becomes is not None else OUTSIDE
    try:
        trial = subprocess.run(
            [_program() or "bwrap", *flags, "--ro-bind", "/", "/", "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            user=way.starts_as,
            group=way.starts_as,
            extra_groups=None if way.starts_as is None else [],
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"bwrap cannot be started: {error}."
    if trial.returncode == 0:
        return None
    said = (trial.stderr.strip().splitlines() or ["it does not say why"])[-1]
    return (
        f"The system refuses namespaces to bwrap ({said}); allow them to unprivileged users, or "
        "use the box 'landlock'."
    )


@cache
def _version() -> str:
    program = _program()
    if program is None:
        return ""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.strip()
