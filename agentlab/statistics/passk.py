"""pass@k: the probability that at least one of k attempts at a task succeeds.

The unbiased estimator of Chen et al. 2021 (arXiv 2107.03374), not the plug-in `1-(1-p)^k`,
which is too low.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import comb
from typing import NamedTuple

from agentlab.errors import UsageError
from agentlab.statistics.intervals import Estimate, bootstrap_mean


class Tries(NamedTuple):
    """How often one task was tried and how often that succeeded."""

    attempts: int
    successes: int


def pass_at_k(attempts: int, successes: int, k: int) -> float:
    """`1 - C(n-c, k) / C(n, k)`; 1 where fewer than k attempts failed.

    Raises:
        UsageError: k is below 1 or above the number of attempts, where it is undefined, or
            there are more successes than attempts.
    """
    if not 0 <= successes <= attempts:
        raise UsageError(f"There cannot be {successes} successes in {attempts} attempts.")
    if not 1 <= k <= attempts:
        raise UsageError(f"pass@{k} needs at least {k} attempts at a task; there are {attempts}.")
    whole = comb(attempts, k)
    return (whole - comb(attempts - successes, k)) / whole


def mean_pass_at_k(
    tasks: Iterable[Tries], k: int, *, seed: int, confidence: float = 0.95
) -> Estimate | None:
    """pass@k averaged over tasks, with an interval that resamples tasks; None without tasks.

    Raises:
        UsageError: as `pass_at_k`, for any of the tasks.
    """
    values = [(pass_at_k(task.attempts, task.successes, k),) for task in tasks]
    return bootstrap_mean(values, seed=seed, confidence=confidence)
