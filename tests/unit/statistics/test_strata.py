from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.statistics import Stratum, stratified_difference


def test_two_strata_by_hand() -> None:
    # Weights 10*10/20 = 5 and 20*5/25 = 4; differences 0.3 and -0.2; (1.5 - 0.8) / 9.
    found = stratified_difference([Stratum(8, 10, 5, 10), Stratum(12, 20, 4, 5)])
    assert found is not None
    assert found.value == pytest.approx(0.7 / 9)
    assert found.n == 45
    p1, q1, p2, q2 = 9 / 12, 6 / 12, 13 / 22, 5 / 7
    spread = 25 * (p1 * (1 - p1) / 10 + q1 * (1 - q1) / 10)
    spread += 16 * (p2 * (1 - p2) / 20 + q2 * (1 - q2) / 5)
    assert found.high - found.value == pytest.approx(1.959964 * math.sqrt(spread) / 9, abs=1e-6)


def test_one_stratum_is_the_plain_difference() -> None:
    found = stratified_difference([Stratum(30, 40, 10, 40)])
    assert found is not None
    assert found.value == pytest.approx(0.5)


def test_harder_tasks_alone_are_no_fall() -> None:
    """Plain rates fall from 0.74 to 0.26 as the curriculum moves on; within strata nothing."""
    found = stratified_difference([Stratum(8, 10, 72, 90), Stratum(18, 90, 2, 10)])
    assert found is not None
    assert found.value == pytest.approx(0.0)
    assert found.low < 0 < found.high


def test_strata_of_one_side_count_nothing() -> None:
    assert stratified_difference([Stratum(3, 4, 0, 0), Stratum(0, 0, 1, 2)]) is None
    with pytest.raises(UsageError, match="cannot have 5 of 4"):
        stratified_difference([Stratum(5, 4, 0, 1)])


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=5))
def test_even_what_never_varies_is_not_certain(sizes: list[tuple[int, int]]) -> None:
    found = stratified_difference([Stratum(n, n, m, m) for n, m in sizes])
    assert found is not None
    assert found.value == 0.0
    assert -1 <= found.low < 0 < found.high <= 1
