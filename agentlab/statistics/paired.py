"""Two arms on the same tasks: the exact test for one look, the e-process for many.

A pair counts only when the arms differ. `mcnemar` may be read once, at a sample size fixed
beforehand; `e_process` may be read after every pair, which is why gates use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import comb
from typing import Literal, NamedTuple

from agentlab.errors import UsageError

_CEILING = 10**300
"""Evidence beyond this is reported as this, so that it stays a finite float."""

SequentialDecision = Literal["promote", "reject", "undecided"]


class McNemar(NamedTuple):
    """Exact p-values over discordant pairs. Without any, all are 1: no decision."""

    control_wins: int
    candidate_wins: int
    one_sided: float
    """Probability of at least so many candidate wins if the arms were equal."""
    two_sided: float
    mid_p: float
    """Two-sided, with half the probability of what was observed: less conservative."""


def mcnemar(control_wins: int, candidate_wins: int) -> McNemar:
    """McNemar's exact test from the numbers of pairs that only one arm won.

    Raises:
        UsageError: a count is negative.
    """
    _check(control_wins, candidate_wins)
    n = control_wins + candidate_wins
    whole = 1 << n
    one_sided = sum(comb(n, i) for i in range(candidate_wins, n + 1)) / whole
    fewer = min(control_wins, candidate_wins)
    tail = sum(comb(n, i) for i in range(fewer + 1))
    two_sided = min(1.0, 2 * tail / whole)
    mid_p = min(1.0, (2 * tail - comb(n, fewer)) / whole)
    return McNemar(control_wins, candidate_wins, one_sided, two_sided, mid_p)


def e_value(wins: int, losses: int) -> float:
    """Evidence that a discordant pair is won more often than not.

    The likelihood under a uniform mixture of win probabilities in (1/2, 1) over that under
    1/2: `E = 2 * 2^n * B(1+w, 1+l) * P(Beta(1+w, 1+l) > 1/2)` with n = w + l. For whole counts
    this is the exact fraction `sum(C(n+1, i) for i <= w) / ((n+1) * C(n, w))`. Its mean is 1
    when the arms are equal, so by Ville's inequality it ever reaches 1/alpha with probability
    at most alpha, at whatever moments one looks. At most 1e300.

    Raises:
        UsageError: a count is negative.
    """
    _check(wins, losses)
    n = wins + losses
    numerator = term = 1
    for i in range(wins):  # each binomial from the one before: a gate asks this at every look
        term = term * (n + 1 - i) // (i + 1)
        numerator += term
    denominator = (n + 1) * comb(n, wins)
    if numerator >= denominator * _CEILING:
        return float(_CEILING)
    return numerator / denominator


class EProcess(NamedTuple):
    """Where a sequential comparison stands."""

    decision: SequentialDecision
    pairs: int
    """Pairs read, ties included; reading stops at the pair that decides."""
    wins: int
    losses: int
    promote: float
    """Evidence for the candidate."""
    reject: float
    """The same with the arms exchanged."""


def e_process(
    pairs: Iterable[tuple[bool, bool]],
    *,
    alpha: float = 0.05,
    wins: int = 0,
    losses: int = 0,
) -> EProcess:
    """Read pairs `(control, candidate)` in their order, until one side has evidence 1/alpha.

    The order must have been fixed before the first pair, and the process is never restarted
    after a look: what goes on with new tasks goes on from the `wins` and `losses` there were, so
    that all of it is one process with one alpha. Ties add nothing.

    Raises:
        UsageError: `alpha` is not between 0 and 1, or a count is negative.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha lies between 0 and 1, so {alpha!r} is none.")
    read = 0
    promote, reject = e_value(wins, losses), e_value(losses, wins)
    decision = _decided(promote, reject, alpha)
    if decision != "undecided":
        return EProcess(decision, read, wins, losses, promote, reject)
    for control, candidate in pairs:
        read += 1
        if control == candidate:
            continue
        wins += candidate
        losses += control
        promote, reject = e_value(wins, losses), e_value(losses, wins)
        decision = _decided(promote, reject, alpha)
        if decision != "undecided":
            break
    return EProcess(decision, read, wins, losses, promote, reject)


def _decided(promote: float, reject: float, alpha: float) -> SequentialDecision:
    if promote >= 1 / alpha:
        return "promote"
    return "reject" if reject >= 1 / alpha else "undecided"


def _check(first: int, second: int) -> None:
    if first < 0 or second < 0:
        raise UsageError(f"Counts of pairs cannot be negative: {first}, {second}.")
