"""The Chroma index: approximate nearest vectors on disk. The one file that imports chromadb.

How Chroma is used here, and why: one collection a directory, without metadata filters (its slow
path); vectors always given by us, because without them it downloads a model; telemetry off;
batches of at most 200 and its own `sync_threshold`, the setting at which no kill was seen to
damage it; one process at a time, held by a lock, because two lose vectors silently. Opening a
damaged directory can end the process: `probe` looks first. Nothing here decides when to rebuild.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import chromadb
import numpy as np
from chromadb.api.client import Client
from chromadb.config import Settings

from agentlab.errors import IndexFaultError
from agentlab.library.index.collection import collection_name
from agentlab.library.index.exact import unit_rows
from agentlab.library.index.lock import DirectoryLock
from agentlab.protocols import Match, Vectors

__all__ = ["ChromaIndex", "collection_name"]

BATCH = 200
DECIMALS = 6
"""Similarities are rounded to this: Chroma's distances are float32."""
NEIGHBORS = 32
"""Links of an item in the graph, twice Chroma's default: on 100,000 lexical vectors, which are
hard for such a graph, it finds 0.84 instead of 0.78 of the true neighbours in the same time."""
_SPARE = 16
"""Fetched beyond k, so that ties at the end of the list are settled by id."""


def _settings() -> Settings:
    """Said outright, because unsaid ones are taken from the environment and a `.env` file."""
    return Settings(chroma_api_impl="chromadb.api.rust.RustBindingsAPI", anonymized_telemetry=False)


class ChromaIndex:
    """One collection in one directory, cosine space.

    Every method raises `IndexFaultError` where Chroma fails, whatever Chroma raised.
    """

    def __init__(self, directory: Path, *, collection: str, dimension: int) -> None:
        """Open the collection, made where it is missing.

        Raises:
            IndexFaultError: another process uses the directory, or Chroma cannot open it.
        """
        self._dimension = dimension
        self._where = str(directory)
        self._closed = False
        self._lock = DirectoryLock(directory)
        try:
            with self._faults("be opened"):
                client = chromadb.PersistentClient(directory, settings=_settings())
                self._client = cast("Client", client)  # its declared type has no `close`
                self._collection = self._client.get_or_create_collection(
                    collection,
                    configuration={"hnsw": {"space": "cosine", "max_neighbors": NEIGHBORS}},
                    embedding_function=None,
                )
                self._count: int | None = self._collection.count()
        except IndexFaultError:
            self._lock.release()
            raise

    def __len__(self) -> int:
        if self._count is None:
            with self._faults("be counted"):
                self._count = self._collection.count()
        return self._count

    @property
    def dimension(self) -> int:
        """Length of each vector."""
        return self._dimension

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace; where an id comes twice, the last one stays.

        Raises:
            ValueError: the shape is not `(len(ids), dimension)`, or a value is not finite.
        """
        rows = unit_rows(vectors, count=len(ids), dimension=self._dimension)
        places = {identifier: row for row, identifier in enumerate(ids)}
        unique = list(places)
        self._count = None
        for start in range(0, len(unique), BATCH):
            batch = unique[start : start + BATCH]
            with self._faults("be written"):
                self._collection.upsert(
                    ids=batch, embeddings=rows[[places[identifier] for identifier in batch]]
                )

    def remove(self, ids: Sequence[str]) -> None:
        """Take out; unknown ids are ignored."""
        unique = list(dict.fromkeys(ids))
        self._count = None
        for start in range(0, len(unique), BATCH):
            with self._faults("be written"):
                self._collection.delete(ids=unique[start : start + BATCH])

    def search(self, vector: Vectors, k: int) -> Sequence[Match]:
        """The k nearest by cosine as far as Chroma finds them, best first, ties by id.

        Raises:
            ValueError: the vector's shape is not `(dimension,)`, or a value is not finite.
        """
        query = unit_rows(np.asarray(vector)[None], count=1, dimension=self._dimension)
        wanted = min(k + _SPARE, len(self))
        if k <= 0 or wanted <= 0:
            return ()
        with self._faults("be searched"):
            answer = self._collection.query(
                query_embeddings=query, n_results=wanted, include=["distances"]
            )
        distances = answer["distances"]
        if distances is None:
            raise IndexFaultError(f"The Chroma index in {self._where!r} gave no distances.")
        cosines = np.clip(np.round(1.0 - np.array(distances[0]), DECIMALS), -1.0, 1.0).tolist()
        matches = [Match(*pair) for pair in zip(answer["ids"][0], cosines, strict=True)]
        return tuple(sorted(matches, key=lambda match: (-match.similarity, match.id))[:k])

    def similarities(self, vector: Vectors, ids: Iterable[str]) -> dict[str, float]:
        """The cosine of each known id, from the vectors that Chroma holds."""
        query = unit_rows(np.asarray(vector)[None], count=1, dimension=self._dimension)[0]
        known, rows = self.read(list(dict.fromkeys(ids)))
        cosines = rows.astype(np.float64) @ query.astype(np.float64)
        values = np.clip(cosines.round(DECIMALS), -1.0, 1.0).tolist()
        return dict(zip(known, values, strict=True))

    def ids(self) -> Sequence[str]:
        """Everything it holds, sorted."""
        with self._faults("be read"):
            return sorted(self._collection.get(include=[])["ids"])

    def read(self, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """Those of the ids that it holds, and their vectors, one row each, float32."""
        known: list[str] = []
        parts: list[Vectors] = [np.zeros((0, self._dimension), dtype=np.float32)]
        for start in range(0, len(ids), BATCH):
            with self._faults("be read"):
                page = self._collection.get(
                    ids=list(ids[start : start + BATCH]), include=["embeddings"]
                )
            vectors = page["embeddings"]
            if not page["ids"]:
                continue
            known.extend(page["ids"])
            parts.append(np.asarray(vectors, dtype=np.float32))
        return known, np.concatenate(parts)

    def close(self) -> None:
        """Let go of the files and of the lock. Safe to call twice."""
        if not self._closed:
            self._closed = True
            try:
                with self._faults("be closed"):
                    self._client.close()
            finally:
                self._lock.release()

    @contextmanager
    def _faults(self, what: str) -> Generator[None]:
        try:
            yield
        except (KeyboardInterrupt, SystemExit, GeneratorExit, IndexFaultError):
            raise
        except BaseException as error:  # a panic in Chroma's native part is no Exception
            raise IndexFaultError(
                f"The Chroma index in {self._where!r} cannot {what}: "
                f"{type(error).__name__}: {error}"
            ) from error
