"""A process of its own for the index faults: it uses an index until it is told or killed.

`hold` opens the collection and keeps it; `write` adds items one after another and prints each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from agentlab.library.served import ServedIndex, Stored
from agentlab.protocols import Vectors

DIMENSION = 32
COLLECTION = "babyai.skill"
EMBEDDER = "test-32"


def rows(count: int, first: int = 0) -> Vectors:
    """The vectors of items `first` to `first + count`, the same in every process."""
    numbers = range(first, first + count)
    parts = [np.random.default_rng(number).normal(size=DIMENSION) for number in numbers]
    return np.array(parts, dtype=np.float32).reshape(count, DIMENSION)


def names(count: int, first: int = 0) -> list[str]:
    """Their ids."""
    return [f"skill-{number:05d}" for number in range(first, first + count)]


class Numbered:
    """A truth of the first `count` items, which a test may change."""

    def __init__(self, count: int) -> None:
        self.ids = names(count)
        self.vectors = rows(count)

    def read(self) -> Stored:
        return Stored(self.ids, self.vectors)


def open_index(truth: Numbered, root: Path, *, threshold: int = 0) -> ServedIndex:
    """The collection over this truth."""
    return ServedIndex(
        truth,
        dimension=DIMENSION,
        embedder=EMBEDDER,
        root=root,
        collection=COLLECTION,
        threshold=threshold,
    )


def _main(task: str, root: str, count: str) -> None:
    held = int(count)
    index = open_index(Numbered(held), Path(root))
    print(index.status.state, flush=True)
    if task == "hold":
        sys.stdin.read()
        return
    while True:
        index.upsert(names(3, held), rows(3, held))
        held += 3
        print(held, flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
