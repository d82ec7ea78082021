"""Hybrid retrieval: BM25 and vectors, fused by rank, with a floor, a cap and "none".

The two rankings are fused by reciprocal rank fusion (Cormack, Clarke and Büttcher 2009,
"Reciprocal rank fusion outperforms Condorcet and individual rank learning methods"):

    score(d) = sum over rankings r that hold d of 1 / (60 + rank_r(d)),   ranks from 1

Each ranking holds only what it has something to say for: BM25 the documents that share a word
with the query, vectors those with a cosine above 0. An item whose better signal is below the
floor is not returned, so that an empty answer means "nothing here fits".

Nothing here draws at random or looks at a clock: the same documents, vectors and query give the
same answer whatever the order in which they were added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from threading import RLock
from typing import NamedTuple, Protocol

from agentlab.library.bm25 import BM25
from agentlab.protocols import Embedder, Match, Vectors

RRF = 60
"""The constant of reciprocal rank fusion, as in the paper."""
TOKEN = 4
"""Characters counted as one token."""


class RetrievalIndex(Protocol):
    """A vector index that can also say how near given items are."""

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Take out; unknown ids are ignored."""
        ...

    def search(self, vector: Vectors, k: int) -> Sequence[Match]:
        """The k nearest by cosine, best first, ties by id."""
        ...

    def similarities(self, vector: Vectors, ids: Iterable[str]) -> Mapping[str, float]:
        """The cosine of each known id."""
        ...


class Retrieved(NamedTuple):
    """An item that fits a query, and why."""

    id: str
    score: float
    """Fused: at most 2 / 61."""
    similarity: float
    """Cosine of the vectors, in [-1, 1]; 0 where the item has no vector."""
    bm25: float
    """0 where no word is shared."""


def token_count(text: str) -> int:
    """Tokens of a text, estimated as a quarter of its characters, rounded up."""
    return -(-len(text) // TOKEN)


class Retriever:
    """Documents of one environment and kind, searched by words and by vectors.

    Who makes it says which documents may be served, and has filled the index with their
    vectors; a document without one is found by its words alone. Safe to use from threads.
    """

    def __init__(
        self, documents: Mapping[str, str], index: RetrievalIndex, embedder: Embedder
    ) -> None:
        self._index = index
        self._embedder = embedder
        self._tokens = {identifier: token_count(text) for identifier, text in documents.items()}
        self._bm25 = BM25(documents)
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._tokens)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._tokens

    def add(self, documents: Mapping[str, str], vectors: Vectors | None = None) -> None:
        """Add documents or replace those of the same id, in the index too.

        Args:
            documents: text by id.
            vectors: one row a document in their order, shape `(len(documents), dimension)`;
                embedded here where none are given.
        """
        ids = list(documents)
        if not ids:
            return
        if vectors is None:
            vectors = self._embedder.embed(list(documents.values()))
        with self._lock:
            self._index.upsert(ids, vectors)
            self._bm25.add(documents)
            self._tokens.update((i, token_count(text)) for i, text in documents.items())

    def remove(self, ids: Iterable[str]) -> None:
        """Take documents out, of the index too; unknown ids are ignored."""
        known = [identifier for identifier in dict.fromkeys(ids) if identifier in self._tokens]
        if not known:
            return
        with self._lock:
            self._index.remove(known)
            self._bm25.remove(known)
            for identifier in known:
                del self._tokens[identifier]

    def search(
        self,
        query: str,
        *,
        k: int = 16,
        floor: float = 0.05,
        tokens: int | None = None,
        exclude: Collection[str] = (),
    ) -> tuple[Retrieved, ...]:
        """The items to offer for a query: best first, ties by id, possibly none.

        Args:
            query: the text to find items for.
            k: at most this many.
            floor: least value of the better signal: the cosine, in [-1, 1], or the share of
                the query's BM25 weight that the document covers, in [0, 1).
            tokens: cap on the tokens of all returned documents together; one that no longer
                fits is passed over for a later, shorter one. None means no cap.
            exclude: ids never returned, such as items derived from the task itself, and ids
                that only the index knows; they take no place in either ranking.
        """
        with self._lock:
            if k <= 0 or not self._tokens:
                return ()
            return self._search(query, k, floor, tokens, frozenset(exclude))

    def _search(
        self, query: str, k: int, floor: float, tokens: int | None, exclude: frozenset[str]
    ) -> tuple[Retrieved, ...]:
        depth = 2 * k
        vector = self._embedder.embed([query])[0]
        matches = self._index.search(vector, depth + len(exclude)) if vector.any() else ()
        near = [
            match.id
            for match in matches
            if match.similarity > 0.0 and match.id not in exclude and match.id in self._tokens
        ][:depth]
        answer = self._bm25.ask(query)
        worded = answer.ids(depth, exclude)
        fused: dict[str, float] = {}
        for ranking in (near, worded):
            for place, identifier in enumerate(ranking, start=1):
                fused[identifier] = fused.get(identifier, 0.0) + 1.0 / (RRF + place)
        cosines = self._index.similarities(vector, fused)
        left = tokens
        chosen: list[Retrieved] = []
        for identifier in sorted(fused, key=lambda each: (-fused[each], each)):
            similarity, found = cosines.get(identifier, 0.0), answer.of(identifier)
            if len(chosen) == k:
                break
            if max(similarity, found.coverage) < floor:
                continue
            if left is not None:
                if self._tokens[identifier] > left:
                    continue
                left -= self._tokens[identifier]
            chosen.append(Retrieved(identifier, fused[identifier], similarity, found.score))
        return tuple(chosen)
