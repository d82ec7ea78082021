"""Reflections: what was learnt from failed tries of the same attempt, for two learners.

`repairs`: Dou et al. 2024, "Re-ReST": what succeeded at once is a demonstration, and so is the try
that succeeded after a reflection, as if it had been sampled directly. Its prompt is that of the
first try, so that no reflection is in it. `reflectors` are the reflections that were followed by a
success: what the reflector itself learns from.

`retries`: Bensal et al. 2025, "Reflect, Retry, Reward" (arXiv 2505.24726): the reflections are a
group, rewarded with 1 where the retry passed, and the loss covers reflection tokens alone. There
several reflections answer one failed try; on record each answers the failed try of its own attempt
at the same task, and that is what is compared. The rule's group is scaled by the population's
deviation; take the estimator `reflect`.

What a task gives is capped, since a hard one would otherwise outweigh the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from agentlab.training.refusals import Refusal, RefusedError
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Demonstration, Group
from agentlab.training.tries import Try, rebased, tries
from agentlab.types import Score

MOST = 4
"""Repaired tries that a task may give."""


def repairs(
    rollouts: Iterable[Rollout], refusals: list[Refusal], *, most: int = MOST
) -> Iterator[Demonstration]:
    """Direct successes, and successes after a reflection with their advice taken out.

    Args:
        rollouts: in any order.
        refusals: is added to.
        most: repaired tries that a task may give.
    """
    given: Counter[str] = Counter()
    for rollout in rollouts:
        parts = tries(rollout)
        if len(parts) == 1:
            if rollout.solved:
                yield Demonstration(rollout, (1.0,) * len(rollout.calls))
            continue
        last = parts[-1]
        if not last.solved or not last.calls or not parts[0].calls:
            continue
        if given[rollout.task.id] == most:
            refusals.append(Refusal(rollout.id, "enough of its task", f"{most} are given"))
            continue
        try:
            calls = rebased(last.calls, parts[0].calls[0])
        except RefusedError as refused:
            refusals.append(Refusal(rollout.id, refused.reason, refused.detail))
            continue
        given[rollout.task.id] += 1
        made = rollout._replace(
            calls=calls, notes=("repaired after a reflection, which its prompt no longer holds",)
        )
        yield Demonstration(made, (1.0,) * len(calls))


def reflectors(rollouts: Iterable[Rollout]) -> Iterator[Demonstration]:
    """The reflections after which the next try succeeded."""
    for rollout in rollouts:
        for before, after in _pairs(rollout):
            assert before.reflection is not None
            if after.solved:
                made = rollout._replace(
                    calls=(before.reflection,), notes=("a reflection that was followed by success",)
                )
                yield Demonstration(made, (1.0,))


def retries(group: Group) -> Iterator[Group]:
    """The reflections on first tries that failed, in one group, rewarded by their retries.

    Nothing where fewer than two attempts failed at first: they compare with nothing.
    """
    members: list[Rollout] = []
    for rollout in group.rollouts:
        parts = tries(rollout)
        if len(parts) < 2 or parts[0].reflection is None:
            continue
        passed = parts[1].solved
        value = None if passed is None else float(passed)
        members.append(
            rollout._replace(
                calls=(parts[0].reflection,),
                score=Score(value=value, success=passed, source=rollout.score.source),
                assisted=False,
                notes=("a reflection, rewarded where its retry passed",),
            )
        )
    if len(members) > 1:
        yield Group(f"{group.id}-reflections", tuple(members))


def _pairs(rollout: Rollout) -> Iterator[tuple[Try, Try]]:
    return pairwise(tries(rollout))
