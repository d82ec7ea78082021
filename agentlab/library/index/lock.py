"""A lock that lets one process at a time use a directory.

The operating system holds it (`flock`) and drops it when the process ends in any way, so there
is no stale lock to remove. It says nothing of what is in the directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from pathlib import Path

from agentlab.errors import IndexFaultError, WorkspaceError
from agentlab.records.files import open_lock

NAME = "lock"


class IndexInUseError(IndexFaultError):
    """Raised when another process uses an index directory."""


class DirectoryLock:
    """Holds `<directory>/lock` until released."""

    def __init__(self, directory: Path) -> None:
        """Take the lock at once or not at all; the directory is made where it is missing.

        Raises:
            IndexInUseError: someone else holds it.
            IndexFaultError: the directory cannot be written, or its lock is a link or no lock.
        """
        self.path = directory / NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._handle: int | None = open_lock(self.path, longest=None)
        except WorkspaceError as error:
            raise IndexFaultError(str(error)) from error
        except OSError as error:
            raise IndexFaultError(
                f"The index directory {str(directory)!r} cannot be used: {error.strerror}."
            ) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._handle, 32, 0).decode(errors="replace").strip()
            self._close()
            raise IndexInUseError(
                f"The index directory {str(directory)!r} is in use by process "
                f"{holder or 'unknown'}; end it or use another workspace."
            ) from error
        with contextlib.suppress(OSError):  # a full disk: only the holder's name is lost
            os.truncate(self._handle, 0)
            os.pwrite(self._handle, str(os.getpid()).encode(), 0)
        _held.add(self)

    def release(self) -> None:
        """Let others in. Safe to call twice."""
        _held.discard(self)
        self._close()

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


_held: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_after_fork)
