from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.statistics import Draw, Weighted, effect, mean_difference, rate_difference

weighted = st.builds(Weighted, st.booleans(), st.floats(0.02, 0.98), st.booleans().map(float))


def test_weights_are_the_inverse_of_what_happened() -> None:
    values = [
        Weighted(False, 0.5, 1.0),  # weight 2
        Weighted(False, 0.2, 0.0),  # weight 1.25
        Weighted(True, 0.5, 0.0),  # weight 2
        Weighted(True, 0.2, 1.0),  # weight 5
    ]
    estimate = rate_difference(values)
    assert estimate is not None
    assert estimate.value == pytest.approx(2 / 3.25 - 5 / 7)
    assert estimate.n == 4
    same = mean_difference(values)
    assert same is not None
    assert same.value == pytest.approx(estimate.value)


def test_equal_probabilities_give_newcombes_interval() -> None:
    # Newcombe 1998, table II, method 10: 56/70 against 48/80.
    values = [Weighted(False, 0.5, float(i < 56)) for i in range(70)]
    values += [Weighted(True, 0.5, float(i < 48)) for i in range(80)]
    estimate = rate_difference(values)
    assert estimate is not None
    assert estimate[:3] == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_equal_probabilities_give_welchs_interval() -> None:
    offered, withheld = [1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0]
    values = [Weighted(False, 0.5, v) for v in offered] + [Weighted(True, 0.5, v) for v in withheld]
    estimate = mean_difference(values)
    assert estimate is not None
    # Variances 5/3 and 20/3 over 4: standard error sqrt(25/12), 75/17 degrees of freedom, of
    # which Student's 97.5 % quantile is 2.676.
    assert estimate.value == -2.5
    assert estimate.high - estimate.value == pytest.approx(2.676 * (25 / 12) ** 0.5, rel=2e-3)


def test_draws_without_chance_count_in_nothing() -> None:
    fair = [Draw(False, 0.5, True, 3, 3, 0), Draw(True, 0.5, False, 9, 9, 0)]
    certain = [Draw(False, 0.0, False, 1e6, 1e6, 0), Draw(True, 1.0, True, 1e6, 1e6, 0)]
    assert effect(fair * 3) == effect([*certain, *fair * 3, *certain])
    assert effect(certain).success is None
    assert effect(certain).draws == 0


def test_what_hardly_ever_happens_does_not_outweigh_the_rest() -> None:
    fair = [Draw(bool(i % 2), 0.5, True, 10.0) for i in range(10)]
    freak = Draw(True, 1e-200, False, 1e6)
    assert effect([*fair, freak]) == effect(fair)


def test_unknown_scores_count_in_costs_alone() -> None:
    known = [Draw(bool(i % 2), 0.5, True, 10.0) for i in range(10)]
    unknown = [Draw(bool(i % 2), 0.5, None, 20.0) for i in range(10)]
    measured = effect([*known, *unknown])
    assert measured.success is not None and measured.tool_calls is not None
    assert (measured.success.n, measured.tool_calls.n) == (10, 20)
    assert (measured.offered, measured.withheld) == (10, 10)


def test_one_side_alone_tells_nothing() -> None:
    assert effect([Draw(False, 0.5, True)] * 50).success is None
    one = effect([Draw(False, 0.5, True, 1)] * 9 + [Draw(True, 0.5, False, 1)])
    assert one.success is not None
    assert one.tool_calls is None


def test_a_few_perfect_attempts_do_not_make_certainty() -> None:
    measured = effect([Draw(False, 0.5, True)] * 2 + [Draw(True, 0.5, False)] * 2)
    assert measured.success is not None
    assert measured.success.value == 1.0
    assert measured.success.low < 0.1


@given(st.lists(weighted, max_size=25).flatmap(lambda v: st.tuples(st.just(v), st.permutations(v))))
def test_intervals_hold_the_estimate_and_ignore_order(
    orders: tuple[list[Weighted], list[Weighted]],
) -> None:
    for measure in (rate_difference, mean_difference):
        estimate, again = (measure(values) for values in orders)
        assert estimate == again
        if estimate is not None:
            assert estimate.low <= estimate.value <= estimate.high
    bounded = rate_difference(orders[0])
    if bounded is not None:
        assert -1 <= bounded.low and bounded.high <= 1


