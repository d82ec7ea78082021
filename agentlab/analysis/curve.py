"""Success against budget, from one run at the largest budget.

An attempt that notes what it had spent when it first reached the goal tells how it would have
done at every smaller budget, provided that what it does does not depend on the budget. The
cost may be tool calls, primitive steps or seconds alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from agentlab.errors import UsageError
from agentlab.statistics import Estimate, proportion

Scale = Literal["linear", "logarithmic"]


class FirstSuccess(NamedTuple):
    """What one attempt had spent when it first reached the goal."""

    task_id: str
    cost: float | None
    """None where it did not, within `limit`."""
    limit: float
    """What it was allowed to spend; it says nothing about larger budgets."""


class Point(NamedTuple):
    """The success rate at one budget, with Wilson's interval and n."""

    budget: float
    success: Estimate


class Curve(NamedTuple):
    """Points in rising order of budget; none where there was no attempt."""

    points: tuple[Point, ...]


class Area(NamedTuple):
    """The area under a curve over a range that was declared beforehand."""

    start: float
    end: float
    area: float
    normalised: float
    """Divided by the length of the range: the mean height."""


def success_curve(
    records: Iterable[FirstSuccess], budgets: Iterable[float], *, confidence: float = 0.95
) -> Curve:
    """The share of attempts that reached the goal within each budget.

    Never falls from one budget to a larger one. The intervals are for each budget by itself.

    Args:
        records: One for each attempt that did not end in an infrastructure failure.
        budgets: Where to look; sorted, and repeated ones dropped.
        confidence: Of the intervals.

    Raises:
        UsageError: a budget is larger than some attempt was allowed to spend.
    """
    attempts = tuple(records)
    wanted = sorted(set(budgets))
    for attempt in attempts:
        if wanted and attempt.limit < wanted[-1]:
            raise UsageError(
                f"The attempt at {attempt.task_id!r} stopped at {attempt.limit:g} and cannot "
                f"tell what a budget of {wanted[-1]:g} gives; lower the budgets or run it anew."
            )
    points: list[Point] = []
    for budget in wanted:
        success = proportion(
            (a.cost is not None and a.cost <= budget for a in attempts), confidence=confidence
        )
        if success is not None:
            points.append(Point(budget, success))
    return Curve(tuple(points))


def charge(records: Iterable[FirstSuccess], learning_cost: float) -> tuple[FirstSuccess, ...]:
    """The same attempts with the cost of learning shared out evenly among them.

    What a library cost to learn belongs in its curve. Each attempt bears `learning_cost / n`,
    in its limit as in its cost, so the share falls as the library is used more.

    Raises:
        UsageError: `learning_cost` is negative.
    """
    if learning_cost < 0:
        raise UsageError(f"The cost of learning cannot be negative, like {learning_cost:g}.")
    attempts = tuple(records)
    share = learning_cost / len(attempts) if attempts else 0.0
    return tuple(
        FirstSuccess(a.task_id, None if a.cost is None else a.cost + share, a.limit + share)
        for a in attempts
    )


def area(
    x: Sequence[float],
    y: Sequence[float],
    *,
    start: float | None = None,
    end: float | None = None,
    scale: Scale = "linear",
) -> Area:
    """The area under a curve by the trapezoid rule, and its mean height.

    Args:
        x: Strictly rising.
        y: As many.
        start: Where the range begins, by default at the first x; not before it, since
            nothing is known there.
        end: Where it ends, by default at the last x. Beyond the last x its value is carried
            forward. Declare both before looking when curves are compared.
        scale: On a logarithmic scale equal factors weigh the same.

    Raises:
        UsageError: the numbers of x and y differ, x does not rise, the range is empty or
            begins before the first x, or an x is not positive on a logarithmic scale.
    """
    if len(x) != len(y) or not x or any(a >= b for a, b in pairwise(x)):
        raise UsageError("An area needs as many heights as places, at places that rise.")
    first, last = (x[0] if start is None else start), (x[-1] if end is None else end)
    if first < x[0] or last <= first:
        raise UsageError(
            f"The range from {first:g} to {last:g} must not be empty or begin before {x[0]:g}."
        )
    if scale == "logarithmic" and x[0] <= 0:
        raise UsageError(f"A logarithmic scale has no place for {x[0]:g}; begin above 0.")
    inner = [place for place in x if first < place < last]
    places = [first, *inner, last]
    heights = [_height(x, y, place, scale) for place in places]
    at = [_at(place, scale) for place in places]
    whole = math.fsum(
        (at[i + 1] - at[i]) * (heights[i] + heights[i + 1]) / 2 for i in range(len(at) - 1)
    )
    return Area(first, last, whole, whole / (at[-1] - at[0]))


def curve_area(
    curve: Curve,
    *,
    start: float | None = None,
    end: float | None = None,
    scale: Scale = "linear",
) -> Area:
    """The area under a success curve; its normalised form is the mean success rate.

    Raises:
        UsageError: as `area`; a curve without points has none.
    """
    return area(
        [point.budget for point in curve.points],
        [point.success.value for point in curve.points],
        start=start,
        end=end,
        scale=scale,
    )


def _at(place: float, scale: Scale) -> float:
    return math.log(place) if scale == "logarithmic" else place


def _height(x: Sequence[float], y: Sequence[float], place: float, scale: Scale) -> float:
    if place >= x[-1]:
        return y[-1]
    right = next(i for i, known in enumerate(x) if known > place)
    left = right - 1
    span = _at(x[right], scale) - _at(x[left], scale)
    share = (_at(place, scale) - _at(x[left], scale)) / span
    return y[left] + share * (y[right] - y[left])
