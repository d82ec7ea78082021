"""The best rows of a score array, with ties by id, without sorting everything.

One rule for every ranking of the library, so that the same scores give the same order whatever
the order in which items were added.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Scores = NDArray[np.float64] | NDArray[np.float32]


class IdOrder:
    """Where each row's id stands among all ids in order, worked out when first asked for.

    Comparing whole numbers costs numpy next to nothing; comparing thousands of texts for each
    search costs more than the search. Good until the ids change; make another one then.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids
        self._places: Rows | None = None

    @property
    def places(self) -> Rows:
        """One number a row, shape `(len(ids),)`; smaller is earlier."""
        if self._places is None:
            rows = sorted(range(len(self._ids)), key=self._ids.__getitem__)
            places = np.empty(len(rows), dtype=np.intp)
            places[rows] = np.arange(len(rows), dtype=np.intp)
            self._places = places
        return self._places


def rank(rows: Rows, scores: Scores, order: IdOrder, k: int) -> list[int]:
    """The first k of `rows`, higher score first, ties by id; `scores[i]` is that of `rows[i]`.

    Only ids of equal score are compared, and only those that can be among the first k.
    """
    count = min(k, len(rows))
    if count <= 0:
        return []
    if count < len(rows):
        last = np.partition(scores, len(scores) - count)[len(scores) - count]
        sure, tied = np.flatnonzero(scores > last), np.flatnonzero(scores == last)
        free = count - len(sure)
        if free < len(tied):
            tied = tied[np.argpartition(order.places[rows[tied]], free - 1)[:free]]
        chosen = np.concatenate((sure, tied))
        rows, scores = rows[chosen], scores[chosen]
    sequence = np.argsort(-scores, kind="stable")
    ranked = scores[sequence]
    if (ranked[1:] == ranked[:-1]).any():
        sequence = np.lexsort((order.places[rows], -scores))
    found: list[int] = rows[sequence].tolist()
    return found


def contenders(scores: Scores, k: int, slack: float = 0.0) -> Rows:
    """Rows whose score reaches the k-th best less `slack`: all that can be among the first k."""
    if k <= 0:
        return np.zeros(0, dtype=np.intp)
    if k >= len(scores):
        return np.arange(len(scores), dtype=np.intp)
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= kth - slack)
