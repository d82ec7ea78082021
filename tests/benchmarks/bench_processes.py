"""What the processes of a benchmark take, read from /proc: memory, time of the processors, files.

Memory is the proportional share (PSS): a page that ten processes share counts once and not ten
times, as it would in a sum of resident sizes. Of a program's file, which all processes of one
browser share with those of any other on the machine, that share changes as others come and go; so
what no file holds is told beside it.
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
    own: float
    """Of these, megabytes that no file holds, which nothing else on the machine changes."""
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


def arguments(process: int) -> list[str]:
    """What a process was started with, its program first; nothing if it has ended."""
    try:
        return (PROC / str(process) / "cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def taken(processes: set[int]) -> Taken:
    """What they have now; those that end meanwhile do not count."""
    rows = [row for process in processes if (row := _row(process)) is not None]
    share, own, files, threads = (sum(row[at] for row in rows) for at in range(4))
    return Taken(len(rows), share / 1024, own / 1024, files, threads)


def processor_seconds(processes: set[int]) -> float:
    """What they and their children that ended have used of the processors so far."""
    return sum(
        sum(map(int, fields[11:15])) / TICKS
        for p in processes
        if (fields := _fields(p)) is not None
    )


def _row(process: int) -> tuple[int, int, int, int] | None:
    place = PROC / str(process)
    try:
        lines = (place / "smaps_rollup").read_text().splitlines()[1:]
        kilobytes = {
            name: int(said.split()[0]) for name, _, said in (s.partition(":") for s in lines)
        }
        files = len(list((place / "fd").iterdir()))
        threads = len(list((place / "task").iterdir()))
        own = kilobytes["Pss_Anon"] + kilobytes["Pss_Shmem"]
    except (OSError, KeyError):
        return None
    return kilobytes["Pss"], own, files, threads


def _fields(process: int) -> list[str] | None:
    """The fields of `stat` from the state on; see proc(5)."""
    try:
        return (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
