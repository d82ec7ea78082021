"""Replay: attempts that were better than usual, kept a while and learnt from again.

Qin et al. 2025, "SPEAR" (TencentYoutuResearch/SPEAR): rollouts with a positive advantage are
buffered, and replayed with A' = reward - the median of the stored groups' mean rewards; only
A' >= 0 is kept, and nothing that is too old. The weight of the replay loss ramps up; it goes with
each row, and `trl-grpo-replay` scales the row's loss by it. A step of training there is a round
here, so that what a run replays in its first round weighs nothing. Which tokens to leave out for
their covariance with the advantage needs the policy that is trained, and is the trainer's part too.
The bonus for turns that SPEAR adds to rewards in its first 200 steps is not added: rewards here are
the evaluator's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from agentlab.training.advantages import grpo
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Group

BUFFER = 2_048
BASELINE = 10_240
"""Groups whose mean rewards the median is of."""
AGE = 5
"""Rounds after which a rollout is too old."""
RAMP = 100
"""Rounds until the replay loss has its whole weight."""


class Kept(NamedTuple):
    """A rollout of the buffer and what it is worth now."""

    rollout: Rollout
    advantage: float


def recalibrated(rewards: Sequence[float], median: float) -> tuple[float, ...]:
    """A' of each: the reward less the median of group means."""
    return tuple(reward - median for reward in rewards)


def ramp(step: int, *, length: int = RAMP) -> float:
    """The weight of the replay loss at a step: (1 - cos(pi t / T)) / 2, and then 1."""
    return 1.0 if step >= length else (1 - math.cos(math.pi * step / length)) / 2


def replayed(
    groups: Iterable[Group], *, buffer: int = BUFFER, baseline: int = BASELINE, age: int = AGE
) -> Iterator[Group]:
    """One group for each rollout that is worth replaying, with its advantage.

    Args:
        groups: in the order in which they were made.
        buffer: rollouts that are kept, the newest.
        baseline: groups that the median is of, the newest.
        age: in rounds, before the newest one.
    """
    kept: list[Rollout] = []
    means: list[float] = []
    newest = 0
    for group in groups:
        newest = max([newest, *(rollout.round for rollout in group.rollouts)])
        if not group.rewards:
            continue
        means.append(math.fsum(group.rewards) / len(group.rewards))
        del means[:-baseline]
        known = [each for each in group.rollouts if each.reward is not None]
        if len(known) < 2:
            continue
        values = grpo([each.reward for each in known])
        kept += [
            e for e, value in zip(known, values, strict=True) if value is not None and value > 0
        ]
        del kept[:-buffer]
    if not means:
        return
    middle = median(means)
    young = [each for each in kept if newest - each.round <= age]
    rewards = [each.reward for each in young if each.reward is not None]
    weight = ramp(newest)
    rule = f"spear (median {middle:g}, age {age}, loss weight {weight:g})"
    for rollout, value in zip(young, recalibrated(rewards, middle), strict=True):
        if value >= 0:
            yield Group(
                f"{rollout.group_id}-replay-{rollout.slot}",
                (rollout,),
                (value,),
                rule,
                replay_weight=weight,
            )


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle.

    Args:
        values: at least one.
    """
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
