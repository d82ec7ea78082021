from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.analysis.curve import FirstSuccess, area, charge, curve_area, success_curve
from agentlab.errors import UsageError
from agentlab.statistics import wilson

costs = st.lists(st.none() | st.integers(1, 1000), min_size=1, max_size=40)


def records(costs: list[int | None], limit: float = 1000) -> list[FirstSuccess]:
    return [FirstSuccess(f"task-{i}", cost, limit) for i, cost in enumerate(costs)]


def test_a_curve_counts_what_was_solved_within_each_budget() -> None:
    curve = success_curve(records([30, 100, 100, None, 700]), [1000, 30, 100, 30])
    assert [p.budget for p in curve.points] == [30, 100, 1000]
    assert [p.success.value for p in curve.points] == [0.2, 0.6, 0.8]
    assert {p.success.n for p in curve.points} == {5}
    assert curve.points[1].success.interval == wilson(3, 5)


def test_a_budget_beyond_what_was_allowed_is_refused() -> None:
    with pytest.raises(UsageError, match="stopped at 1000"):
        success_curve(records([30]), [1001])


def test_nothing_recorded_gives_no_points() -> None:
    assert success_curve([], [10]).points == ()
    assert success_curve(records([5]), []).points == ()


@given(costs.flatmap(lambda c: st.tuples(st.just(c), st.permutations(c))))
def test_curves_never_fall_and_ignore_order(
    orders: tuple[list[int | None], list[int | None]],
) -> None:
    budgets = [1, 10, 100, 500, 1000]
    curve = success_curve(records(orders[0]), budgets)
    assert curve == success_curve(records(orders[1]), budgets)
    values = [p.success.value for p in curve.points]
    assert values == sorted(values)
    normalised = curve_area(curve).normalised
    assert values[0] - 1e-12 <= normalised <= values[-1] + 1e-12


def test_the_cost_of_learning_is_shared_out() -> None:
    charged = charge(records([30, None]), 100)
    assert charged == (FirstSuccess("task-0", 80, 1050), FirstSuccess("task-1", None, 1050))
    assert charge([], 100) == ()
    assert success_curve(charged, [79, 80]).points[1].success.value == 0.5
    with pytest.raises(UsageError, match="negative"):
        charge(records([30]), -1)


def test_area_gives_the_published_numbers() -> None:
    result = area([0, 10, 20, 40], [0, 0.5, 0.6, 0.8])
    assert result.area == pytest.approx(22, abs=1e-12)
    assert result.normalised == pytest.approx(0.55, abs=1e-12)


def test_a_declared_range_clips_and_carries_forward() -> None:
    x, y = [0.0, 10.0, 20.0], [0.0, 1.0, 0.5]
    assert area(x, y, end=40).area == pytest.approx(5 + 7.5 + 10)
    assert area(x, y, start=5, end=10).area == pytest.approx((0.5 + 1) / 2 * 5)
    assert area(x, y, start=30, end=40) == (30, 40, 5.0, 0.5)
    assert area([3], [0.7], end=9).normalised == pytest.approx(0.7)


def test_on_a_logarithmic_scale_equal_factors_weigh_the_same() -> None:
    result = area([1, 10, 100], [0, 1, 0], scale="logarithmic")
    assert result.normalised == pytest.approx(0.5)
    assert result.area == pytest.approx(math.log(10))
    half = area([1, 100], [0, 1], start=10, scale="logarithmic")
    assert half.normalised == pytest.approx(0.75)


@given(st.floats(0, 1), st.floats(1, 50), st.floats(0.5, 60))
def test_a_flat_curve_has_its_height_as_mean(height: float, start: float, length: float) -> None:
    for scale in ("linear", "logarithmic"):
        result = area([1, 20, 60], [height] * 3, start=start, end=start + length, scale=scale)
        assert result.normalised == pytest.approx(height, abs=1e-9)


@pytest.mark.parametrize(
    ("x", "y", "start", "end"),
    [
        ([], [], None, None),
        ([1.0, 1.0], [0.0, 0.0], None, None),
        ([1.0, 2.0], [0.0], None, None),
        ([1.0, 2.0], [0.0, 0.0], 0.5, None),
        ([1.0, 2.0], [0.0, 0.0], None, 1.0),
        ([1.0], [0.0], None, None),
    ],
)
def test_impossible_areas_are_refused(
    x: list[float], y: list[float], start: float | None, end: float | None
) -> None:
    with pytest.raises(UsageError):
        area(x, y, start=start, end=end)


def test_zero_has_no_logarithm() -> None:
    with pytest.raises(UsageError, match="logarithmic"):
        area([0, 1], [0, 1], scale="logarithmic")
