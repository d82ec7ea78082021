"""What offering an item does, from attempts that were randomly denied it.

Each time an item is retrieved it is withheld with a recorded probability, which changes over
time (`library.attribution`). Comparing attempts with and without it directly would confound
the item with whatever else changed: late attempts are rarely denied it and the rest of the
library is better by then. Weighting every attempt by the inverse of the probability of what
happened to it removes that, whatever made the probability change, as long as it was fixed
before the draw (Hajek 1971; Horvitz and Thompson 1952).

    effect = sum(w*y over offered)/sum(w over offered) - the same over withheld
    w = 1/(1-p) where offered, 1/p where withheld; p: probability of being withheld

A draw with p of 0 or 1 had no chance to go the other way, tells nothing, and is left out. So
is one within a millionth of that, which would outweigh all others together if it did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from agentlab.errors import UsageError
from agentlab.statistics.intervals import Estimate, score_interval, student_quantile

_LEAST = 1e-6
"""A probability this close to 0 or 1 is no chance."""


class Draw(NamedTuple):
    """One random choice to withhold an item, and what came of the attempt."""

    withheld: bool
    probability: float
    """Of being withheld, given everything that was known before the draw."""
    success: bool | None
    """None where the score is unknown: then it counts in the costs alone."""
    tool_calls: float = 0.0
    steps: float = 0.0
    """Primitive environment steps."""
    tokens: float = 0.0

    @property
    def random(self) -> bool:
        """Whether it could have gone either way."""
        return has_chance(self.probability)


def has_chance(probability: float) -> bool:
    """Whether a draw of this probability could have gone either way."""
    return _LEAST <= probability <= 1 - _LEAST


class Effect(NamedTuple):
    """With the item minus without it. None where one side has too few draws."""

    offered: int
    """Draws that could have gone either way and were offered the item."""
    withheld: int
    success: Estimate | None
    """Difference in success rate, in [-1, 1]; positive is good."""
    tool_calls: Estimate | None
    """Difference in tool calls an attempt; negative is a saving. As the others below."""
    steps: Estimate | None
    tokens: Estimate | None
    success_offered: Estimate | None = None
    """Weighted success rate of the attempts that were offered it, in [0, 1]."""
    success_withheld: Estimate | None = None

    @property
    def draws(self) -> int:
        """Both sides together."""
        return self.offered + self.withheld


class Weighted(NamedTuple):
    """One measured value and the probability of being in its group."""

    withheld: bool
    probability: float
    """Of being withheld."""
    value: float


class _Group(NamedTuple):
    n: int
    mean: float
    size: float
    """Kish's effective sample size: (sum of weights)^2 / sum of squared weights."""
    variance: float
    """Of the weighted mean, by linearisation."""


def effect(draws: Iterable[Draw], *, confidence: float = 0.95) -> Effect:
    """What offering the item did, over success and the three costs.

    Costs are those of whole attempts: an attempt that failed spent what it spent. Attempts
    that ended in an infrastructure failure must not be among the draws.

    Raises:
        UsageError: a probability lies outside [0, 1].
    """
    random = [draw for draw in draws if _check(draw.probability) and draw.random]

    def measure(value: Callable[[Draw], float]) -> Estimate | None:
        return mean_difference(
            [Weighted(d.withheld, d.probability, value(d)) for d in random], confidence=confidence
        )

    withheld = sum(draw.withheld for draw in random)
    outcomes = [
        Weighted(d.withheld, d.probability, float(d.success))
        for d in random
        if d.success is not None
    ]
    rates = [_rate(group, confidence) for group in _groups(outcomes)]
    return Effect(
        offered=len(random) - withheld,
        withheld=withheld,
        success=rate_difference(outcomes, confidence=confidence),
        success_offered=rates[0],
        success_withheld=rates[1],
        tool_calls=measure(lambda draw: draw.tool_calls),
        steps=measure(lambda draw: draw.steps),
        tokens=measure(lambda draw: draw.tokens),
    )


