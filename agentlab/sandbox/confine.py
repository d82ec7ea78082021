"""What a child gives up before it runs skill code: a standalone program, told what by argument.

    python -c <this file> <confinement as JSON> <source of child.py> <limits as JSON> …

It imports nothing of agentlab. It dies with its parent, drops root, gains no privilege again,
shuts itself in with Landlock and a seccomp filter where it is told to, and then becomes the
child in the same process. A step that is asked for and fails ends the process: nothing runs
half confined. It must not be imported by the host.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from base64 import b64decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION = 0x20080522
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_ADD_RULE = 445
LANDLOCK_RESTRICT_SELF = 446
O_PATH = 0o10000000

FILE_SYSTEM = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Every right on files that a Landlock ABI knows, from that ABI on."""
NETWORK = 3
"""Binding and connecting TCP sockets, from ABI 4 on."""
SCOPES = 3
"""Abstract sockets and signals, from ABI 6 on."""

libc = ctypes.CDLL(None, use_errno=True)


class Paths:
    """Open descriptors of the paths that stay readable, and what may be done there."""

    def __init__(self, rules: list[tuple[str, int]]) -> None:
        self.rules: list[tuple[int, int]] = []
        for path, rights in rules:
            try:
                self.rules.append((os.open(path, O_PATH | os.O_CLOEXEC), rights))
            except FileNotFoundError:
                continue


def check(result: int, what: str) -> int:
    """The result of a system call, or the end of this process."""
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def prctl(option: int, value: int, *more: object) -> None:
    """Change something about this process."""
    rest = [*more, *(ctypes.c_ulong(0) for _ in range(3 - len(more)))]
    check(libc.prctl(option, ctypes.c_ulong(value), *rest), f"prctl {option}")


def drop_root(uid: int | None) -> None:
    """Become the user, if one is given, and keep no capability."""
    if os.getuid() == 0 or os.geteuid() == 0:
        for capability in range(64):
            if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
                break  # past the last one that this kernel knows, or not allowed to
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION, 0))
    check(libc.capset(header, ctypes.create_string_buffer(24)), "capset")


def restrict_paths(abi: int, paths: Paths) -> None:
    """Nothing of the file system but the paths, no TCP, no signals to outside."""
    handled = max(rights for least, rights in FILE_SYSTEM.items() if least <= abi)
    attributes = struct.pack("=Q", handled)
    if abi >= 4:
        attributes += struct.pack("=Q", NETWORK)
    if abi >= 6:
        attributes += struct.pack("=Q", SCOPES)
    ruleset = check(
        libc.syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0),
        "landlock_create_ruleset",
    )
    for descriptor, rights in paths.rules:
        rule = struct.pack("=Qi", rights & handled, descriptor)
        check(libc.syscall(LANDLOCK_ADD_RULE, ruleset, 1, rule, 0), "landlock_add_rule")
        os.close(descriptor)
    check(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def restrict_calls(program: bytes) -> None:
    """Install a seccomp filter; it stays for good."""
    code = ctypes.create_string_buffer(program, len(program))
    pointer = ctypes.cast(code, ctypes.c_void_p).value or 0
    filter_program = struct.pack("@HP", len(program) // 8, pointer)
    prctl(PR_SET_SECCOMP, 2, ctypes.create_string_buffer(filter_program))


def confine(spec: dict[str, Any]) -> None:
    """Give up what the specification says, in an order in which each step is still allowed."""
    paths = Paths(spec["paths"]) if spec["landlock"] else None
    if spec["drop"]:
        drop_root(spec["uid"])
    if spec["parent_signal"] != 9:
        import signal

        # Until the child handles it there is nothing at work, and the end of the pipe will do.
        signal.signal(spec["parent_signal"], signal.SIG_IGN)
    # After the change of user, which would clear it again.
    prctl(PR_SET_PDEATHSIG, spec["parent_signal"])
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if paths is not None:
        restrict_paths(spec["landlock"], paths)
    if spec["filter"]:
        restrict_calls(b64decode(spec["filter"]))


def main() -> None:
    """Confine this process and become the child."""
    spec, source = json.loads(sys.argv[1]), sys.argv[2]
    # For the dynamic loader alone, which has done its work.
    os.environ.pop("LD_LIBRARY_PATH", None)
    code = compile(source, "child", "exec", dont_inherit=True)
    try:
        confine(spec)
    except OSError as error:
        os.write(1, json.dumps({"kind": "raised", "error": str(error), "last": True}).encode())
        os.write(1, b"\n")
        os._exit(70)
    sys.argv[1:3] = []
    exec(code, {"__name__": "__main__"})


if __name__ == "__main__":
    main()
