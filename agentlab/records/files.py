"""Small files of a workspace: written whole or not at all, and never through a link.

A workspace may come from elsewhere, in an archive or on a shared disk. A link in it can point
at any file that its user may write, so nothing here follows one: locks are opened as the plain
files they must be, and other files are written beside and renamed. What a file means is known
elsewhere.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agentlab.errors import WorkspaceError

LONGEST_LOCK = 32
"""Bytes of a lock file: a process id. A longer file is something else."""


def open_lock(path: Path, *, longest: int | None = LONGEST_LOCK) -> int:
    """A descriptor of a lock file, made where it is missing; nothing is locked or written yet.

    Args:
        path: where it is.
        longest: bytes above which it is no lock file; None where damage is simply overwritten.

    Raises:
        WorkspaceError: the path is a link, a second name of a file, or no lock file.
        OSError: it cannot be opened.
    """
    if path.is_symlink():
        raise _no_lock(path)
    # Without O_NONBLOCK a named pipe would wait for someone at its other end.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags, 0o644)
    status = os.fstat(handle)
    plain = stat.S_ISREG(status.st_mode) and status.st_nlink <= 1
    if not plain or (longest is not None and status.st_size > longest):
        os.close(handle)
        raise _no_lock(path)
    return handle


def replace_text(path: Path, text: str) -> None:
    """Put a file of this text in the place of whatever has that name, a link included.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(draft).chmod(0o644)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def refuse_strangers(root: Path, *directories: Path) -> None:
    """Return, unless a directory or something right below it is a link that leaves the root.

    Raises:
        WorkspaceError: one is; names it.
        OSError: a directory cannot be read.
    """
    home = Path(os.path.realpath(root))  # resolve() raises where a link leads in a circle
    for link in _links(directories):
        # A link in a circle leads nowhere, and what it should have led to is not here either.
        if not Path(os.path.realpath(link)).is_relative_to(home) or not link.exists():
            raise WorkspaceError(
                f"The workspace's {str(link.relative_to(root))!r} is a link that leads out of "
                f"{str(root)!r}, where agentlab does not write; put the file or directory itself "
                "in its place, or choose another with --workspace."
            )


def _links(directories: tuple[Path, ...]) -> Iterator[Path]:
    for directory in directories:
        if directory.is_symlink():
            yield directory
        if directory.is_dir():
            with os.scandir(directory) as entries:
                yield from sorted(Path(entry) for entry in entries if entry.is_symlink())


def _no_lock(path: Path) -> WorkspaceError:
    return WorkspaceError(
        f"The lock {str(path)!r} is a link, or a file that is no lock of agentlab; remove it and "
        "run the same command again."
    )
