"""Preference pairs: a success and a failure at the same task, from the same library.

Song et al. 2024, "Trial and Error" (ETO): the higher reward is chosen, ties are skipped, and the
rejected attempt is shown to the chosen one's length and five rounds more. We differ: only attempts
of one group (one task, one round, so one library version) are paired, pairs that go together the
longest come first, and a group gives at most four, so that no task outweighs the others.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Group, Preference

MOST = 4
SLACK = 5
"""Rounds by which the rejected attempt may be longer."""


def shown_rounds(chosen: int, rejected: int, *, slack: int = SLACK) -> int:
    """How many rounds of the rejected attempt are shown."""
    return min(rejected, chosen + slack)


def common(one: Rollout, other: Rollout) -> int:
    """How many first steps two attempts share."""
    shared = 0
    for a, b in zip(one.steps, other.steps, strict=False):
        if a.call != b.call:
            break
        shared += 1
    return shared


def pairs(group: Group, *, most: int = MOST, slack: int = SLACK) -> Iterator[Preference]:
    """The group's pairs, those with the longest common beginning first.

    Args:
        group: of one task and library.
        most: pairs that a group may give.
        slack: see `shown_rounds`.
    """
    found: list[tuple[int, int, int]] = []
    for i, good in enumerate(group.rollouts):
        for j, bad in enumerate(group.rollouts):
            if _better(good, bad) and good.calls and bad.calls:
                found.append((-common(good, bad), i, j))
    for _, i, j in sorted(found)[:most]:
        chosen, rejected = group.rollouts[i], group.rollouts[j]
        shown = shown_rounds(len(chosen.calls), len(rejected.calls), slack=slack)
        yield Preference(chosen, rejected, shown)


def _better(one: Rollout, other: Rollout) -> bool:
    if one.reward is None or other.reward is None:
        return False
    # What had help is not an example of what to do alone.
    return one.solved and one.reward > other.reward
