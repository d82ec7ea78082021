"""What a derived index was when it was last left: the note from which doubt arises.

An index is opened without further checks only if its stamp says that it was closed, that
nothing has touched its files since, and that it holds what the records hold now.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, ValidationError

from agentlab.library.index.lock import NAME as LOCK
from agentlab.protocols import Vectors
from agentlab.types.base import Frozen

NAME = "stamp.json"
FORMAT = 1
_BITS = 1 << 64


class FileMark(NamedTuple):
    """What stands for a file."""

    size: int
    """Bytes."""
    time: int
    """Of the last change, in ns."""
    checksum: int
    """CRC-32 of the content."""


FileState = Literal["same", "touched", "changed"]


class Stamp(Frozen):
    """One directory's note."""

    format: int = FORMAT
    state: Literal["clean", "open", "writing"]
    """`open`: a process had it open and wrote nothing; `writing`: it wrote, and did not close."""
    generation: int = 0
    """Which subdirectory holds the index."""
    maker: str = ""
    """Index software and embedder, with their versions: another maker's vectors differ."""
    count: int = 0
    fingerprint: str = ""
    files: dict[str, FileMark] = Field(default_factory=dict)
    """The files as they were when it was closed, by path inside the directory."""


def read_stamp(root: Path) -> Stamp | None:
    """The stamp of a directory, or None where there is none that can be read."""
    try:
        stamp = Stamp.model_validate_json((root / NAME).read_bytes())
    except (OSError, ValidationError):
        return None
    return stamp if stamp.format == FORMAT else None


def write_stamp(root: Path, stamp: Stamp) -> None:
    """Replace the stamp in one step.

    Raises:
        OSError: it cannot be written.
    """
    draft = root / f"{NAME}.draft"
    with draft.open("w", encoding="utf-8") as handle:
        handle.write(stamp.model_dump_json())
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(root / NAME)


def file_marks(directory: Path) -> dict[str, FileMark]:
    """What stands for every file below a directory, locks apart."""
    return {
        name: FileMark(status.st_size, status.st_mtime_ns, _checksum(directory / name))
        for name, status in _files(directory).items()
    }


def compare(
    directory: Path, marks: Mapping[str, FileMark], *, aside: str | None = None
) -> tuple[FileState, str]:
    """Whether the files are still what was marked, and the first one that is not.

    Files whose path begins with `aside` are not looked at.

    Contents are read only where a time of change differs, and never where a size does: a
    damaged index was seen to hold a sparse file of a terabyte.
    """
    files = _files(directory)
    if aside is not None:
        files = {name: files[name] for name in files if not name.startswith(aside)}
        marks = {name: marks[name] for name in marks if not name.startswith(aside)}
    odd = sorted(files.keys() ^ marks.keys())
    odd += [name for name in files if name in marks and files[name].st_size != marks[name].size]
    if odd:
        return "changed", odd[0]
    touched = [name for name in files if files[name].st_mtime_ns != marks[name].time]
    for name in touched:
        if _checksum(directory / name) != marks[name].checksum:
            return "changed", name
    return ("touched", touched[0]) if touched else ("same", "")


def _files(directory: Path) -> dict[str, os.stat_result]:
    return {
        str(path.relative_to(directory)): path.stat()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != LOCK
    }


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def item_mark(identifier: str, vector: Vectors) -> int:
    """64 bits that stand for one item and its vector."""
    content = identifier.encode() + b"\0" + vector.tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def fingerprint(marks: Mapping[str, int]) -> str:
    """16 hex digits that stand for a set of items, in whatever order they came."""
    return f"{sum(marks.values()) % _BITS:016x}"
