"""The box for where namespaces are refused, as in most containers: Landlock and seccomp.

The child shuts itself in: it reads the interpreter and nothing else, writes nowhere, and is
refused processes, programs, sockets and signals; where the agent is root it gives up every
capability, and becomes a spare user where that one can read the interpreter. It needs Linux
5.13 or later with Landlock switched on, and no program or privilege.

Landlock itself stops signals and abstract sockets from ABI 6 on. Below that they are refused
by the seccomp filter alone, and whether that holds is found out by the probes. On every ABI the
size and the times of a file whose path is known can still be asked for.
"""

from __future__ import annotations

import ctypes
import os
import platform

from agentlab.sandbox import seccomp
from agentlab.sandbox.box import Confinement, Started, child_command
from agentlab.sandbox.cgroup import Cgroup
from agentlab.sandbox.interpreter import ENVIRONMENT, Interpreter, find_interpreter
from agentlab.sandbox.process import LocalProcess
from agentlab.sandbox.protocol import RuntimeLimits
from agentlab.sandbox.users import spare_user

CREATE_RULESET = 444
ASK_VERSION = 1
WRITE_FILE, READ_FILE, READ_DIR = 2, 4, 8
"""Rights, as `confine` has them too."""
NEWEST = 7
"""The newest ABI whose rights are known here; a newer kernel still offers it."""


class LandlockBox:
    """Implements `box.Box` with Landlock.

    Args:
        newest: use no later ABI than this, to find out what an older kernel would hold.
    """

    name = "landlock"
    takes_foreign_code = True

    def __init__(self, *, newest: int = NEWEST) -> None:
        self.abi = min(landlock_abi(), newest)

    def version(self) -> str:
        """The ABI in use."""
        return f"landlock ABI {self.abi}" if self.abi else ""

    def unavailable(self) -> str | None:
        """Why there is no Landlock here, or None; whether it holds is for the probes."""
        if not seccomp.supported():
            return f"There is no seccomp filter for a machine of the kind {seccomp.machine()!r}."
        if not self.abi:
            return (
                "This kernel has no Landlock; it needs Linux 5.13 or later with `landlock` among "
                "the security modules it is started with."
            )
        return None

    def start(self, limits: RuntimeLimits) -> Started:
        """Start a child that shuts itself in."""
        interpreter = find_interpreter()
        root = os.geteuid() == 0
        confinement = Confinement(
            uid=spare_user() if root and interpreter.readable() else None,
            landlock=self.abi,
            paths=tuple(_paths(interpreter)),
            filter=seccomp.strict(),
        )
        return LocalProcess(
            child_command(interpreter.executable, limits, confinement),
            environment=ENVIRONMENT,
            cgroup=Cgroup.make(limits.memory_bytes),
        )


def landlock_abi() -> int:
    """The ABI that the kernel offers, 0 where there is none."""
    if platform.system() != "Linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)))


def _paths(interpreter: Interpreter) -> list[tuple[str, int]]:
    """What stays reachable. Names in the standard library may be listed; packages not read."""
    paths = [(path, READ_DIR) for path in interpreter.libraries]
    for path in (*interpreter.entries, *interpreter.shared):
        paths.append((path, READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE))
    paths += [("/dev/null", READ_FILE | WRITE_FILE), ("/dev/urandom", READ_FILE)]
    return paths
