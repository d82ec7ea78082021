"""The workspace directory: where records, blobs, the index and the runs of one user lie.

    <workspace>/
      records.db            the record store, the only copy of what was learnt
      blobs/                content-addressed files
      index/                derived from the records, may be deleted
      runs/<run_id>/        config, checkpoints and logs of a run; `lock` while it is worked on

Opening one creates what is missing and proves that it can be written, so that a run fails
before its first attempt and not after it. A part of it that is a link to somewhere else is
refused. Nothing here opens the database.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from agentlab.errors import RunInUseError, UsageError, WorkspaceError
from agentlab.records.files import open_lock, refuse_strangers

DATABASE = "records.db"
PARTS = ("blobs", "index", "runs")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Workspace:
    """A workspace that exists and was writable when it was opened."""

    path: Path

    @classmethod
    def open(cls, path: Path | str, *, create: bool = True) -> Workspace:
        """Open the workspace at `path`, or create it unless `create` is False.

        Commands that only look at what was done do not create one: at a path that was
        mistyped they would leave an empty workspace and call it the user's.

        Raises:
            WorkspaceError: it is a file, cannot be created or written, or has a part that is a
                link to something outside.
            UsageError: there is none, and none is to be created.
        """
        root = Path(path).expanduser().absolute()
        if not create and not root.is_dir():
            raise _missing(root)
        try:
            if not create:
                _probe(root)
                if not (root / DATABASE).exists():
                    raise _missing(root)
            parts = [root / name for name in PARTS]
            refuse_strangers(root, *root.glob(f"{DATABASE}*"), *parts)
            for folder in (root, *parts):
                folder.mkdir(parents=True, exist_ok=True)
            _probe(root)
        except OSError as error:
            raise _refusal(root, error) from error
        return cls(root)

    @property
    def database(self) -> Path:
        """The record store's file."""
        return self.path / DATABASE

    @property
    def blobs(self) -> Path:
        """The directory of content-addressed files."""
        return self.path / "blobs"

    @property
    def index(self) -> Path:
        """The directory of derived indexes."""
        return self.path / "index"

    def run_directory(self, run_id: str, *, create: bool = False) -> Path:
        """The directory of a run.

        Raises:
            UsageError: the id is not a plain name (letters, digits, `.`, `_` and `-`).
            WorkspaceError: it cannot be created.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise UsageError(
                f"{run_id!r} is not a run id; use up to 128 letters, digits, '.', '_' and '-', "
                "with a letter or digit first."
            )
        directory = self.path / "runs" / run_id
        if create:
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _refusal(directory, error) from error
        return directory

    def worker(self, run_id: str) -> int | None:
        """The process that works on a run, as its lock names it; None where none is alive.

        For people: it claims nothing, and who must be sure locks the run.
        """
        try:
            written = (self.run_directory(run_id) / "lock").read_bytes()[:32]
            process = int(written.strip() or b"0")
        except (OSError, ValueError):
            return None
        if process <= 0:
            return None
        try:
            os.kill(process, 0)
        except PermissionError:
            pass  # it is somebody else's
        except (OSError, OverflowError):
            return None
        return process

    def lock_run(self, run_id: str) -> RunLock:
        """Claim a run for this process, until the lock is closed or the process ends.

        Raises:
            RunInUseError: another process works on it; the text names its process id.
            WorkspaceError: its lock is no lock file, or a file of it is a link to something
                outside the workspace.
        """
        directory = self.run_directory(run_id, create=True)
        lock = RunLock(directory / "lock", run_id)
        try:
            refuse_strangers(self.path, directory)
        except BaseException:
            lock.close()
            raise
        return lock


class RunLock:
    """The claim of one process on a run directory; the system drops it if the process dies."""

    def __init__(self, path: Path, run_id: str) -> None:
        try:
            handle = open_lock(path)
        except OSError as error:
            raise _refusal(path, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise RunInUseError(
                f"The run {run_id!r} is in use by process {holder}; wait for it to end, or end "
                "it, and try again."
            ) from error
        self._handle: int | None = handle
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.close()
            raise _refusal(path, error) from error

    def close(self) -> None:
        """Give the run free. Safe to call twice."""
        if self._handle is not None:
            # The file stays: removing it would let two processes lock two files of one name.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _probe(root: Path) -> None:
    handle, probe = tempfile.mkstemp(dir=root, prefix=".writable-")
    try:
        os.write(handle, b"x" * 4096)
    finally:
        os.close(handle)
        Path(probe).unlink(missing_ok=True)


def _missing(root: Path) -> UsageError:
    return UsageError(
        f"There is no workspace at {str(root)!r}; make one with `agentlab practice`, or name "
        "another with --workspace."
    )


def _refusal(path: Path, error: OSError) -> WorkspaceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkspaceError(
            f"The disk that holds the workspace {str(path)!r} is full; free some space and run "
            "the same command again."
        )
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return WorkspaceError(
            f"The workspace {str(path)!r} is not a directory; choose another with --workspace."
        )
    return WorkspaceError(
        f"The workspace {str(path)!r} cannot be written ({error.strerror}); make it writable or "
        "choose another with --workspace."
    )
