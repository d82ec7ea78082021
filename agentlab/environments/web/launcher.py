"""Becomes a browser that the kernel kills when its parent dies, however that was.

Started as a script of its own: `launcher.py PROGRAM ARGUMENT…`. The process replaces itself, so
nothing of Python stays. Where the kernel offers no such promise the browser is simply started.
Uses the standard library alone, and nothing of agentlab.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

PARENT_DEATH = 1
"""PR_SET_PDEATHSIG; kept across exec."""


def main() -> None:
    """Become the program."""
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # it died before the promise was made
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
