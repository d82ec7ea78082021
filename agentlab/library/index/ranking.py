"""The best rows of a score array, with ties by id, without sorting everything.

One rule for every ranking of the library, so that the same scores give the same order whatever
the order in which items were added.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Scores = NDArray[np.float64] | NDArray[np.float32]


def rank(rows: Rows, scores: Scores, ids: Sequence[str], k: int) -> list[int]:
    """The first k of `rows`, higher score first, ties by id; `scores[i]` is that of `rows[i]`.

    Only ids of equal score are compared, and only those that can be among the first k.
    """
    if k <= 0 or not len(rows):
        return []
    order = np.argsort(-scores, kind="stable")
    if k < len(rows):
        last = scores[order[k - 1]]
        order = order[: int(np.searchsorted(-scores[order], -last, side="right"))]
    ranked = scores[order]
    edges = [0, *(np.flatnonzero(np.diff(ranked)) + 1).tolist(), len(order)]
    places: list[int] = rows[order].tolist()
    result: list[int] = []
    for first, end in pairwise(edges):
        if end - first == 1:
            result.append(places[first])
        else:
            result.extend(nsmallest(k - len(result), places[first:end], key=ids.__getitem__))
        if len(result) == k:
            break
    return result


def contenders(scores: Scores, k: int, slack: float = 0.0) -> Rows:
    """Rows whose score reaches the k-th best less `slack`: all that can be among the first k."""
    if k <= 0:
        return np.zeros(0, dtype=np.intp)
    if k >= len(scores):
        return np.arange(len(scores), dtype=np.intp)
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= kth - slack)
