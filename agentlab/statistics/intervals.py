"""Intervals, because no number is shown to a person without its n and its interval.

A rate gets Wilson's interval, a mean over tasks the percentile bootstrap. Functions return
None where nothing was measured; they never return NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentlab.errors import UsageError

_CHUNK = 1 << 20
"""Indices drawn at a time, to bound the memory of a bootstrap at a few megabytes."""


class Interval(NamedTuple):
    """Two ends, both included."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0

    def within(self, band: float) -> bool:
        """Whether every value in it is smaller than `band` in size."""
        return -band < self.low and self.high < band


class Estimate(NamedTuple):
    """A number, its interval, and how many units (tasks, draws) it rests on."""

    value: float
    low: float
    high: float
    n: int

    @property
    def interval(self) -> Interval:
        """The interval alone."""
        return Interval(self.low, self.high)


def normal_quantile(confidence: float) -> float:
    """The two-sided quantile of the normal distribution: 1.959964 for 0.95.

    Raises:
        UsageError: `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"A confidence lies between 0 and 1, so {confidence!r} is none.")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def student_quantile(confidence: float, freedom: float) -> float:
    """The two-sided quantile of Student's t, for any real number of degrees of freedom.

    Cornish and Fisher's expansion to the fourth order (Abramowitz and Stegun 26.7.5): within
    1 % of the true value from 2 degrees of freedom at 95 %, and within 0.1 % from 4. Fewer
    than one degree counts as one.
    """
    z = normal_quantile(confidence)
    v = max(freedom, 1.0)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v**order for order, term in enumerate(terms, start=1))


def score_interval(rate: float, n: float, confidence: float = 0.95) -> Interval:
    """Wilson's interval around a rate; `n` may be an effective sample size, not whole.

    Holds `rate`, and lies in [0, 1]; all of [0, 1] where `n` is 0.
    """
    if n <= 0:
        return Interval(0.0, 1.0)
    z = normal_quantile(confidence)
    shrink = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / shrink
    return Interval(min(max(0.0, centre - half), rate), max(min(1.0, centre + half), rate))


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for `successes` of `n`; [0, 1] where `n` is 0.

    Raises:
        UsageError: there are more successes than attempts, or fewer than none.
    """
    if not 0 <= successes <= n:
        raise UsageError(f"There cannot be {successes} successes in {n} attempts.")
    return score_interval(successes / n if n else 0.0, n, confidence)


def proportion(outcomes: Iterable[bool], *, confidence: float = 0.95) -> Estimate | None:
    """The rate of True with Wilson's interval; None without outcomes."""
    values = tuple(outcomes)
    if not values:
        return None
    successes = sum(values)
    low, high = wilson(successes, len(values), confidence=confidence)
    return Estimate(successes / len(values), low, high, len(values))


def bootstrap_mean(
    tasks: Iterable[Sequence[float]],
    *,
    seed: int,
    draws: int = 10_000,
    confidence: float = 0.95,
) -> Estimate | None:
    """The mean over tasks, with the percentile interval of a bootstrap that resamples tasks.

    Each element of `tasks` holds the values of one task, all its seeds together; a task is
    worth the mean of its values, so that every task counts the same. Tasks without values are
    left out. Tasks are sorted by worth before they are resampled, so the interval depends on
    the values and the seed alone and not on the order of the tasks.

    With one task, or with tasks that are all alike, a bootstrap cannot see any spread and the
    interval is a point: read it together with n.

    Args:
        tasks: The values of each task.
        seed: Of a generator that belongs to this call.
        draws: How many times the tasks are resampled.
        confidence: Of the interval.

    Returns:
        The estimate, with n the number of tasks; None where no task has a value.

    Raises:
        UsageError: there is no draw, or `confidence` is not between 0 and 1.
    """
    if draws < 1:
        raise UsageError(f"A bootstrap needs at least one draw, not {draws}.")
    tail = (1 - confidence) / 2
    normal_quantile(confidence)
    worth = np.asarray(
        sorted(math.fsum(values) / len(values) for values in tasks if values), dtype=np.float64
    )
    n = len(worth)
    if not n:
        return None
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    means: list[NDArray[np.float64]] = []
    for start in range(0, draws, rows):
        count = min(rows, draws - start)
        picks = generator.integers(0, n, size=(count, n))
        means.append(worth[picks].mean(axis=1))
    low, high = (float(x) for x in np.quantile(np.concatenate(means), (tail, 1 - tail)))
    value = math.fsum(worth.tolist()) / n
    # Rounding in the resampled means may put an end on the wrong side of the estimate.
    return Estimate(value, min(low, value), max(high, value), n)
