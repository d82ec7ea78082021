"""The default embedder: hashed character n-grams, offline, nothing to download.

It is lexical, not semantic: texts are near when they share pieces of words, so "boxes" is near
"box" and "puppy" is not near "dog". For meaning, name another embedder. What a text becomes
depends on the text alone (`zlib.crc32`, never Python's salted `hash`), on every machine.

Feature hashing with signs is after Weinberger et al. 2009, "Feature Hashing for Large Scale
Multitask Learning": a feature adds +1 or -1 to one bucket, so that collisions cancel on average
and the expected inner product is that of the full features. Two unrelated texts therefore have
a cosine around 0 with a standard deviation of about 1 / sqrt(dimension).
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from agentlab.protocols import Vectors

_WORD = re.compile(r"[^\W_]+")
SHORTEST, LONGEST = 3, 5
"""Lengths of the n-grams, over a word with a space on each side."""


def words(text: str) -> list[str]:
    """The words of a text: letters and digits, compatibility forms folded, lower case."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class LexicalEmbedder:
    """Character n-grams within words, hashed with signs into `dimension` buckets.

    A feature that occurs n times weighs 1 + ln n (sublinear term frequency); the sum is scaled
    to length 1. A text without a letter or digit is all zero.
    """

    def __init__(self, *, dimension: int = 384) -> None:
        if dimension < 1:
            raise ValueError(f"The dimension must be at least 1, not {dimension}.")
        self._dimension = dimension

    @property
    def name(self) -> str:
        """`lexical-<dimension>`; changes whenever what it makes of a text does."""
        return f"lexical-{self._dimension}"

    @property
    def dimension(self) -> int:
        """Length of each vector."""
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row each, shape `(len(texts), dimension)`, float32, length 1 or all zero."""
        rows = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            counts: Counter[int] = Counter()
            for word in words(text):
                counts.update(_features(word))
            if not counts:
                continue
            hashes = np.fromiter(counts, dtype=np.int64, count=len(counts))
            weights = np.fromiter(
                (1.0 + math.log(n) for n in counts.values()), dtype=np.float64, count=len(counts)
            )
            signs = np.where(hashes & 1, 1.0, -1.0)
            buckets = (hashes >> 1) % self._dimension
            vector = np.bincount(buckets, weights * signs, self._dimension)
            norm = math.sqrt(float(vector @ vector))
            if norm > 0.0:  # two features may cancel in one bucket
                rows[row] = vector / norm
        return rows


@lru_cache(maxsize=65_536)
def _features(word: str) -> tuple[int, ...]:
    padded = f" {word} "
    return tuple(
        zlib.crc32(padded[start : start + size].encode())
        for size in range(SHORTEST, min(LONGEST, len(padded)) + 1)
        for start in range(len(padded) - size + 1)
    )
