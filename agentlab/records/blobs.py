"""Large values as files named after their SHA-256: screenshots, exports, weights.

A blob that exists is whole: it is written beside, synced and renamed. Writing the same bytes
twice is one file. Nothing here knows what a blob means, and nothing deletes one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from pathlib import Path

from agentlab.errors import RecordsError, WorkspaceError

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A directory of content-addressed files: `ab/cdef…` under the root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes) -> str:
        """Keep the bytes; returns their digest (64 hex digits).

        Raises:
            WorkspaceError: the disk is full or read-only.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        if path.exists():
            return digest
        try:
            self._write(path, data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise WorkspaceError(
                    f"The disk that holds {str(self._root)!r} is full; free some space and run "
                    "the same command again."
                ) from error
            raise WorkspaceError(
                f"The blob directory {str(self._root)!r} cannot be written ({error.strerror}); "
                "make it writable or choose another with --workspace."
            ) from error
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a digest, checked against it.

        Raises:
            RecordsError: there is no such blob, or its file was changed.
        """
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RecordsError(
                f"The blob {digest!r} cannot be read ({error.strerror}); put {str(path)!r} back "
                "from a copy of the workspace."
            ) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise RecordsError(
                f"The blob {digest!r} is damaged; put {str(path)!r} back from a copy of the "
                "workspace."
            )
        return data

    def has(self, digest: str) -> bool:
        """Whether there is a blob of that digest; its content is not checked."""
        return self.path(digest).is_file()

    def path(self, digest: str) -> Path:
        """Where the blob of a digest lies, whether it exists or not.

        Raises:
            RecordsError: that is no digest.
        """
        if not _DIGEST.fullmatch(digest):
            raise RecordsError(f"{digest!r} names no blob; a digest is 64 hexadecimal digits.")
        return self._root / digest[:2] / digest[2:]

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
