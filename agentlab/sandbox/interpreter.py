"""Which files the interpreter in a box needs, found by asking the interpreter itself.

A box shows skill code these and no others: the program, its standard library without the
installed packages, and the directories of the shared libraries that it loads. It never gives a
home directory, `/etc` or the whole of `/usr` away.
"""

from __future__ import annotations

import json
import os
import stat
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from agentlab.errors import SkillFaultError

FLAGS = ("-P", "-s", "-S", "-B")
"""With an empty environment these isolate as `-I` does; `-I` itself would also ignore the hash
seed, and skill code that walks over a set would then differ between two runs."""
ENVIRONMENT = {"PYTHONHASHSEED": "0"}
PACKAGES = ("site-packages", "dist-packages")
_ASK = """
import ctypes, glob, json, os, sys
where = os.path.dirname(os.__file__)
dynamic = [path for path in sys.path if path.endswith("lib-dynload")]
for path in dynamic:
    for name in glob.glob(os.path.join(path, "*.so")):
        if "tkinter" not in name:
            try:
                ctypes.CDLL(name)
            except OSError:
                pass
with open("/proc/self/maps") as file:
    mapped = {line.split(None, 5)[5].strip() for line in file if line.count("/")}
json.dump({"library": where, "dynamic": dynamic, "mapped": sorted(mapped)}, sys.stdout)
"""


class Interpreter(NamedTuple):
    """What a box must show; all paths are absolute and free of links."""

    executable: str
    libraries: tuple[str, ...]
    """The standard library: directories, whose packages are to be hidden."""
    shared: tuple[str, ...]
    """Directories, or single files, of shared libraries."""
    loader: str
    """The path by which the program names the dynamic loader, or empty."""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Directories of installed packages inside the standard library."""
        places = (os.path.join(path, name) for path in self.libraries for name in PACKAGES)
        return tuple(place for place in places if os.path.isdir(place))

    @property
    def paths(self) -> tuple[str, ...]:
        """Everything, none below another."""
        found: list[str] = []
        for path in sorted({self.executable, *self.libraries, *self.shared}):
            if not any(_below(path, other) for other in found):
                found.append(path)
        return tuple(found)

    def readable(self) -> bool:
        """Whether a user who owns nothing can read all of it."""
        return all(_open_to_all(path) for path in self.paths)

    @property
    def entries(self) -> tuple[str, ...]:
        """The parts of the standard library one by one, without the installed packages."""
        return tuple(
            os.path.join(path, name)
            for path in self.libraries
            for name in sorted(os.listdir(path))
            if name not in PACKAGES
        )


def base_executable() -> str:
    """The interpreter beneath a virtual environment; a box sees nothing of the environment."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


@cache
def find_interpreter() -> Interpreter:
    """The files of the interpreter that runs this process; asks it once, about 0.2 seconds.

    Raises:
        SkillFaultError: it does not answer.
    """
    executable = base_executable()
    try:
        answer = subprocess.run(
            [executable, *FLAGS, "-c", _ASK],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        ).stdout
        found = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SkillFaultError(
            f"The interpreter {executable!r} does not say what it needs, so no box can be built "
            f"for it: {error}."
        ) from error
    libraries = {os.path.realpath(path) for path in (found["library"], *found["dynamic"])}
    outer = tuple(sorted(p for p in libraries if not any(_below(p, o) for o in libraries - {p})))
    shared: set[str] = set()
    for path in found["mapped"]:
        if not path.startswith("/") or ".so" not in path or any(_below(path, o) for o in outer):
            continue
        directory = os.path.dirname(path)
        whole = _public(directory) and not any(_below(o, directory) for o in outer)
        shared.update((directory,) if whole else _names(path))
    return Interpreter(executable, outer, tuple(sorted(shared)), _loader(executable))


def _below(path: str, other: str) -> bool:
    return path == other or path.startswith(other.rstrip("/") + "/")


def _public(directory: str) -> bool:
    """Whether a whole directory of libraries may be shown."""
    home = os.path.realpath(os.path.expanduser("~"))
    if directory.count("/") < 2 or _below(home, directory) or directory == home:
        return False
    return Path(directory).name.startswith(("lib", "x86_64-", "aarch64-"))


def _loader(executable: str) -> str:
    """What the program header of the type PT_INTERP says, of a 64-bit ELF file."""
    with open(executable, "rb") as file:
        head = file.read(64)
        if head[:5] != b"\x7fELF\x02":
            return ""
        start, size, count = (
            *struct.unpack_from("=Q", head, 32),
            *struct.unpack_from("=HH", head, 54),
        )
        file.seek(start)
        table = file.read(size * count)
        for at in range(0, size * count, size):
            if struct.unpack_from("=I", table, at)[0] == 3:
                offset, length = struct.unpack_from("=Q16xQ", table, at + 8)
                file.seek(offset)
                return file.read(length).rstrip(b"\0").decode()
    return ""


def _names(library: str) -> list[str]:
    """A library under its own name and under those by which programs ask for it."""
    directory, name = os.path.split(library)
    stem = name.partition(".so")[0]
    beside = (os.path.join(directory, other) for other in os.listdir(directory))
    return [p for p in beside if stem in p and os.path.realpath(p) == os.path.realpath(library)]


def _open_to_all(path: str) -> bool:
    for part in (Path(path), *Path(path).parents):
        mode = part.stat().st_mode
        needed = 0o5 if stat.S_ISDIR(mode) else 0o4
        if part != Path(path):
            needed = 0o1
        if mode & needed != needed:
            return False
    return True
