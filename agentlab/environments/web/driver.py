"""The memory of playwright's driver, which hears all that a browser says of its pages.

What pages log, throw and send to their sites passes the driver before anything of it reaches this
process, and some of it the driver keeps. The kernel limits what it takes (where there is Linux),
and so what can reach this process at once; a driver that is ended by that is replaced, with its
browsers (`browser`). Nothing here imports playwright.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

MOST_MEGABYTES = 2_000
"""That the driver may take for itself; it begins with some 650, most of that never used."""


def children() -> frozenset[int]:
    """The processes that this thread has started and that still run; empty where none can say."""
    place = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    try:
        return frozenset(map(int, place.read_text(encoding="ascii").split()))
    except (OSError, ValueError):
        return frozenset()


def limit(process: int, megabytes: int = MOST_MEGABYTES) -> None:
    """Have the kernel give a process no more memory of its own; what it starts may take more."""
    # A process that is gone, or a system without such limits.
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        hard = resource.prlimit(process, resource.RLIMIT_DATA)[1]
        most = megabytes * 1024 * 1024
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(process, resource.RLIMIT_DATA, (soft, hard))


def runs(process: int) -> bool:
    """Whether a process still runs: one that has ended and that nobody has asked for does not."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return fields.rpartition(")")[2].split()[0] not in ("Z", "X")
