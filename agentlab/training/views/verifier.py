"""Pairs for a verifier: right over wrong at the same task, from all rounds.

Hosseini et al. 2024, "V-STaR": the verifier learns by DPO from every attempt that was ever made,
right ones preferred over wrong ones of the same task. Unlike `pairs`, which teach the agent, they
may come from different rounds and libraries, are shown whole, and need no common beginning. What a
task gives is capped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Preference

MOST = 16
"""Pairs that a task may give."""


def verifier_pairs(
    rollouts: Iterable[Rollout], sizes: Mapping[str, int], *, most: int = MOST
) -> Iterator[Preference]:
    """The pairs, a task's as soon as its last attempt was read.

    Args:
        rollouts: in any order.
        sizes: how many attempts of each task will come at most.
        most: pairs that a task may give.
    """
    held: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        members = held.setdefault(rollout.task.id, [])
        members.append(rollout)
        if len(members) == sizes.get(rollout.task.id):
            yield from pairs_of(held.pop(rollout.task.id), most=most)
    for members in held.values():
        yield from pairs_of(members, most=most)


def pairs_of(members: Iterable[Rollout], *, most: int = MOST) -> Iterator[Preference]:
    """Every right attempt over every wrong one, at most so many."""
    known = [each for each in members if each.calls]
    right = [each for each in known if each.solved]
    wrong = [each for each in known if each.failed]
    found = ((good, bad) for good in right for bad in wrong)
    for (good, bad), _ in zip(found, range(most), strict=False):
        yield Preference(good, bad, len(bad.calls))
