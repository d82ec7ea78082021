"""Becomes a browser that the kernel kills when its parent dies, and that takes so much memory.

Started as a script of its own: `launcher.py MEGABYTES PROGRAM ARGUMENT…`. The process replaces
itself, so nothing of Python stays. The limit is that of the memory which a process may write to
and shares with nobody; each process of the browser inherits it. Where the kernel offers no such
promise the browser is simply started. Of several lists of features to be turned off Chromium heeds
the last alone, so that playwright's and ours become one. Uses the standard library alone, and
nothing of agentlab.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

PARENT_DEATH = 1
"""PR_SET_PDEATHSIG; kept across exec."""
MIB = 1024 * 1024
OFF = "--disable-features="


def main() -> None:
    """Become the program."""
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # it died before the promise was made
    with contextlib.suppress(ImportError, OSError, ValueError):
        _limit(int(sys.argv[1]) * MIB)
    os.execv(sys.argv[2], [sys.argv[2], *merged(sys.argv[3:])])


def merged(arguments: list[str]) -> list[str]:
    """The arguments with one list of features to be turned off, where there were several."""
    off = [each.removeprefix(OFF) for each in arguments if each.startswith(OFF)]
    if not off:
        return arguments
    return [OFF + ",".join(off), *(each for each in arguments if not each.startswith(OFF))]


def _limit(size: int) -> None:
    """Take no more than so many bytes; never more than was allowed before.

    Chromium makes an eighth of it V8's room for code, and no page of it starts where that is no
    whole number of the kernel's pages: whole MiB are.
    """
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = size if hard == resource.RLIM_INFINITY else min(size, hard) // MIB * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main()
