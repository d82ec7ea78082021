"""What answers a search: one served collection, its derived index, and the exact one beside it.

The records are the truth. This reads them once, keeps their vectors in memory (the exact index),
and keeps a Chroma index on disk in step. Up to `threshold` items the exact vectors decide; above
it Chroma proposes four times as many as asked and the stored vectors re-score them.

A Chroma directory that is missing, stale, locked or damaged is noticed when opened, with a
warning in the log and a sentence in `status`; it is rebuilt from the truth while exact vectors
answer. So no state of the disk stops a run, nor changes an answer up to the threshold; above it
Chroma is approximate and may miss some of the nearest that the exact index finds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from threading import RLock, Thread
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self

from agentlab.errors import IndexFaultError
from agentlab.library.index.directory import IndexDirectory
from agentlab.library.index.exact import ExactIndex
from agentlab.library.index.lock import IndexInUseError
from agentlab.library.index.stamp import fingerprint, item_mark
from agentlab.protocols import Match, Vectors

logger = logging.getLogger(__name__)

THRESHOLD = 10_000
"""Up to this many items the exact vectors decide (DESIGN, Determinism)."""
PROPOSALS = 4
"""Above it, this many proposals for each item asked for."""
INLINE = 1_000
"""Up to this many items a rebuild is done before opening returns (about a third of a second)."""
_STEP = 200
_REBUILDS = 2
"""Automatic rebuilds of one opening; an index that breaks again is left alone."""

Backend = Literal["chroma", "exact"]
State = Literal["ready", "rebuilding", "locked", "failed", "off", "closed"]


class Stored(NamedTuple):
    """What may be served, as the records have it."""

    ids: Sequence[str]
    vectors: Vectors
    """One row an id, shape `(len(ids), dimension)`, float32."""


class Truth(Protocol):
    """Where an index is rebuilt from: the records, for one environment, kind and embedder."""

    def read(self) -> Stored:
        """What may be served now, in any order, each id once."""
        ...


class IndexStatus(NamedTuple):
    """How a collection is served."""

    answers: Backend
    state: State
    """Of the Chroma index; `off` where none is wanted."""
    items: int
    reason: str
    """Why it is not ready, or why it was rebuilt; empty where there is nothing to tell."""

    def __str__(self) -> str:
        told = f" ({self.reason})" if self.reason else ""
        return f"{self.answers} answers for {self.items} items, index {self.state}{told}"


class ServedIndex:
    """The vectors of one collection. Safe to use from threads; close it when done.

    Changes are given after they are recorded: the truth leads, the index follows.
    """

    def __init__(
        self,
        truth: Truth,
        *,
        dimension: int,
        embedder: str,
        root: Path | None = None,
        collection: str = "served",
        backend: Backend = "chroma",
        threshold: int = THRESHOLD,
    ) -> None:
        """Read the truth and open, or rebuild, the index. Never fails for the index's sake.

        Args:
            truth: read now, and again by `sync` and `reindex`.
            dimension: length of each vector.
            embedder: name of the embedder that made them; an index of another one is stale.
            root: directory of this collection's index; None keeps nothing on disk.
            collection: its name in Chroma, see `index.collection.collection_name`.
            backend: `exact` keeps nothing on disk.
            threshold: up to this many items the exact vectors decide.
        """
        self._truth = truth
        self._root = root if backend == "chroma" else None
        self._collection = collection
        self._dimension = dimension
        self._embedder = embedder
        self._threshold = threshold
        self._lock = RLock()
        self._exact = ExactIndex(dimension)
        self._marks: dict[str, int] = {}
        self._disk: IndexDirectory | None = None
        self._state: State = "off"
        self._reason = ""
        self._pending: dict[str, None] = {}
        self._worker: Thread | None = None
        self._stopping = False
        self._rebuilds = 0
        self._take(truth.read())
        if self._root is not None:
            self._open(self._root)

    @property
    def status(self) -> IndexStatus:
        """Which index answers, and how Chroma stands."""
        with self._lock:
            answers: Backend = "chroma" if self._proposing() else "exact"
            return IndexStatus(answers, self._state, len(self._exact), self._reason)

    def __len__(self) -> int:
        return len(self._exact)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- searching --------------------------------------------------------------------------

    def search(self, vector: Vectors, k: int) -> Sequence[Match]:
        """The k nearest by cosine, best first, ties by id; scored by the stored vectors."""
        with self._lock:
            if self._proposing() and self._disk is not None and vector.any():
                try:
                    return self._rescored(self._disk, vector, min(k, len(self._exact)))
                except IndexFaultError as error:
                    self._break(error)
            return self._exact.search(vector, k)

    def similarities(self, vector: Vectors, ids: Iterable[str]) -> dict[str, float]:
        """The cosine of each known id, from the stored vectors."""
        with self._lock:
            return self._exact.similarities(vector, ids)

    def ids(self) -> Sequence[str]:
        """Everything that is served, sorted."""
        with self._lock:
            return self._exact.ids()

    def _proposing(self) -> bool:
        return self._state == "ready" and len(self._exact) > self._threshold

    def _rescored(self, disk: IndexDirectory, vector: Vectors, k: int) -> Sequence[Match]:
        proposed = disk.index.search(vector, PROPOSALS * k)
        scores = self._exact.similarities(vector, (match.id for match in proposed))
        if len(scores) < k:
            raise IndexFaultError(
                f"The Chroma index proposed {len(scores)} of the {k} items asked for."
            )
        matches = [Match(identifier, score) for identifier, score in scores.items()]
        return tuple(sorted(matches, key=lambda match: (-match.similarity, match.id))[:k])

    # --- changing ---------------------------------------------------------------------------

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace what is recorded already."""
        with self._lock:
            self._exact.upsert(ids, vectors)
            held = list(dict.fromkeys(ids))
            self._marks.update(_marks_of(self._exact, held))
            self._follow(held)

    def remove(self, ids: Sequence[str]) -> None:
        """Take out what may no longer be served; unknown ids are ignored."""
        with self._lock:
            held = [identifier for identifier in dict.fromkeys(ids) if identifier in self._marks]
            self._exact.remove(held)
            for identifier in held:
                del self._marks[identifier]
            self._follow(held)

    def sync(self) -> None:
        """Read the truth again and take over what changed."""
        stored = self._truth.read()
        fresh = ExactIndex(self._dimension)
        fresh.upsert(stored.ids, stored.vectors)
        with self._lock:
            marks = _marks_of(fresh, stored.ids)
            changed = [i for i, mark in marks.items() if self._marks.get(i) != mark]
            gone = [i for i in self._marks if i not in marks]
            self.remove(gone)
            if changed:
                # As they are stored: scaling a row a second time may change its last bits, and
                # with them the mark by which the index on disk is known.
                place = {identifier: row for row, identifier in enumerate(stored.ids)}
                self.upsert(changed, stored.vectors[[place[i] for i in changed]])

    def reindex(self) -> IndexStatus:
        """Rebuild the index from the truth, whatever its state, and wait for it.

        Raises:
            IndexFaultError: another process uses it, or it cannot be rebuilt.
        """
        self._stop_worker()
        stored = self._truth.read()
        with self._lock:
            self._take(stored)
            if self._root is not None:
                if self._disk is None:
                    self._disk = self._enter(self._root)
                self._rebuild("asked for", background=True)
        status = self.wait()
        if status.state == "failed":
            raise IndexFaultError(f"The index cannot be rebuilt: {status.reason}")
        return status

    def wait(self, seconds: float | None = None) -> IndexStatus:
        """Wait until a rebuild has ended, at most so long."""
        worker = self._worker
        if worker is not None:
            worker.join(seconds)
        return self.status

    def close(self) -> None:
        """Stop a rebuild, close the index and note that it is clean. Safe to call twice."""
        self._stop_worker()
        with self._lock:
            if self._disk is not None:
                try:
                    self._disk.close(
                        count=len(self._marks),
                        mark=fingerprint(self._marks),
                        complete=self._state == "ready",
                    )
                except (IndexFaultError, OSError) as error:
                    logger.warning("The index was not closed cleanly: %s", error)
                self._disk = None
            self._state = "closed" if self._root is not None else "off"

    # --- the index on disk ------------------------------------------------------------------

    def _take(self, stored: Stored) -> None:
        self._exact = ExactIndex(self._dimension)
        self._exact.upsert(stored.ids, stored.vectors)
        self._marks = _marks_of(self._exact, stored.ids)

    def _enter(self, root: Path) -> IndexDirectory:
        return IndexDirectory(
            root,
            collection=self._collection,
            dimension=self._dimension,
            embedder=self._embedder,
        )

    def _open(self, root: Path) -> None:
        try:
            disk = self._disk = self._enter(root)
        except IndexFaultError as error:
            self._state = "locked" if isinstance(error, IndexInUseError) else "failed"
            self._reason = str(error)
            logger.warning("Exact vectors answer: %s", error)
            return
        first = disk.untouched and not self._marks
        try:
            disk.open(count=len(self._marks), mark=fingerprint(self._marks), ids=self._exact.ids)
        except (IndexFaultError, OSError) as error:
            self._rebuild("" if first else str(error), background=len(self._exact) > INLINE)
        else:
            self._state = "ready"

    def _follow(self, ids: Sequence[str]) -> None:
        """Bring the index in step with the exact one for these ids."""
        if self._state == "rebuilding":
            self._pending.update(dict.fromkeys(ids))
        elif self._state == "ready" and self._disk is not None:
            try:
                self._disk.mark_written()
                present, gone = self._split(ids)
                if present:
                    self._disk.index.upsert(present, self._exact.vectors(present))
                if gone:
                    self._disk.index.remove(gone)
            except (IndexFaultError, OSError) as error:
                self._break(error)

    def _break(self, error: Exception) -> None:
        """The index failed in use: exact vectors answer, and it is rebuilt, but not for ever."""
        if self._rebuilds < _REBUILDS:
            self._rebuild(f"it failed in use: {error}", background=len(self._exact) > INLINE)
        else:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._state, self._reason = "failed", str(error)
        self._pending.clear()
        logger.warning("Exact vectors answer, the index is given up: %s", error)

    def _rebuild(self, reason: str, *, background: bool) -> None:
        if reason:  # the first index of an empty collection is no news
            logger.warning("The index of %s is rebuilt: %s", self._collection, reason)
        self._rebuilds += 1
        self._state, self._reason = "rebuilding", reason
        self._pending = dict.fromkeys(self._exact.ids())
        if background:
            self._worker = Thread(target=self._fill, name="agentlab-reindex", daemon=True)
            self._worker.start()
        else:
            self._fill()

    def _fill(self) -> None:
        """Write everything that is pending. While rebuilding, nothing else writes."""
        disk = self._disk
        if disk is None:
            return
        try:
            disk.clear()
            while not self._stopping:
                with self._lock:
                    batch = list(islice(self._pending, _STEP))
                    if not batch:
                        self._state = "ready"
                        return
                    for identifier in batch:
                        del self._pending[identifier]
                    present, gone = self._split(batch)
                    vectors = self._exact.vectors(present)
                if present:  # outside the lock, so that searches need not wait for the disk
                    disk.index.upsert(present, vectors)
                if gone:
                    disk.index.remove(gone)
        except (IndexFaultError, OSError) as error:
            with self._lock:
                self._fail(error)

    def _split(self, ids: Sequence[str]) -> tuple[list[str], list[str]]:
        present = [identifier for identifier in ids if identifier in self._marks]
        return present, [identifier for identifier in ids if identifier not in self._marks]

    def _stop_worker(self) -> None:
        worker = self._worker
        if worker is not None:
            self._stopping = True
            worker.join()
            self._worker, self._stopping = None, False


def _marks_of(index: ExactIndex, ids: Sequence[str]) -> dict[str, int]:
    marks: dict[str, int] = {}
    for start in range(0, len(ids), _STEP):
        part = ids[start : start + _STEP]
        rows = index.vectors(part)
        marks.update((i, item_mark(i, row)) for i, row in zip(part, rows, strict=True))
    return marks
