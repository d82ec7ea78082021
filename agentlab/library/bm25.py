"""Okapi BM25 over short documents that come and go: an inverted index in memory.

Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", with the
inverse document frequency kept above zero as in Lucene:

    idf(t)      = ln(1 + (N - n_t + 0.5) / (n_t + 0.5))
    score(q, d) = sum over t in q of idf(t) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * |d| / avg))

It is exact: no term is dropped and no posting skipped. It knows words alone, no vectors.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from sys import intern
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentlab.embeddings.lexical import words
from agentlab.library.index.ranking import IdOrder, contenders, rank

K1, B = 1.2, 0.75
_DENSE = 8
"""A term found in more than one document of this many is kept as a dense row: adding one is
some ten times faster than adding at chosen places."""
_CACHED = 512
_DECIMALS = 9
"""Scores are rounded to this, so that no machine's last bits decide an order."""
_SLACK = 1e-8


class Found(NamedTuple):
    """A document that shares a word with the query."""

    id: str
    score: float
    """BM25, above 0, without an upper bound of its own."""
    coverage: float
    """The score over that of an unreachable ideal, the sum of idf * (k1 + 1): in [0, 1)."""


@dataclass(frozen=True)
class Answer:
    """The scores of all documents for one query."""

    _ids: Sequence[str]
    _order: IdOrder
    _rows: Mapping[str, int]
    _scores: NDArray[np.float64]
    _ideal: float

    def best(self, k: int, exclude: Collection[str] = ()) -> list[Found]:
        """The k best documents that share a word with the query, ties by id.

        Excluded ids leave no gap: the k best of the others are returned.
        """
        return [self.of(identifier) for identifier in self.ids(k, exclude)]

    def ids(self, k: int, exclude: Collection[str] = ()) -> list[str]:
        """The ids of `best`."""
        scores = self._scores
        hidden = [self._rows[each] for each in exclude if each in self._rows]
        if hidden:
            scores = scores.copy()
            scores[hidden] = 0.0
        sharing = np.flatnonzero(scores)
        likely = sharing[contenders(scores[sharing], k, _SLACK)]
        likely_scores = scores[likely].round(_DECIMALS)
        return [self._ids[row] for row in rank(likely, likely_scores, self._order, k)]

    def of(self, identifier: str) -> Found:
        """What the answer says of one document; score 0 where no word is shared.

        Raises:
            KeyError: the document is unknown.
        """
        score = round(float(self._scores[self._rows[identifier]]), _DECIMALS)
        return Found(identifier, score, score / self._ideal if self._ideal else 0.0)


class _Term(NamedTuple):
    rows: NDArray[np.intp] | None
    """Where it adds; None where it is dense."""
    parts: NDArray[np.float64]
    ideal: float


class BM25:
    """Postings by term; weights are worked out when first asked for and kept until a change."""

    def __init__(self, documents: Mapping[str, str] | None = None) -> None:
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._lengths = array("d")
        self._terms: list[tuple[str, ...]] = []
        self._postings: dict[str, tuple[array[int], array[int]]] = {}
        self._frequency: Counter[str] = Counter()
        self._total = 0.0
        self._weights: dict[str, _Term] = {}
        self._measured: NDArray[np.float64] | None = None
        self._order: IdOrder | None = None
        self.add(documents or {})

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, documents: Mapping[str, str]) -> None:
        """Add documents, or replace those whose id is known."""
        self.remove([identifier for identifier in documents if identifier in self._rows])
        for identifier, text in documents.items():
            counts = Counter(map(intern, words(text)))
            row = len(self._ids)
            self._ids.append(identifier)
            self._rows[identifier] = row
            self._lengths.append(float(counts.total()))
            self._terms.append(tuple(counts))
            self._total += counts.total()
            for term, count in counts.items():
                rows, times = self._postings.setdefault(term, (array("q"), array("q")))
                rows.append(row)
                times.append(count)
                self._frequency[term] += 1
        self._forget()

    def remove(self, ids: Iterable[str]) -> None:
        """Take documents out; unknown ids are ignored."""
        for identifier in ids:
            row = self._rows.pop(identifier, None)
            if row is None:
                continue
            self._total -= self._lengths[row]
            self._lengths[row] = -1.0
            for term in self._terms[row]:
                self._frequency[term] -= 1
            self._terms[row] = ()
        self._forget()
        if len(self._ids) > 64 and len(self._rows) * 2 < len(self._ids):
            self._compact()

    def ask(self, query: str) -> Answer:
        """Score every document for a query; the answer is good until the next change."""
        scores = np.zeros(len(self._ids), dtype=np.float64)
        ideal = 0.0
        for term, times in sorted(Counter(words(query)).items()):
            weight = self._weights.get(term) or self._weigh(term)
            ideal += times * weight.ideal
            if weight.rows is None:
                scores += times * weight.parts
            else:
                scores[weight.rows] += times * weight.parts
        if self._order is None:
            self._order = IdOrder(self._ids)
        return Answer(self._ids, self._order, self._rows, scores, ideal)

    def _weigh(self, term: str) -> _Term:
        count, held = len(self._rows), self._frequency[term]
        inverse = math.log(1.0 + (count - held + 0.5) / (held + 0.5)) if count else 0.0
        rows_raw, times_raw = self._postings.get(term, (array("q"), array("q")))
        rows = np.array(rows_raw, dtype=np.intp)
        times = np.array(times_raw, dtype=np.float64)
        lengths = self._measure()[rows]
        alive = lengths >= 0.0
        rows, times, lengths = rows[alive], times[alive], lengths[alive]
        mean = self._total / count if self._total else 1.0
        saturated = times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * lengths / mean))
        parts = inverse * saturated
        weight = _Term(rows, parts, inverse * (K1 + 1.0))
        if len(rows) * _DENSE > len(self._ids):
            dense = np.zeros(len(self._ids), dtype=np.float64)
            dense[rows] = parts
            weight = _Term(None, dense, weight.ideal)
        if len(self._weights) >= _CACHED:
            self._weights.pop(next(iter(self._weights)))
        self._weights[term] = weight
        return weight

    def _compact(self) -> None:
        """Drop the rows of removed documents, once they are the majority."""
        places = {row: place for place, row in enumerate(sorted(self._rows.values()))}
        self._ids = [self._ids[row] for row in places]
        self._lengths = array("d", (self._lengths[row] for row in places))
        self._terms = [self._terms[row] for row in places]
        self._rows = {identifier: row for row, identifier in enumerate(self._ids)}
        kept: dict[str, tuple[array[int], array[int]]] = {}
        for term, (rows, times) in self._postings.items():
            pairs = [(places[r], t) for r, t in zip(rows, times, strict=True) if r in places]
            if pairs:
                kept[term] = (array("q", (r for r, _ in pairs)), array("q", (t for _, t in pairs)))
        self._postings = kept
        self._frequency = +self._frequency
        self._forget()

    def _forget(self) -> None:
        self._weights.clear()
        self._measured = None
        self._order = None

    def _measure(self) -> NDArray[np.float64]:
        if self._measured is None:
            self._measured = np.array(self._lengths, dtype=np.float64)
        return self._measured
