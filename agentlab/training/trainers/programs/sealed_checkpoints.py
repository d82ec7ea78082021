"""Checkpoints that can be believed: one that was cut short while it was written is none.

transformers writes a checkpoint file by file into its final folder, so a process that is killed
at that moment leaves a folder which looks whole. A seal, written last, names every file with its
digest; what has none, or does not match it, is removed and the one before it is taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

SEAL = "sealed.json"
_NUMBERED = re.compile(r"checkpoint-(\d+)")


def seal(folder: Path) -> None:
    """Write the seal of a checkpoint whose files are all there, and reach the disk with it."""
    digests: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != SEAL:
            digests[path.relative_to(folder).as_posix()] = _digest(path, sync=True)
    part = folder / f".{SEAL}"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(digests, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / SEAL)


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; those that are not are removed."""
    found: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        match = _NUMBERED.fullmatch(path.name)
        if match and _whole(path):
            found.append((int(match[1]), path))
        else:
            shutil.rmtree(path, ignore_errors=True)
    return max(found)[1] if found else None


def step_of(checkpoint: Path | None) -> int:
    """The step after which it was made; 0 of none."""
    match = _NUMBERED.fullmatch(checkpoint.name) if checkpoint is not None else None
    return int(match[1]) if match else 0


def _whole(folder: Path) -> bool:
    try:
        digests = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        return all(_digest(folder / name) == wanted for name, wanted in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def _digest(path: Path, *, sync: bool = False) -> str:
    with open(path, "rb") as file:
        if sync:
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
