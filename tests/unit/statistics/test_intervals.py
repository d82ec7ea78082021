from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.statistics import Interval, bootstrap_mean, proportion, student_quantile, wilson

values = st.floats(-100, 100, allow_nan=False)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (90, 100, 0.825634, 0.944771),
        (8, 10, 0.490162, 0.943318),
        (2, 2, 0.342380, 1.0),
        (0, 5, 0.0, 0.434482),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_gives_the_published_numbers(
    successes: int, n: int, low: float, high: float
) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-7)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate_and_narrows_with_n(pair: tuple[int, int]) -> None:
    successes, n = pair
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    more = wilson(2 * successes, 2 * n)
    assert more.high - more.low < high - low
    wider = wilson(successes, n, confidence=0.99)
    assert wider.low <= low and high <= wider.high


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_wilson_rises_with_successes(pair: tuple[int, int]) -> None:
    successes, n = pair
    fewer, more = wilson(successes, n), wilson(successes + 1, n)
    assert fewer.low <= more.low and fewer.high <= more.high


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(UsageError, match="successes"):
        wilson(successes, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_is_between_0_and_1(confidence: float) -> None:
    with pytest.raises(UsageError, match="confidence"):
        wilson(1, 2, confidence=confidence)


def test_nothing_measured_is_none() -> None:
    assert proportion([]) is None
    assert bootstrap_mean([], seed=0) is None
    assert bootstrap_mean([()], seed=0) is None


def test_proportion_carries_value_interval_and_n() -> None:
    estimate = proportion([True] * 8 + [False] * 2)
    assert estimate is not None
    assert estimate.value == 0.8
    assert estimate.n == 10
    assert estimate.interval == wilson(8, 10)


def test_bootstrap_of_the_published_differences() -> None:
    differences = [1, 0, 0, 1, 0, -1, 0, 1, 0, 0]
    estimate = bootstrap_mean([(float(d),) for d in differences], seed=1)
    assert estimate is not None
    assert estimate.value == pytest.approx(0.2, abs=1e-12)
    assert estimate.n == 10
    # The standard error is 0.2 (ddof 1); the bootstrap's own is 0.2 * sqrt(9/10).
    half = (estimate.high - estimate.low) / 2
    assert half == pytest.approx(1.96 * 0.2 * math.sqrt(0.9), rel=0.15)


def test_bootstrap_keeps_the_seeds_of_a_task_together() -> None:
    tasks = [(1.0,) * 50, (0.0,) * 50, (1.0,) * 50, (0.0,) * 50]
    apart = [(value,) for task in tasks for value in task]
    together, scattered = bootstrap_mean(tasks, seed=0), bootstrap_mean(apart, seed=0)
    assert together is not None and scattered is not None
    assert (together.n, scattered.n) == (4, 200)
    assert together.high - together.low > 4 * (scattered.high - scattered.low)


def test_a_task_counts_once_however_often_it_was_tried() -> None:
    estimate = bootstrap_mean([(1.0,) * 9, (0.0,)], seed=0, draws=100)
    assert estimate is not None
    assert estimate.value == 0.5


def test_bootstrap_of_equal_values_is_a_point() -> None:
    assert bootstrap_mean([(0.1,)] * 7, seed=0, draws=200) == pytest.approx(
        (0.1, 0.1, 0.1, 7), abs=1e-12
    )


def test_bootstrap_in_pieces_is_bounded_in_memory_and_complete() -> None:
    estimate = bootstrap_mean([(float(i % 2),) for i in range(3000)], seed=0, draws=1000)
    assert estimate is not None
    assert estimate.interval == pytest.approx((0.482, 0.518), abs=0.003)


@given(
    st.lists(st.lists(values, max_size=4), min_size=1, max_size=12).flatmap(
        lambda tasks: st.tuples(st.just(tasks), st.permutations(tasks))
    ),
    st.integers(0, 2**31),
)
def test_bootstrap_holds_the_mean_and_ignores_order(
    tasks: tuple[list[list[float]], list[list[float]]], seed: int
) -> None:
    estimate, again = (bootstrap_mean(order, seed=seed, draws=60) for order in tasks)
    assert estimate == again
    if estimate is not None:
        assert estimate.low <= estimate.value <= estimate.high


def test_bootstrap_refuses_no_draws() -> None:
    with pytest.raises(UsageError, match="draw"):
        bootstrap_mean([(1.0,)], seed=0, draws=0)


@pytest.mark.parametrize(
    ("freedom", "expected", "tolerance"),
    [(2, 4.302653, 0.01), (4, 2.776445, 0.001), (10, 2.228139, 1e-5), (1e9, 1.959964, 1e-6)],
)
def test_student_quantile(freedom: float, expected: float, tolerance: float) -> None:
    assert student_quantile(0.95, freedom) == pytest.approx(expected, rel=tolerance)


def test_interval_words() -> None:
    assert Interval(0.1, 0.2).excludes_zero
    assert Interval(-0.2, -0.1).excludes_zero
    assert not Interval(-0.1, 0.0).excludes_zero
    assert Interval(-0.05, 0.05).within(0.1)
    assert not Interval(-0.05, 0.1).within(0.1)
