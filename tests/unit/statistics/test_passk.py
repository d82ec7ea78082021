from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.statistics import Tries, mean_pass_at_k, pass_at_k


def test_pass_at_k_gives_the_published_number_and_not_the_plug_in() -> None:
    assert pass_at_k(10, 3, 5) == pytest.approx(0.916667, abs=5e-7)
    assert 1 - 0.7**5 == pytest.approx(0.831930, abs=5e-7)


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_pass_at_k_rises_with_k_from_the_rate_to_one(pair: tuple[int, int]) -> None:
    attempts, successes = pair
    values = [pass_at_k(attempts, successes, k) for k in range(1, attempts + 1)]
    assert values[0] == pytest.approx(successes / attempts)
    assert values == sorted(values)
    assert values[-1] == (1.0 if successes else 0.0)


@pytest.mark.parametrize(("attempts", "successes", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1)])
def test_undefined_cases_are_refused(attempts: int, successes: int, k: int) -> None:
    with pytest.raises(UsageError):
        pass_at_k(attempts, successes, k)


def test_mean_over_tasks_has_an_interval_over_tasks() -> None:
    tasks = [Tries(10, 3), Tries(10, 0), Tries(5, 5)]
    estimate = mean_pass_at_k(tasks, 5, seed=0)
    assert estimate is not None
    assert estimate.value == pytest.approx((11 / 12 + 0 + 1) / 3)
    assert estimate.n == 3
    assert estimate.low <= estimate.value <= estimate.high
    assert mean_pass_at_k([], 5, seed=0) is None
