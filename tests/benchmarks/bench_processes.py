"""What the processes of a benchmark take, read from /proc: memory, time of the processors, files.

Memory is the proportional share (PSS): a page that ten processes share counts once and not ten
times, as it would in a sum of resident sizes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Taken(NamedTuple):
    """What some processes have at one moment."""

    processes: int
    megabytes: float
    """Proportional share of memory."""
    files: int
    """Open descriptors."""
    threads: int


def below(root: int) -> set[int]:
    """All processes below one that still run, by number."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))) and fields[0] != "Z":
            children[int(fields[1])].append(int(entry.name))
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for child in children[waiting.pop()]:
            found.add(child)
            waiting.append(child)
    return found


def taken(processes: set[int]) -> Taken:
    """What they have now; those that end meanwhile do not count."""
    rows = [row for process in processes if (row := _row(process)) is not None]
    return Taken(
        len(rows), sum(r[0] for r in rows) / 1024, sum(r[1] for r in rows), sum(r[2] for r in rows)
    )


def processor_seconds(processes: set[int]) -> float:
    """What they and their children that ended have used of the processors so far."""
    return sum(
        sum(map(int, fields[11:15])) / TICKS
        for p in processes
        if (fields := _fields(p)) is not None
    )


def _row(process: int) -> tuple[int, int, int] | None:
    place = PROC / str(process)
    try:
        lines = (place / "smaps_rollup").read_text().splitlines()
        share = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        files = len(list((place / "fd").iterdir()))
        threads = len(list((place / "task").iterdir()))
    except (OSError, StopIteration):
        return None
    return share, files, threads


def _fields(process: int) -> list[str] | None:
    """The fields of `stat` from the state on; see proc(5)."""
    try:
        return (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
