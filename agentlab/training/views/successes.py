"""Filtered behaviour cloning: successes, and of a task's several the short ones.

Zhou et al. 2024, "Proposer-Agent-Evaluator" (PAE): keep what succeeded; where a task has more than
one success, keep those no longer than the 20th percentile of their lengths, by linear
interpolation. Length is the number of steps. A single success is kept whatever its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from agentlab.records.trajectories import Outline
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Demonstration

SHARE = 0.2


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies, by linear interpolation.

    Args:
        values: at least one.
        share: in [0, 1].
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def cutoffs(lengths: Mapping[str, Sequence[int]], *, share: float = SHARE) -> dict[str, float]:
    """By task, the length up to which a success is kept.

    Args:
        lengths: of the successes at each task.
        share: of them that set the length.
    """
    return {task: percentile(found, share) for task, found in lengths.items() if found}


def short_enough(outlines: Iterable[Outline]) -> frozenset[str]:
    """Ids of the successful attempts that the rule keeps, without reading any of them."""
    solved = [row for row in outlines if row.solved]
    lengths: dict[str, list[int]] = {}
    for row in solved:
        lengths.setdefault(row.task_id, []).append(row.steps)
    cutoff = cutoffs(lengths)
    return frozenset(row.attempt_id for row in solved if row.steps <= cutoff[row.task_id])


def successes(rollouts: Iterable[Rollout]) -> Iterator[Demonstration]:
    """The rollouts that succeeded by their own means, each of their replies with weight 1."""
    for rollout in rollouts:
        if rollout.solved:
            yield Demonstration(rollout, (1.0,) * len(rollout.calls))
