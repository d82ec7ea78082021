"""Bands, learnability and utility: arithmetic on counts, at its edges and by published numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.proposers.learnability import (
    LEAST_ATTEMPTS,
    Measured,
    band,
    learnable,
    measured,
    utility,
)
from agentlab.types import Template


@pytest.mark.parametrize(
    ("successes", "attempts", "expected"),
    [
        (7, 10, "lateral"),
        (71, 100, "harder"),
        (8, 10, "harder"),
        (3, 10, "lateral"),
        (29, 100, "prerequisite"),
        (2, 10, "prerequisite"),
        (4, 4, "harder"),
        (3, 4, "harder"),
        (2, 4, "lateral"),
        (1, 4, "prerequisite"),
        (0, 4, "prerequisite"),
        (700, 1000, "lateral"),
        (701, 1000, "harder"),
        (300, 1000, "lateral"),
        (299, 1000, "prerequisite"),
        (3, 3, None),
        (0, 3, None),
        (0, 0, None),
    ],
)
def test_the_band_at_its_edges(successes: int, attempts: int, expected: str | None) -> None:
    assert band(successes, attempts) == expected


@given(st.integers(min_value=LEAST_ATTEMPTS, max_value=10_000), st.data())
def test_more_success_never_asks_for_something_easier(attempts: int, data: st.DataObject) -> None:
    order = ["prerequisite", "lateral", "harder"]
    successes = data.draw(st.integers(min_value=0, max_value=attempts - 1))
    low, high = band(successes, attempts), band(successes + 1, attempts)
    assert low is not None and high is not None
    assert order.index(low) <= order.index(high)


@pytest.mark.parametrize(
    ("successes", "attempts", "expected"),
    [
        (1, 8, False),
        (2, 8, True),
        (4, 8, True),
        (7, 8, False),
        (1, 5, False),  # exactly 0.2
        (4, 5, False),  # exactly 0.8
        (1, 4, True),
        (0, 4, False),
        (4, 4, False),
        (1, 3, None),
        (0, 0, None),
    ],
)
def test_learnable_strictly_between(successes: int, attempts: int, expected: bool | None) -> None:
    """The first four are the published example (n = 8, band 0.2 to 0.8)."""
    assert learnable(successes, attempts) is expected


def test_the_utility_of_the_reference() -> None:
    assert utility(1, 4) == pytest.approx(0.457833, abs=1e-6)
    assert utility(0, 8) == pytest.approx(0.043937, abs=1e-6)
    assert utility(8, 8) == pytest.approx(utility(0, 8))
    assert utility(4, 8) == 1.0 == utility(0, 0)


@pytest.mark.parametrize(("successes", "attempts"), [(2, 1), (-1, 3), (0, -1)])
def test_counts_that_cannot_be(successes: int, attempts: int) -> None:
    for rule in (band, learnable, utility):
        with pytest.raises(ValueError, match="cannot be"):
            rule(successes, attempts)


def test_too_few_of_a_kind_are_measured_by_all_and_say_so() -> None:
    templates = [
        Template(name="a", outcomes=(True, False, False)),
        Template(name="b", outcomes=(True,) * 5),
    ]
    assert measured("b", templates)[:2] == (5, 5)
    pooled = measured("a", templates)
    assert pooled[:2] == (6, 8)
    assert "only 3 of this kind" in str(pooled)
    assert measured("new", [])[:2] == (0, 0)


def test_a_rate_is_told_with_its_number_and_interval() -> None:
    assert str(Measured(7, 10, "tasks of this kind")) == (
        "tasks of this kind: 70% success (n = 10, 95 % interval 40% to 89%)"
    )
    assert str(Measured(0, 0, "x")) == "x: never attempted"
