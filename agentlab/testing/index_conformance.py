"""What every vector index must do, as checks that a backend's author runs.

    from agentlab.testing.index_conformance import CHECKS

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_index(check):
        check(lambda dimension: MyIndex(dimension))

The factory gives an empty index each time it is called; several may be open at once. A check
raises `AssertionError` with what was expected. Expected values come from float64 arithmetic
here, not from another backend. An approximate index may miss neighbours: `RECALL` says how many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from agentlab.protocols import Match, VectorIndex, Vectors

IndexFactory = Callable[[int], VectorIndex]
"""An empty index for vectors of the given length."""
Check = Callable[[IndexFactory], None]

TOLERANCE = 1e-4
"""How far a similarity may be from the float64 cosine."""
RECALL = 0.95
"""Least share of the true neighbours found, over the queries of a check."""
DIMENSION = 32


def _draw(count: int, seed: int, dimension: int = DIMENSION) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _names(count: int) -> list[str]:
    return [f"item-{number:04d}" for number in range(count)]


def _cosines(vectors: Vectors, query: Vectors) -> NDArray[np.float64]:
    wide, direction = vectors.astype(np.float64), query.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1) * np.linalg.norm(direction)
    return (wide @ direction) / np.where(norms == 0.0, 1.0, norms)


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _ids(matches: Sequence[Match]) -> list[str]:
    return [match.id for match in matches]


def check_starts_empty(factory: IndexFactory) -> None:
    """A new index holds nothing and finds nothing."""
    index = factory(DIMENSION)
    _expect(list(index.ids()) == [], "A new index must hold nothing.")
    _expect(not index.search(_draw(1, 0)[0], 5), "An empty index must find nothing.")


def check_finds_nearest(factory: IndexFactory) -> None:
    """The k nearest are found, with their cosines, best first."""
    index, names, rows = factory(DIMENSION), _names(400), _draw(400, 1)
    index.upsert(names, rows)
    found = 0
    for query in _draw(20, 2):
        cosines = _cosines(rows, query)
        truth = {names[int(row)] for row in np.argsort(-cosines)[:10]}
        matches = index.search(query, 10)
        _expect(len(matches) == 10, f"10 of 400 items were asked for, {len(matches)} came.")
        _expect(len(set(_ids(matches))) == 10, "An item must come once.")
        values = [match.similarity for match in matches]
        _expect(values == sorted(values, reverse=True), "Better matches must come first.")
        for match in matches:
            error = abs(match.similarity - float(cosines[names.index(match.id)]))
            _expect(error < TOLERANCE, f"The cosine of {match.id!r} is wrong by {error:.2g}.")
        found += len(truth & set(_ids(matches)))
    _expect(found >= RECALL * 200, f"Only {found} of 200 true neighbours were found.")


def check_finds_itself(factory: IndexFactory) -> None:
    """Each item is the nearest to its own vector, with a cosine of 1."""
    index, names, rows = factory(DIMENSION), _names(250), _draw(250, 3)
    index.upsert(names, rows)
    for name, row in zip(names, rows, strict=True):
        best = index.search(row, 1)[0]
        _expect(best.id == name, f"{name!r} must be nearest to itself, not {best.id!r}.")
        _expect(abs(best.similarity - 1.0) < TOLERANCE, "A vector's cosine with itself is 1.")


def check_ties_by_id(factory: IndexFactory) -> None:
    """Equal vectors come in the order of their ids, whatever the order of insertion."""
    index, rows = factory(DIMENSION), _draw(3, 4)
    index.upsert(["d", "b", "z"], np.stack([rows[0], rows[0], rows[1]]))
    index.upsert(["a", "c"], np.stack([rows[0], rows[0]]))
    _expect(_ids(index.search(rows[0], 4)) == ["a", "b", "c", "d"], "Ties must come by id.")
    _expect(_ids(index.search(rows[0], 2)) == ["a", "b"], "Ties must be cut by id.")


def check_replaces(factory: IndexFactory) -> None:
    """An id that is added again has its new vector only; within one call the last one stays."""
    index, rows = factory(DIMENSION), _draw(4, 5)
    index.upsert(["a", "b"], rows[:2])
    index.upsert(["a"], rows[2:3])
    index.upsert(["c", "c"], rows[[0, 3]])
    _expect(list(index.ids()) == ["a", "b", "c"], "Replacing must not add an item.")
    _expect(index.search(rows[2], 1)[0].id == "a", "The new vector must be found.")
    _expect(index.search(rows[3], 1)[0].id == "c", "The last of two vectors must stay.")
    old = index.search(rows[0], 1)[0]
    _expect(old.similarity < 1.0 - TOLERANCE, "The replaced vector must be gone.")


def check_removes(factory: IndexFactory) -> None:
    """What is taken out is found no more; unknown ids are ignored; it can be added again."""
    index, names, rows = factory(DIMENSION), _names(300), _draw(300, 6)
    index.upsert(names, rows)
    index.remove([*names[::2], "unknown"])
    index.remove([])
    _expect(list(index.ids()) == names[1::2], "Exactly the others must be left.")
    for query in rows[:20]:
        gone = set(names[::2]) & set(_ids(index.search(query, 30)))
        _expect(not gone, f"Removed items were found: {sorted(gone)}.")
    index.upsert(names[:1], rows[:1])
    _expect(index.search(rows[0], 1)[0].id == names[0], "A removed item may come back.")


def check_ids_sorted(factory: IndexFactory) -> None:
    """Any text is an id, and `ids` are sorted."""
    index = factory(DIMENSION)
    odd = ["b/../c", "Ä ü", "skill-9", "skill-10", "a'; drop", "日本"]
    index.upsert(odd, _draw(len(odd), 7))
    _expect(list(index.ids()) == sorted(odd), "Ids must come back sorted and unchanged.")


def check_bounds(factory: IndexFactory) -> None:
    """Asking for none gives none; asking for more than there is gives all."""
    index, rows = factory(DIMENSION), _draw(3, 8)
    index.upsert(["a", "b", "c"], rows)
    _expect(not index.search(rows[0], 0), "k = 0 must give nothing.")
    _expect(sorted(_ids(index.search(rows[0], 99))) == ["a", "b", "c"], "k = 99 must give all.")
    index.upsert([], np.zeros((0, DIMENSION), dtype=np.float32))
    _expect(len(index.ids()) == 3, "Adding nothing must change nothing.")


def check_scale_does_not_matter(factory: IndexFactory) -> None:
    """Similarity is the cosine: lengths of vectors and queries play no part."""
    index, rows = factory(DIMENSION), _draw(3, 9)
    index.upsert(["a", "b", "c"], rows * np.array([[0.01], [1.0], [100.0]], dtype=np.float32))
    for name, row in zip("abc", rows, strict=True):
        best = index.search(row * np.float32(7.0), 1)[0]
        _expect(best.id == name, f"{name!r} must be found whatever its length.")
        _expect(abs(best.similarity - 1.0) < TOLERANCE, "A cosine must not exceed 1.")


def check_zero_vectors(factory: IndexFactory) -> None:
    """A vector of zeros has cosine 0 with everything, as item and as query."""
    index, rows = factory(DIMENSION), _draw(2, 10)
    zero = np.zeros((1, DIMENSION), dtype=np.float32)
    index.upsert(["a", "b", "zero"], np.concatenate([rows, zero]))
    by_id = {match.id: match.similarity for match in index.search(rows[0], 3)}
    _expect(abs(by_id["zero"]) < TOLERANCE, "The cosine of a zero vector is 0.")
    matches = index.search(zero[0], 3)
    _expect(all(abs(m.similarity) < TOLERANCE for m in matches), "A zero query is near nothing.")
    _expect(_ids(matches) == ["a", "b", "zero"], "All are equally far: they must come by id.")


def check_refuses_bad_vectors(factory: IndexFactory) -> None:
    """A wrong shape or a value that is not finite is a `ValueError`, and changes nothing."""
    index, rows = factory(DIMENSION), _draw(2, 11)
    index.upsert(["a", "b"], rows)
    broken = rows.copy()
    broken[1, 3] = np.nan
    attempts: tuple[Callable[[], object], ...] = (
        lambda: index.upsert(["c", "d"], broken),
        lambda: index.upsert(["c"], rows),
        lambda: index.upsert(["c", "d"], rows[:, :-1]),
        lambda: index.search(rows[0][:-1], 1),
        lambda: index.search(broken[1], 1),
    )
    for number, attempt in enumerate(attempts):
        try:
            attempt()
        except ValueError:
            continue
        raise AssertionError(f"Bad input {number} must raise ValueError.")
    _expect(list(index.ids()) == ["a", "b"], "A refused call must change nothing.")


def check_leaves_input_alone(factory: IndexFactory) -> None:
    """What the caller does with its arrays afterwards changes nothing in the index."""
    index, rows = factory(DIMENSION), _draw(5, 12)
    given = rows.copy()
    index.upsert(_names(5), given)
    _expect(bool((given == rows).all()), "The caller's array must not be changed.")
    given[:] = 0.0
    _expect(index.search(rows[2], 1)[0].id == "item-0002", "The index must keep its own copy.")


CHECKS: tuple[Check, ...] = (
    check_starts_empty,
    check_finds_nearest,
    check_finds_itself,
    check_ties_by_id,
    check_replaces,
    check_removes,
    check_ids_sorted,
    check_bounds,
    check_scale_does_not_matter,
    check_zero_vectors,
    check_refuses_bad_vectors,
    check_leaves_input_alone,
)
"""Every check, to run one test each."""


def check_index(factory: IndexFactory) -> None:
    """Run every check.

    Args:
        factory: makes an empty index of a dimension.

    Raises:
        AssertionError: the index breaks the contract; says how.

    Example:
        >>> from agentlab.library.index.exact import ExactIndex
        >>> check_index(ExactIndex)
    """
    for check in CHECKS:
        check(factory)
