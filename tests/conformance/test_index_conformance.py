"""Every shipped index passes the suite that authors of others run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from agentlab.library.index.chroma import ChromaIndex
from agentlab.library.index.exact import ExactIndex
from agentlab.library.served import ServedIndex, Stored
from agentlab.protocols import Match, VectorIndex, Vectors
from agentlab.testing.index_conformance import CHECKS, Check, IndexFactory


class Nothing:
    """A truth without items."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension

    def read(self) -> Stored:
        return Stored((), np.zeros((0, self._dimension), dtype=np.float32))


@pytest.fixture(params=["exact", "chroma", "served-exact", "served-chroma"])
def factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexFactory]:
    numbers = count()
    with ExitStack() as stack:

        def make(dimension: int) -> VectorIndex:
            root = tmp_path / str(next(numbers))
            match request.param:
                case "exact":
                    return ExactIndex(dimension)
                case "chroma":
                    index = ChromaIndex(root, collection="a.b", dimension=dimension)
                    stack.callback(index.close)
                    return index
                case "served-exact":
                    return ServedIndex(
                        Nothing(dimension), dimension=dimension, embedder="e", backend="exact"
                    )
                case _:
                    served = ServedIndex(
                        Nothing(dimension),
                        dimension=dimension,
                        embedder="e",
                        root=root,
                        threshold=0,
                    )
                    return stack.enter_context(served)

        yield make


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conforms(factory: IndexFactory, check: Check) -> None:
    check(factory)


class Forgetful:
    """An index that forgets to drop what was removed, and orders ties by insertion."""

    def __init__(self, dimension: int) -> None:
        self._exact = ExactIndex(dimension)
        self._order: dict[str, int] = {}

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        self._exact.upsert(ids, vectors)
        for identifier in ids:
            self._order.setdefault(identifier, len(self._order))

    def remove(self, ids: Sequence[str]) -> None:
        del ids

    def search(self, vector: Vectors, k: int) -> list[Match]:
        matches = self._exact.search(vector, len(self._order))
        return sorted(matches, key=lambda m: (-m.similarity, self._order[m.id]))[:k]

    def ids(self) -> list[str]:
        return list(self._exact.ids())


def test_suite_catches_a_bad_index() -> None:
    failed: set[str] = set()
    for check in CHECKS:
        try:
            check(Forgetful)
        except AssertionError:
            failed.add(check.__name__)
    assert failed == {"check_removes", "check_ties_by_id"}