@given(st.lists(weighted, min_size=2, max_size=25))
def test_exchanging_the_sides_changes_the_sign(values: list[Weighted]) -> None:
    estimate = rate_difference(values)
    mirrored = rate_difference([Weighted(not w, 1 - p, v) for w, p, v in values])
    assert (estimate is None) == (mirrored is None)
    if estimate is not None and mirrored is not None:
        assert mirrored[:3] == pytest.approx(
            (-estimate.value, -estimate.high, -estimate.low), abs=1e-7
        )


def test_probabilities_are_checked() -> None:
    with pytest.raises(UsageError, match="probability"):
        effect([Draw(True, 1.5, True)])
    with pytest.raises(UsageError, match="probability"):
        rate_difference([Weighted(True, -0.1, 1.0)])


# --- simulated coverage ---------------------------------------------------------------------

RUNS = 400
Schedule = Callable[[np.random.Generator, int, int], float]


def simulate(
    run: int, *, n: int, base: float, gain: float, drift: float, schedule: Schedule
) -> list[Draw]:
    generator = np.random.default_rng(run)
    draws: list[Draw] = []
    for i in range(n):
        probability = schedule(generator, i, n)
        withheld = bool(generator.random() < probability)
        rate = base + drift * i / n + (0.0 if withheld else gain)
        calls = float(generator.gamma(2, 100)) + (100 if withheld else 0)
        success = bool(generator.random() < rate)
        draws.append(Draw(withheld, probability, success, calls, calls, 0))
    return draws


def any_probability(generator: np.random.Generator, i: int, n: int) -> float:
    return float(generator.uniform(0.1, 0.9))


def falling(generator: np.random.Generator, i: int, n: int) -> float:
    return max(0.1, 0.5 * (1 - i / n))


@pytest.mark.parametrize(
    ("n", "base", "gain", "drift", "schedule"),
    [
        (60, 0.4, 0.2, 0.0, any_probability),
        (200, 0.3, 0.2, 0.4, falling),
        (200, 0.3, 0.0, 0.5, falling),
        (30, 0.9, 0.05, 0.0, any_probability),
    ],
    ids=["any", "rising success", "no effect", "few and nearly all solved"],
)
def test_intervals_cover_the_truth(
    n: int, base: float, gain: float, drift: float, schedule: Schedule
) -> None:
    success = calls = 0
    bias: list[float] = []
    for run in range(RUNS):
        measured = effect(simulate(run, n=n, base=base, gain=gain, drift=drift, schedule=schedule))
        assert measured.success is not None and measured.tool_calls is not None
        success += measured.success.low <= gain <= measured.success.high
        calls += measured.tool_calls.low <= -100 <= measured.tool_calls.high
        bias.append(measured.success.value - gain)
    assert success / RUNS >= 0.92
    assert calls / RUNS >= 0.90
    assert abs(float(np.mean(bias))) < 0.02


def test_the_plain_difference_would_be_biased_where_success_rises() -> None:
    plain: list[float] = []
    for run in range(100):
        draws = simulate(run, n=200, base=0.3, gain=0.0, drift=0.5, schedule=falling)
        rates = [
            np.mean([bool(d.success) for d in draws if d.withheld == withheld])
            for withheld in (False, True)
        ]
        plain.append(float(rates[0] - rates[1]))
    assert float(np.mean(plain)) > 0.05


def test_the_two_rates_differ_by_the_effect() -> None:
    draws = [Draw(i % 3 == 0, 0.25 + 0.01 * i, i % 2 == 0) for i in range(40)]
    found = effect(draws)
    assert found.success is not None
    assert found.success_offered is not None
    assert found.success_withheld is not None
    offered, withheld = found.success_offered, found.success_withheld
    assert offered.value - withheld.value == pytest.approx(found.success.value)
    assert offered.n + withheld.n == found.success.n
    assert 0 <= offered.low <= offered.value <= offered.high <= 1


def test_wilsons_interval_of_an_unweighted_side() -> None:
    # Newcombe 1998, table I: 48/80 by Wilson's method without continuity correction.
    draws = [Draw(True, 0.5, i < 48) for i in range(80)]
    found = effect(draws).success_withheld
    assert found is not None
    assert found[:3] == pytest.approx((0.6, 0.4904, 0.7004), abs=5e-4)
    assert effect(draws).success_offered is None
