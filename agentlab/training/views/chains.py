"""Chains: two attempts at similar tasks, of which the first gave the second a skill.

Wang et al. 2025, "SAGE" (arXiv 2512.17102): a rollout is a chain of two similar tasks that share a
library, and the first is also rewarded for a skill of its that the second uses with success. Groups
are over whole chains. In the form that the sources agree on least, the size of the bonus, we take
R1 = ok1 + [skill used and ok2] and R2 = ok2 (1 + [skill used]).

There a chain is sampled on purpose; here it is found on record: a skill names the attempts that it
was distilled from, and an attempt the skills that it used. Similar tasks are of one template, or
share what a clause of theirs brings about. Who wrote
the skill differs: there the policy itself, here the curator, from what the policy did; the credit
goes to the attempt either way. `used` is what the records mean by it: called, and in the final
trajectory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Group
from agentlab.types import Task

MOST = 8
"""Chains of one group; what a skill is offered to later says little more."""


def chain_rewards(first: bool, second: bool, *, used: bool) -> tuple[float, float]:
    """What the two attempts of a chain earn.

    Args:
        first: whether the first succeeded.
        second: whether the second did.
        used: whether the second used a skill of the first.
    """
    return float(first) + float(used and second), float(second) * (1.0 + used)


def similar(one: Task, other: Task) -> bool:
    """Whether tasks are of one template, or their missions share a predicate."""
    if one.template == other.template:
        return True
    if one.mission is None or other.mission is None:
        return False
    stated = {clause.predicate for clause in one.mission.clauses}
    return any(clause.predicate in stated for clause in other.mission.clauses)


def chains(
    rollouts: Iterable[Rollout],
    sources: Mapping[str, Sequence[str]],
    *,
    most: int = MOST,
) -> Iterator[Group]:
    """The groups: for each first attempt, its chains; members alternate first and second.

    Rollouts that begin a chain are held until the end.

    Args:
        rollouts: in the order in which they were made.
        sources: skill id to the attempts that it was distilled from.
        most: chains of a group.
    """
    begun: dict[str, Rollout] = {}
    groups: dict[str, list[Rollout]] = {}
    beginnings = {attempt for each in sources.values() for attempt in each}
    for rollout in rollouts:
        if rollout.score.success is not None and rollout.calls:
            for skill in rollout.skills_offered:
                for attempt in sources.get(skill, ()):
                    first = begun.get(attempt)
                    if first is None or not similar(first.task, rollout.task):
                        continue
                    members = groups.setdefault(attempt, [])
                    if len(members) < 2 * most:
                        members += _chain(first, rollout, used=skill in rollout.skills_used)
        if rollout.id in beginnings and rollout.calls:
            begun[rollout.id] = rollout
    for attempt, members in groups.items():
        yield Group(f"chain-{attempt}", tuple(members))


def _chain(first: Rollout, second: Rollout, *, used: bool) -> list[Rollout]:
    one, other = chain_rewards(first.score.success is True, second.score.success is True, used=used)
    return [
        first._replace(
            id=f"{first.id}#{second.id}",
            credit=one,
            notes=("the first of a chain (SAGE)",),
        ),
        second._replace(
            id=f"{second.id}#{first.id}",
            credit=other,
            notes=("the second of a chain (SAGE)",),
        ),
    ]
