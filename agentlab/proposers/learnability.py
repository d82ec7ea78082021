"""What measured success says of a task: whether it can be learnt from, and what should follow it.

All of it is decided here, in code, from counts of unassisted attempts. No model is asked how hard
a task is, and a prompt is only told what was decided. Fewer than four attempts say nothing: from
one, `min(p, 1 - p)` is zero whatever the task is worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from agentlab.statistics import Interval, wilson
from agentlab.types import Template

LEAST_ATTEMPTS = 4
"""Attempts below which a success rate is unknown."""
LOW, HIGH = 0.2, 0.8
"""A task whose success rate lies strictly between teaches something; see `learnable`."""
MEAN, SPREAD = 0.5, 0.2
"""Of the utility."""

Band = Literal["harder", "lateral", "prerequisite"]


class Measured(NamedTuple):
    """A success rate with what it rests on."""

    successes: int
    attempts: int
    of: str
    """What was attempted, in words."""

    @property
    def interval(self) -> Interval:
        """95 % (Wilson); needs at least one attempt."""
        return wilson(self.successes, self.attempts)

    def __str__(self) -> str:
        """As a person or a model is told it."""
        if not self.attempts:
            return f"{self.of}: never attempted"
        low, high = self.interval
        rate = self.successes / self.attempts
        return (
            f"{self.of}: {rate:.0%} success (n = {self.attempts}, "
            f"95 % interval {low:.0%} to {high:.0%})"
        )


def learnable(successes: int, attempts: int) -> bool | None:
    """Whether attempts at a task carry a signal: its success rate is neither low nor high.

    Bae et al. 2025 (arXiv 2504.03380) keep what lies in a band that is symmetric about one half,
    0.2 to 0.8 in their example. Here the bounds themselves are outside, so that with five
    attempts one success is too few.

    Returns:
        None with fewer than `LEAST_ATTEMPTS` attempts.

    Raises:
        ValueError: the counts are no counts.
    """
    _check(successes, attempts)
    if attempts < LEAST_ATTEMPTS:
        return None
    return LOW < successes / attempts < HIGH


def utility(successes: int, attempts: int) -> float:
    """How much a task at this success rate is worth for making others: at most 1, at one half.

    U = exp(-(s - 0.5)² / (2 · 0.2²)) with s the success rate (Socratic-Zero). Without an attempt
    s is taken to be one half: what is unknown is looked at first.

    Raises:
        ValueError: the counts are no counts.
    """
    _check(successes, attempts)
    rate = successes / attempts if attempts else MEAN
    return math.exp(-((rate - MEAN) ** 2) / (2.0 * SPREAD**2))


def band(successes: int, attempts: int) -> Band | None:
    """What kind of task should follow, by measured success (ACuRL).

    Above 70 % a harder and new one, from 30 % to 70 % (both included) a lateral variant, below
    30 % a prerequisite. ACuRL leaves the rule to its prompt; here it is arithmetic on whole
    numbers, so that seven of ten is exactly 70 %.

    Returns:
        None with fewer than `LEAST_ATTEMPTS` attempts, where ACuRL would believe any rate.

    Raises:
        ValueError: the counts are no counts.
    """
    _check(successes, attempts)
    if attempts < LEAST_ATTEMPTS:
        return None
    if 10 * successes > 7 * attempts:
        return "harder"
    return "prerequisite" if 10 * successes < 3 * attempts else "lateral"


def measured(template: str, templates: Sequence[Template]) -> Measured:
    """What is known of a template: its own outcomes, else those of all templates together.

    The second is taken only while the template has fewer than `LEAST_ATTEMPTS` outcomes, and the
    words say so.
    """
    own = next((each for each in templates if each.name == template), Template(name=template))
    if own.attempts >= LEAST_ATTEMPTS:
        return Measured(own.successes, own.attempts, "tasks of this kind")
    return Measured(
        sum(each.successes for each in templates),
        sum(each.attempts for each in templates),
        f"all tasks so far (only {own.attempts} of this kind)",
    )


def _check(successes: int, attempts: int) -> None:
    if not 0 <= successes <= attempts:
        raise ValueError(f"{successes} successes of {attempts} attempts cannot be.")
