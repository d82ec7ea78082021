"""The exact index: every stored vector, in memory, compared with the query.

It is the reference of the conformance suite and what serves while another index is rebuilt. It
writes nothing: who opens it fills it from the records.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from agentlab.library.index.ranking import IdOrder, Rows, contenders, rank
from agentlab.protocols import Match, Vectors

DECIMALS = 9
"""Similarities are rounded to this, so that no machine's last bits decide an order."""
_SLACK = 1e-5
"""Bound on the error of a float32 product of two unit vectors, for the first pass."""
_CHUNK = 4096


def unit_rows(vectors: Vectors, *, count: int, dimension: int) -> Vectors:
    """The rows scaled to length 1 (zero rows stay zero), as a C-ordered float32 copy.

    Raises:
        ValueError: the shape is not `(count, dimension)`, or a value is not finite.
    """
    rows = np.array(vectors, dtype=np.float32, order="C")
    if rows.shape != (count, dimension):
        raise ValueError(f"The vectors must have shape ({count}, {dimension}), not {rows.shape}.")
    if not np.isfinite(rows).all():
        raise ValueError("The vectors must be finite.")
    norms = np.linalg.norm(rows, axis=1)
    norms[norms == 0.0] = 1.0
    rows /= norms[:, None]
    return rows


class ExactIndex:
    """Cosine over a matrix that grows by half when full; removal swaps in the last row.

    Products are made by `einsum`, in this thread: a threaded BLAS waits for cores that attempts
    keep busy, which was measured at twenty times the work itself.

    A search multiplies in float32, keeps all rows that can be among the first k within rounding,
    and scores those again row by row in float64. So the answer does not depend on where in the
    matrix a row stands, and equal vectors tie exactly.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._matrix: Vectors = np.zeros((0, dimension), dtype=np.float32)
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._order = IdOrder(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def dimension(self) -> int:
        """Length of each vector."""
        return self._dimension

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace; where an id comes twice, the last one stays.

        Raises:
            ValueError: the shape is not `(len(ids), dimension)`, or a value is not finite.
        """
        fresh = unit_rows(vectors, count=len(ids), dimension=self._dimension)
        if not self._ids and len(set(ids)) == len(ids):  # a whole library: no second copy
            self._matrix, self._ids = fresh, list(ids)
            self._rows = {identifier: row for row, identifier in enumerate(ids)}
            self._order = IdOrder(self._ids)
            return
        for identifier in ids:
            if self._rows.setdefault(identifier, len(self._ids)) == len(self._ids):
                self._ids.append(identifier)
        self._order = IdOrder(self._ids)
        self._reserve(len(self._ids))
        self._matrix[[self._rows[identifier] for identifier in ids]] = fresh

    def remove(self, ids: Sequence[str]) -> None:
        """Take out; unknown ids are ignored."""
        for identifier in ids:
            row = self._rows.pop(identifier, None)
            if row is None:
                continue
            last = self._ids.pop()
            if last != identifier:
                self._matrix[row] = self._matrix[len(self._ids)]
                self._ids[row] = last
                self._rows[last] = row
        self._order = IdOrder(self._ids)

    def search(self, vector: Vectors, k: int) -> Sequence[Match]:
        """The k nearest by cosine, best first, ties by id.

        Raises:
            ValueError: the vector's shape is not `(dimension,)`, or a value is not finite.
        """
        query = self._query(vector)
        k = min(k, len(self._ids))
        if k <= 0:
            return ()
        if not query.any():
            return tuple(Match(identifier, 0.0) for identifier in heapq.nsmallest(k, self._ids))
        rough = np.einsum("ij,j->i", self._matrix[: len(self._ids)], query)
        rows = contenders(rough, k, _SLACK)
        scores = self._score(rows, query)
        by_row = dict(zip(rows.tolist(), scores.tolist(), strict=True))
        best = rank(rows, scores, self._order, k)
        return tuple(Match(self._ids[row], by_row[row]) for row in best)

    def similarities(self, vector: Vectors, ids: Iterable[str]) -> dict[str, float]:
        """The cosine of each known id, the same number that `search` gives.

        Raises:
            ValueError: the vector's shape is not `(dimension,)`, or a value is not finite.
        """
        query = self._query(vector)
        known = [identifier for identifier in ids if identifier in self._rows]
        rows = np.array([self._rows[identifier] for identifier in known], dtype=np.intp)
        return dict(zip(known, self._score(rows, query).tolist(), strict=True))

    def ids(self) -> Sequence[str]:
        """Everything it holds, sorted."""
        return sorted(self._ids)

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """The stored unit vectors, one row an id, shape `(len(ids), dimension)`, float32.

        Raises:
            KeyError: an id is not held.
        """
        return self._matrix[np.array([self._rows[i] for i in ids], dtype=np.intp)]

    def _query(self, vector: Vectors) -> Vectors:
        flat = np.asarray(vector)
        if flat.shape != (self._dimension,):
            raise ValueError(f"The query must have shape ({self._dimension},), not {flat.shape}.")
        return unit_rows(flat[None, :], count=1, dimension=self._dimension)[0]

    def _score(self, rows: Rows, query: Vectors) -> NDArray[np.float64]:
        """Position does not matter here: each row is summed by itself, in float64."""
        wide = query.astype(np.float64)
        scores = np.empty(len(rows), dtype=np.float64)
        for start in range(0, len(rows), _CHUNK):
            part = self._matrix[rows[start : start + _CHUNK]].astype(np.float64)
            scores[start : start + _CHUNK] = (part * wide).sum(axis=1)
        return np.clip(scores.round(DECIMALS), -1.0, 1.0)

    def _reserve(self, size: int) -> None:
        capacity = len(self._matrix)
        if size > capacity:
            grown = np.zeros((max(size, capacity * 3 // 2), self._dimension), dtype=np.float32)
            grown[:capacity] = self._matrix
            self._matrix = grown
