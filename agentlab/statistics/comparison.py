"""Two arms on the same tasks: how each did, by how much they differ, how sure that is.

Only pairs count, the same repetition of the same task in both arms with a known verdict in
both, so that neither arm gains by failing to report. What was left out is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from agentlab.statistics.intervals import (
    Estimate,
    bootstrap_mean,
    proportion,
    score_interval,
)
from agentlab.statistics.paired import McNemar, mcnemar


class Result(NamedTuple):
    """One attempt of one arm."""

    task_id: str
    success: bool | None
    """None where it is unknown or the attempt ended in an infrastructure failure."""
    tool_calls: float = 0.0
    steps: float = 0.0


class Comparison(NamedTuple):
    """An arm against a baseline. Estimates are None where no pair is left."""

    pairs: int
    tasks: int
    """Distinct tasks among the pairs."""
    left_out: int
    """Attempts of both arms together that have no counterpart or no known verdict."""
    success: Estimate | None
    """Of the arm, with Wilson's interval over pairs."""
    baseline: Estimate | None
    difference: Estimate | None
    """Arm minus baseline; its interval resamples tasks and its n counts them. Where every task
    went alike, resampling sees no spread; see `_never_certain`."""
    tool_calls: Estimate | None
    """Arm minus baseline per attempt; negative is a saving. As `steps`."""
    steps: Estimate | None
    test: McNemar | None
    """With the baseline as control. None where tasks repeat, for the test takes pairs to be
    independent and repetitions of one task are not."""


def compare(
    arm: Iterable[Result],
    baseline: Iterable[Result],
    *,
    seed: int = 0,
    draws: int = 10_000,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two arms pair by pair.

    The k-th result for a task in one arm belongs to the k-th in the other; the order of
    different tasks does not matter. Where tasks repeat, Wilson's intervals treat repetitions
    as independent and are too narrow; the interval of the difference is right.

    Args:
        arm: The results to judge.
        baseline: What they are judged against.
        seed: Of the bootstrap.
        draws: Of the bootstrap.
        confidence: Of all intervals.
    """
    first, second = _by_place(arm), _by_place(baseline)
    pairs: list[tuple[Result, Result]] = []
    wins = losses = 0
    for place in sorted(first.keys() & second.keys()):
        ours, theirs = first[place], second[place]
        if ours.success is None or theirs.success is None:
            continue
        pairs.append((ours, theirs))
        wins += ours.success and not theirs.success
        losses += theirs.success and not ours.success
    differences: dict[str, tuple[list[float], list[float], list[float]]] = {}
    for ours, theirs in pairs:
        success, tool_calls, steps = differences.setdefault(ours.task_id, ([], [], []))
        success.append(float(bool(ours.success)) - float(bool(theirs.success)))
        tool_calls.append(ours.tool_calls - theirs.tool_calls)
        steps.append(ours.steps - theirs.steps)

    def mean(values: Iterable[list[float]]) -> Estimate | None:
        return bootstrap_mean(values, seed=seed, draws=draws, confidence=confidence)

    by_task = differences.values()
    return Comparison(
        pairs=len(pairs),
        tasks=len(differences),
        left_out=len(first) + len(second) - 2 * len(pairs),
        success=proportion((bool(a.success) for a, _ in pairs), confidence=confidence),
        baseline=proportion((bool(b.success) for _, b in pairs), confidence=confidence),
        difference=_never_certain(mean(success for success, _, _ in by_task), confidence),
        tool_calls=mean(tool_calls for _, tool_calls, _ in by_task),
        steps=mean(steps for _, _, steps in by_task),
        test=mcnemar(losses, wins) if pairs and len(differences) == len(pairs) else None,
    )


def _never_certain(found: Estimate | None, confidence: float) -> Estimate | None:
    """An interval for a difference d in [-1, 1] that was the same on each of n tasks.

    A task that differs was seen 0 times in n, so its share is below Wilson's upper end u of 0/n,
    and it could move the mean by at most 1 + d down or 1 - d up.
    """
    if found is None or found.low != found.high:
        return found
    _, most = score_interval(0.0, found.n, confidence)
    low, high = found.value - most * (1 + found.value), found.value + most * (1 - found.value)
    return Estimate(found.value, low, high, found.n)


def _by_place(results: Iterable[Result]) -> dict[tuple[str, int], Result]:
    seen: Counter[str] = Counter()
    places: dict[tuple[str, int], Result] = {}
    for result in results:
        places[result.task_id, seen[result.task_id]] = result
        seen[result.task_id] += 1
    return places
