"""A control group for one box, where this process may make one.

It is a ceiling on the processes and the memory of everything in the box together. It adds to
the limits that each process has by itself, and a box is no box only because of it: most users
may make none, and then there is none. Both versions of the interface are known.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/sys/fs/cgroup")
PREFIX = "agentlab-"
PROCESSES = 24
_numbers = itertools.count()


class Place(NamedTuple):
    """A directory below which groups can be made, and what a group there limits."""

    directory: Path
    processes: str | None
    memory: str | None


class Cgroup:
    """One group, as a directory in each hierarchy that takes part."""

    def __init__(self, directories: list[Path]) -> None:
        self.directories = directories

    @classmethod
    def make(cls, memory_bytes: int) -> Cgroup | None:
        """A group of at most `PROCESSES` processes and so much memory, or None."""
        name = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        made: list[Path] = []
        for place in _places():
            directory = place.directory / name
            try:
                directory.mkdir()
            except OSError:
                continue
            made.append(directory)
            with contextlib.suppress(OSError):
                if place.processes is not None:
                    (directory / place.processes).write_text(str(PROCESSES))
                if place.memory is not None:
                    (directory / place.memory).write_text(str(memory_bytes))
        return cls(made) if made else None

    def add(self, processes: list[int]) -> None:
        """Move processes into the group; one that is gone is passed over."""
        for directory in self.directories:
            for process in processes:
                with contextlib.suppress(OSError):
                    (directory / "cgroup.procs").write_text(str(process))

    def processes(self) -> list[int]:
        """What is in the group now."""
        found: set[int] = set()
        for directory in self.directories:
            with contextlib.suppress(OSError, ValueError):
                found |= {int(word) for word in (directory / "cgroup.procs").read_text().split()}
        return sorted(found)

    def kill(self) -> None:
        """Kill whatever is in the group, also what has left its session."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)

    def remove(self) -> None:
        """Delete the group; the system needs a moment after the last process of it has ended."""
        for directory in self.directories:
            for _ in range(50):
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.002)
                else:
                    break
        self.directories = []


@cache
def _places() -> tuple[Place, ...]:
    """Where groups can be made; looks once, and clears away what killed processes left."""
    found: list[Place] = []
    for line in _lines(Path("/proc/self/cgroup")):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            found += _unified(path)
        elif controllers == "pids":
            found += _writable(Place(_inside("pids", path), "pids.max", None))
        elif controllers == "memory":
            found += _writable(Place(_inside("memory", path), None, "memory.limit_in_bytes"))
    for place in found:
        _sweep(place.directory)
    return tuple(found)


def _inside(hierarchy: str, path: str) -> Path:
    """The directory of a group; within a container the path may be the host's."""
    directory = ROOT / hierarchy / path.strip("/")
    return directory if directory.is_dir() else ROOT / hierarchy


def _unified(path: str) -> list[Place]:
    for root in (ROOT, ROOT / "unified"):
        # A group that has processes of its own cannot divide controllers, but its parent may.
        for directory in (root / path.strip("/"), (root / path.strip("/")).parent):
            given = " ".join(_lines(directory / "cgroup.subtree_control")).split()
            place = Place(
                directory,
                "pids.max" if "pids" in given else None,
                "memory.max" if "memory" in given else None,
            )
            if (place.processes or place.memory) and root in (directory, *directory.parents):
                return _writable(place)
    return []


def _writable(place: Place) -> list[Place]:
    trial = place.directory / f"{PREFIX}{os.getpid()}-trial"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return []
    return [place]


def _sweep(directory: Path) -> None:
    """Remove empty groups of processes that are gone; one in use cannot be removed."""
    for group in directory.glob(f"{PREFIX}*-*"):
        owner = group.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):
                group.rmdir()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
