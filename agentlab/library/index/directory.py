"""The directory of one collection's Chroma index: its lock, its stamp and its generations.

    <root>/lock           held by the one process that uses it
    <root>/stamp.json     what was true when it was last left
    <root>/chroma-<n>/    the index; every rebuild starts a new one and deletes the others

A rebuild never reuses a directory, because Chroma keeps state for a path as long as the process
lives. When to rebuild, and from what, is `library.served`'s business.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from agentlab.errors import IndexFaultError
from agentlab.library.index.lock import DirectoryLock
from agentlab.library.index.probe import find_fault
from agentlab.library.index.stamp import Stamp, compare, file_marks, read_stamp, write_stamp

if TYPE_CHECKING:
    from agentlab.library.index.chroma import ChromaIndex

_PREFIX = "chroma-"
_DATABASE = "chroma.sqlite3"
"""Chroma writes to it, and to its journals, even when it is only opened."""


class IndexDirectory:
    """Exclusive use of one directory, until closed."""

    def __init__(self, root: Path, *, collection: str, dimension: int, embedder: str) -> None:
        """Take the directory.

        Raises:
            IndexInUseError: another process has it.
            IndexFaultError: it cannot be written, or holds a link, through which something
                outside would be written or deleted.
        """
        self._root = root
        self._collection = collection
        self._dimension = dimension
        self._maker = f"chromadb {version('chromadb')}, {embedder}, {dimension}"
        self._index: ChromaIndex | None = None
        self._lock = DirectoryLock(root)
        link = next((path for path in sorted(root.iterdir()) if path.is_symlink()), None)
        if link is not None:
            self._lock.release()
            raise IndexFaultError(f"The index holds a link, {str(link)!r}; remove it.")
        self._stamp = read_stamp(root)

    @property
    def index(self) -> ChromaIndex:
        """The open index.

        Raises:
            IndexFaultError: it is not open.
        """
        if self._index is None:
            raise IndexFaultError(f"The index in {str(self._root)!r} is not open.")
        return self._index

    @property
    def untouched(self) -> bool:
        """Whether there has never been an index here."""
        return self._stamp is None and not any(self._root.glob(f"{_PREFIX}*"))

    def open(self, *, count: int, mark: str, ids: Callable[[], Sequence[str]]) -> None:
        """Open the index if it holds what it should, checked from outside where in doubt.

        Args:
            count: how many items it should hold.
            mark: fingerprint of what it should hold.
            ids: gives the ids that it should hold, sorted; called only where in doubt.

        Raises:
            IndexFaultError: it is missing, stale or damaged; the text says which.
            OSError: the directory cannot be read or written.
        """
        stamp = self._stamp
        if stamp is None:
            raise IndexFaultError("it is missing")
        directory = self._directory(stamp.generation)
        if not directory.is_dir():
            raise IndexFaultError("it is missing")
        if stamp.maker != self._maker:
            raise IndexFaultError(f"it is stale: made by {stamp.maker}")
        if stamp.state == "writing":
            raise IndexFaultError("it was not closed after it was written")
        if (stamp.count, stamp.fingerprint) != (count, mark):
            raise IndexFaultError(f"it is stale: {stamp.count} items of another state")
        aside = _DATABASE if stamp.state == "open" else None
        state, name = compare(directory, stamp.files, aside=aside)
        if state == "changed":
            raise IndexFaultError(f"it is damaged: {name} is not as it was left")
        if stamp.state != "clean" or state != "same":
            fault = find_fault(
                directory,
                collection=self._collection,
                dimension=self._dimension,
                ids=list(ids()),
            )
            if fault is not None:
                raise IndexFaultError(f"it is damaged: {fault}")
        self._note(stamp.model_copy(update={"state": "open"}))
        index = self._load(directory)
        if len(index) != count:
            raise IndexFaultError(f"it is damaged: {len(index)} of {count} items")

    def mark_written(self) -> None:
        """Note, before the first write, that the index is no longer what the stamp says.

        Raises:
            OSError: the note cannot be written.
        """
        if self._stamp is not None and self._stamp.state == "open":
            self._note(self._stamp.model_copy(update={"state": "writing"}))

    def clear(self) -> None:
        """Begin an empty index and delete every earlier one.

        Raises:
            IndexFaultError: Chroma cannot make one.
            OSError: the directory cannot be written.
        """
        self._release()
        earlier = sorted(self._root.glob(f"{_PREFIX}*"))
        numbers = [int(path.name[len(_PREFIX) :]) for path in earlier if _numbered(path)]
        if self._stamp is not None:
            numbers.append(self._stamp.generation)
        generation = max(numbers, default=0) + 1
        self._note(Stamp(state="writing", generation=generation, maker=self._maker))
        for path in earlier:
            shutil.rmtree(path, ignore_errors=True)  # what stays is deleted the next time
        self._load(self._directory(generation))

    def close(self, *, count: int, mark: str, complete: bool) -> None:
        """Leave the directory, with a clean stamp if the index is complete.

        Raises:
            IndexFaultError: Chroma failed to close.
            OSError: the stamp cannot be written.
        """
        try:
            if self._index is not None:
                self._index.close()
                self._index = None
                if complete and self._stamp is not None:
                    files = file_marks(self._directory(self._stamp.generation))
                    told = {"state": "clean", "count": count, "fingerprint": mark, "files": files}
                    self._note(self._stamp.model_copy(update=told))
        finally:
            self._lock.release()

    def _directory(self, generation: int) -> Path:
        return self._root / f"{_PREFIX}{generation}"

    def _note(self, stamp: Stamp) -> None:
        write_stamp(self._root, stamp)
        self._stamp = stamp

    def _load(self, directory: Path) -> ChromaIndex:
        from agentlab.library.index.chroma import ChromaIndex

        self._index = ChromaIndex(directory, collection=self._collection, dimension=self._dimension)
        return self._index

    def _release(self) -> None:
        if self._index is not None:
            with suppress(IndexFaultError):  # it is about to be deleted
                self._index.close()
            self._index = None


def _numbered(path: Path) -> bool:
    return path.name[len(_PREFIX) :].isdecimal()
