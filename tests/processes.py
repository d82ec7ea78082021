"""Whether a process still runs, and the wait until it does not.

A process that was killed is gone only when the kernel has come to it: what asks at once finds it
running now and then.
"""

from __future__ import annotations

import time
from pathlib import Path


def alive(process: int) -> bool:
    """Whether it still runs; one that only waits to be buried does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] not in "ZX"


def until_ended(*processes: int, seconds: float = 30.0) -> None:
    """Wait for the end of all of them.

    Raises:
        AssertionError: one still runs when the time is up.
    """
    limit = time.monotonic() + seconds
    while left := [process for process in processes if alive(process)]:
        assert time.monotonic() < limit, f"still running after {seconds:.0f} s: {left}"
        time.sleep(0.02)
