"""Groups: the attempts at one task in one round, whole, with their rewards.

What is compared within a group must be whole: members without a known reward are left out and the
group says so by its size; a group of one is no group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Group


def groups(rollouts: Iterable[Rollout], sizes: Mapping[str, int]) -> Iterator[Group]:
    """The groups, each as soon as its last member was read, members in the order of reading.

    Args:
        rollouts: in any order.
        sizes: how many rollouts of each group will come; those of other groups are passed over.
    """
    open_groups: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        size = sizes.get(rollout.group_id)
        if size is None:
            continue
        members = open_groups.setdefault(rollout.group_id, [])
        members.append(rollout)
        if len(members) == size:
            del open_groups[rollout.group_id]
            yield Group(rollout.group_id, tuple(members))
    # Attempts in which nothing happened are never read, so a group may end short.
    for group_id, members in open_groups.items():
        yield Group(group_id, tuple(members))