def rate_difference(values: Iterable[Weighted], *, confidence: float = 0.95) -> Estimate | None:
    """The weighted difference of values in [0, 1], with an interval that holds up when few.

    Each side gets Wilson's interval at its effective sample size, which is the smaller of
    Kish's and the one that its linearised variance implies (Korn and Graubard 1998); the two
    are joined by Newcombe's method (1998, method 10). Unlike a normal interval this one does
    not collapse when every attempt of a side went the same way.

    Returns:
        The estimate, with n the number of draws that count; None where a side has none.
    """
    offered, withheld = _groups(values)
    if offered is None or withheld is None:
        return None
    p, q = offered.mean, withheld.mean
    p_low, p_high = score_interval(p, _rate_size(offered), confidence)
    q_low, q_high = score_interval(q, _rate_size(withheld), confidence)
    value = p - q
    low = value - math.hypot(p - p_low, q_high - q)
    high = value + math.hypot(p_high - p, q - q_low)
    return Estimate(value, max(-1.0, low), min(1.0, high), offered.n + withheld.n)


def mean_difference(values: Iterable[Weighted], *, confidence: float = 0.95) -> Estimate | None:
    """The weighted difference of any values, such as costs, with Welch's t interval.

    Variances are linearised (that of a ratio of sums), corrected for small samples, and the
    degrees of freedom are Satterthwaite's over effective sample sizes. Where all values of
    both sides are alike no spread can be seen and the interval is a point.

    Returns:
        The estimate, with n the number of draws that count; None where a side has fewer than
        two.
    """
    offered, withheld = _groups(values)
    if offered is None or withheld is None or min(offered.size, withheld.size) <= 1:
        return None
    value = offered.mean - withheld.mean
    n = offered.n + withheld.n
    first, second = (g.variance * g.size / (g.size - 1) for g in (offered, withheld))
    total = first + second
    if total <= 0:
        return Estimate(value, value, value, n)
    shares = (first / total) ** 2 / (offered.size - 1) + (second / total) ** 2 / (withheld.size - 1)
    half = student_quantile(confidence, 1 / shares) * math.sqrt(total)
    return Estimate(value, value - half, value + half, n)


def _groups(values: Iterable[Weighted]) -> tuple[_Group | None, _Group | None]:
    offered: list[tuple[float, float]] = []
    withheld: list[tuple[float, float]] = []
    for item in values:
        _check(item.probability)
        if not has_chance(item.probability):
            continue
        if item.withheld:
            withheld.append((1 / item.probability, item.value))
        else:
            offered.append((1 / (1 - item.probability), item.value))
    return _group(offered), _group(withheld)


def _group(pairs: Sequence[tuple[float, float]]) -> _Group | None:
    """Sums are exact (`fsum`), so the order of the draws cannot change a digit."""
    if not pairs:
        return None
    weight = math.fsum(w for w, _ in pairs)
    # Rounding may carry the mean of equal values past them, and so a rate out of [0, 1].
    mean = math.fsum(w * y for w, y in pairs) / weight
    mean = min(max(mean, min(y for _, y in pairs)), max(y for _, y in pairs))
    size = weight**2 / math.fsum(w * w for w, _ in pairs)
    variance = math.fsum((w * (y - mean)) ** 2 for w, y in pairs) / weight**2
    return _Group(len(pairs), mean, min(size, float(len(pairs))), variance)


def _rate(group: _Group | None, confidence: float) -> Estimate | None:
    if group is None:
        return None
    low, high = score_interval(group.mean, _rate_size(group), confidence)
    return Estimate(group.mean, low, high, group.n)


def _rate_size(group: _Group) -> float:
    if group.variance <= 0:
        return group.size
    return min(group.size, group.mean * (1 - group.mean) / group.variance)


def _check(probability: float) -> bool:
    if not 0 <= probability <= 1:
        raise UsageError(f"A probability lies between 0 and 1, so {probability!r} is none.")
    return True
