"""How far two raters agree: one that is right by definition, and one that is measured by it.

Rates get Wilson's interval, Cohen's kappa an interval that holds two: a bootstrap over tasks and
one from the share of agreement. Attempts at one task are alike, so in every interval a task
counts as one observation, however often it was tried. Functions return None where nothing was
measured; they never return NaN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentlab.errors import UsageError
from agentlab.statistics.intervals import Estimate, normal_quantile, score_interval

_CHUNK = 1 << 20
"""Weights drawn at a time, to bound the memory of a bootstrap at a few megabytes."""


class Rating(NamedTuple):
    """One attempt, and what both say of it."""

    task: str
    truth: bool
    """What the verifier says."""
    judged: bool | None
    """What the judge says; None is unknown."""


class Confusion(NamedTuple):
    """Attempts by what both say, unknown ones left out."""

    both: int
    """Success for both."""
    judge_only: int
    """Success for the judge alone: what would be admitted wrongly."""
    verifier_only: int
    neither: int

    @property
    def n(self) -> int:
        """All of them."""
        return sum(self)


class Agreement(NamedTuple):
    """A judge measured by the verifier. A rate is None where nothing falls under it.

    The `n` of a rate counts attempts; its interval is as wide as the tasks among them allow.
    """

    attempts: int
    tasks: int
    confusion: Confusion
    unknown: Estimate
    """Share of attempts on which the judge does not decide; the other figures leave them out."""
    precision: Estimate | None
    """Of what the judge calls a success, the share that is one."""
    recall: Estimate | None
    """Of the successes, the share that the judge calls one."""
    specificity: Estimate | None
    """Of the failures, the share that the judge calls one."""
    agreement: Estimate | None
    """Share of attempts on which both say the same."""
    kappa: Estimate | None
    """Agreement beyond chance, in [-1, 1]. None where both say the same of everything."""


def cohen_kappa(confusion: Confusion) -> float | None:
    """Agreement beyond chance of two raters (Cohen 1960).

    `(po - pe) / (1 - pe)`, with po the share on which they agree and pe the share on which
    they would if each kept its own rate of successes and knew nothing of the other.

    Returns:
        In [-1, 1]; None without attempts, and where pe is 1, since raters that always say the
        same one thing show nothing.
    """
    n = confusion.n
    if not n:
        return None
    observed = (confusion.both + confusion.neither) / n
    expected = _by_chance(confusion)
    if expected >= 1:
        return None
    return (observed - expected) / (1 - expected)


def agreement(
    ratings: Iterable[Rating], *, seed: int, draws: int = 10_000, confidence: float = 0.95
) -> Agreement | None:
    """How far the judge agrees with the verifier; None without ratings.

    Kappa's interval spans two. One is the percentile bootstrap that resamples tasks, where a
    sample in which kappa is undefined counts as 0. A bootstrap sees no spread in a judge that
    was right every time, so the other end is taken from Wilson's interval around the share of
    agreement po, `(po - pe) / (1 - pe)` at its ends: Cohen's (1960) large-sample interval with
    Wilson's in place of the normal one.

    Raises:
        UsageError: there is no draw, or `confidence` is not between 0 and 1.
    """
    if draws < 1:
        raise UsageError(f"A bootstrap needs at least one draw, not {draws}.")
    normal_quantile(confidence)
    # Sorted, so that the bootstrap depends on what was rated and not on the order.
    found = sorted(ratings, key=lambda r: (r.task, r.truth, str(r.judged)))
    if not found:
        return None

    def share(chosen: Callable[[Rating], bool], hit: Callable[[Rating], bool]) -> Estimate | None:
        return _share([r for r in found if chosen(r)], hit, confidence)

    known = [r for r in found if r.judged is not None]
    confusion = _confusion(known)
    unknown = share(lambda _: True, lambda r: r.judged is None)
    assert unknown is not None
    return Agreement(
        attempts=len(found),
        tasks=len({r.task for r in found}),
        confusion=confusion,
        unknown=unknown,
        precision=share(lambda r: r.judged is True, lambda r: r.truth),
        recall=share(lambda r: r.judged is not None and r.truth, lambda r: bool(r.judged)),
        specificity=share(lambda r: r.judged is not None and not r.truth, lambda r: not r.judged),
        agreement=share(lambda r: r.judged is not None, lambda r: r.judged == r.truth),
        kappa=_kappa(known, confusion, seed=seed, draws=draws, confidence=confidence),
    )


def _share(
    ratings: Sequence[Rating], hit: Callable[[Rating], bool], confidence: float
) -> Estimate | None:
    if not ratings:
        return None
    rate = sum(map(hit, ratings)) / len(ratings)
    low, high = score_interval(rate, len({r.task for r in ratings}), confidence)
    return Estimate(rate, low, high, len(ratings))


def _confusion(known: Iterable[Rating]) -> Confusion:
    cells = Counter((r.truth, bool(r.judged)) for r in known)
    return Confusion(
        both=cells[True, True],
        judge_only=cells[False, True],
        verifier_only=cells[True, False],
        neither=cells[False, False],
    )


def _by_chance(confusion: Confusion) -> float:
    n = confusion.n
    truth = confusion.both + confusion.verifier_only
    judged = confusion.both + confusion.judge_only
    return (truth * judged + (n - truth) * (n - judged)) / (n * n)


def _kappa(
    known: Sequence[Rating],
    confusion: Confusion,
    *,
    seed: int,
    draws: int,
    confidence: float,
) -> Estimate | None:
    value = cohen_kappa(confusion)
    if value is None:
        return None
    names = sorted({r.task for r in known})
    per_task = np.asarray(
        [_confusion(r for r in known if r.task == name) for name in names], dtype=np.float64
    )
    sampled = _resampled(per_task, seed=seed, draws=draws)
    tail = (1 - confidence) / 2
    low, high = (float(x) for x in np.quantile(sampled, (tail, 1 - tail)))
    observed = (confusion.both + confusion.neither) / confusion.n
    expected = _by_chance(confusion)
    ends = score_interval(observed, len(names), confidence)
    least, most = ((end - expected) / (1 - expected) for end in ends)
    return Estimate(
        value, max(-1.0, min(low, least, value)), min(1.0, max(high, most, value)), confusion.n
    )


def _resampled(per_task: NDArray[np.float64], *, seed: int, draws: int) -> NDArray[np.float64]:
    """Kappa of each bootstrap sample of tasks; `per_task` has a row of four counts a task."""
    tasks = len(per_task)
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // tasks)
    kappas: list[NDArray[np.float64]] = []
    for start in range(0, draws, rows):
        weights = generator.multinomial(
            tasks, [1 / tasks] * tasks, size=min(rows, draws - start)
        ).astype(np.float64)
        both, judge_only, verifier_only, neither = (weights @ per_task).T
        n = both + judge_only + verifier_only + neither
        truth, judged = both + verifier_only, both + judge_only
        expected = (truth * judged + (n - truth) * (n - judged)) / (n * n)
        defined = expected < 1
        rest = np.where(defined, 1 - expected, 1.0)
        kappas.append(np.where(defined, ((both + neither) / n - expected) / rest, 0.0))
    return np.concatenate(kappas)
