"""Two groups that met the same kinds of task in different shares: the difference within kinds.

Later practice is not earlier practice: the curriculum moves on, so plain rates compare different
tasks. Within a stratum, such as a template, they can be compared; the strata are then joined with
Mantel and Haenszel's weights. What still differs, such as a library that has grown, is in the
difference too, so it is evidence and no experiment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from agentlab.errors import UsageError
from agentlab.statistics.intervals import Estimate, normal_quantile


class Stratum(NamedTuple):
    """Outcomes of one kind of task in both groups."""

    successes: int
    n: int
    other_successes: int
    other_n: int


def stratified_difference(
    strata: Iterable[Stratum], *, confidence: float = 0.95
) -> Estimate | None:
    """Success in the first group less that in the other, within strata.

    `sum(w (p - q)) / sum(w)` with `w = n m / (n + m)` (Mantel and Haenszel's risk difference,
    Greenland and Robins 1985); its variance is `sum(w² (p(1-p)/n + q(1-q)/m)) / sum(w)²`, where p
    and q have one success and one failure added (Agresti and Caffo 2000), so that strata without
    spread do not make it certain.

    Args:
        strata: those that only one group met count nothing.
        confidence: of the interval.

    Returns:
        The difference in [-1, 1] and its interval, with n the outcomes of both groups that count;
        None where no stratum was met by both.

    Raises:
        UsageError: a stratum has more successes than outcomes, or `confidence` is none.
    """
    z = normal_quantile(confidence)
    whole = spread = value = 0.0
    count = 0
    for s, n, t, m in strata:
        if not 0 <= s <= n or not 0 <= t <= m:
            raise UsageError(f"A stratum cannot have {s} of {n} and {t} of {m} successes.")
        if not n or not m:
            continue
        weight = n * m / (n + m)
        p, q = (s + 1) / (n + 2), (t + 1) / (m + 2)
        whole += weight
        value += weight * (s / n - t / m)
        spread += weight**2 * (p * (1 - p) / n + q * (1 - q) / m)
        count += n + m
    if not whole:
        return None
    value /= whole
    half = z * math.sqrt(spread) / whole
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half), count)
