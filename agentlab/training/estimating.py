"""Advantages of exported groups, under a named estimator.

What an estimator compares is decided here: a group's rewards, a game and a role, a proposer's
replies and each task's attempts, or the states in which calls were made. A state is what the
model was last shown, by digest, so that it is the same state wherever two attempts saw the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.training.advantages import (
    Advantages,
    Anchored,
    Estimator,
    Played,
    Solved,
    dr_grpo,
    gigpo,
    grpo,
    hierarchical,
    rae,
    rloo,
)
from agentlab.training.dialogues import request_of
from agentlab.training.formats.format import Body
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Group
from agentlab.types import digest

ESTIMATORS: dict[str, Estimator] = {
    each.name: each
    for each in (
        Estimator("grpo", (("epsilon", 1e-4), ("spread", "sample"))),
        Estimator("reflect", (("epsilon", 0.0), ("spread", "population"))),
        Estimator("hierarchical", (("epsilon", 1e-4), ("spread", "sample"))),
        Estimator("dr-grpo"),
        Estimator("rloo"),
        Estimator("rae", (("decay", 0.95),)),
        Estimator(
            "gigpo",
            (("discount", 0.95), ("weight", 1.0), ("epsilon", 1e-4), ("spread", "sample")),
        ),
    )
}
"""Each with the constants that its function has by default."""


class Estimating:
    """One export's advantages; `rae` remembers from group to group.

    Args:
        name: of the estimator.
    """

    def __init__(self, name: str) -> None:
        self.estimator = ESTIMATORS[name]
        self.alone = name == "rae"
        """Whether it has something to say of a group of one."""
        self._baselines: dict[tuple[str, str], float] = {}

    def of(self, group: Group) -> dict[str, Body]:
        """By rollout: `estimator`, `value`, and with `gigpo` one of `calls` for each call."""
        rewards = [rollout.reward for rollout in group.rollouts]
        name = self.estimator.name
        if name == "gigpo":
            steps = gigpo([_anchors(rollout) for rollout in group.rollouts], rewards)
            episodes = grpo(rewards)
            return {
                rollout.id: self._body(episode) | {"calls": list(calls)}
                for rollout, episode, calls in zip(group.rollouts, episodes, steps, strict=True)
            }
        match name:
            case "rae":
                values = self._played(group)
            case "hierarchical":
                values = _leveled(group.rollouts)
            case _:
                values = _within(name, rewards)
        return {
            rollout.id: self._body(value)
            for rollout, value in zip(group.rollouts, values, strict=True)
        }

    def _body(self, value: float | None) -> Body:
        return {"estimator": self.estimator.id, "value": value}

    def _played(self, group: Group) -> Advantages:
        rows = [
            Played(r.task.environment, r.calls[0].role if r.calls else "executor", r.reward)
            for r in group.rollouts
        ]
        found = rae(rows, self._baselines)
        self._baselines = found.baselines
        return found.advantages


def _within(name: str, rewards: Sequence[float | None]) -> Advantages:
    match name:
        case "grpo":
            return grpo(rewards)
        case "reflect":
            return grpo(rewards, spread="population", epsilon=0.0)
        case "dr-grpo":
            return dr_grpo(rewards)
        case _:
            return rloo(rewards)


def _leveled(rollouts: Sequence[Rollout]) -> Advantages:
    """Proposers' replies within the group, and solvers within the task that they were given.

    A reply has no attempts of its own here: its reward already says what came of its tasks.
    """
    replies = [place for place, each in enumerate(rollouts) if _proposes(each)]
    attempts: dict[str, list[int]] = {}
    for place, each in enumerate(rollouts):
        if not _proposes(each):
            attempts.setdefault(each.task.id, []).append(place)
    proposed = [Solved("proposals", rollouts[place].reward, ()) for place in replies]
    solved = [
        Solved(task, None, tuple(rollouts[place].reward for place in places))
        for task, places in attempts.items()
    ]
    found = hierarchical([*proposed, *solved])
    values: list[float | None] = [None] * len(rollouts)
    for place, value in zip(replies, found.proposers[: len(replies)], strict=True):
        values[place] = value
    for places, within in zip(attempts.values(), found.solvers[len(replies) :], strict=True):
        for place, value in zip(places, within, strict=True):
            values[place] = value
    return tuple(values)


def _proposes(rollout: Rollout) -> bool:
    return bool(rollout.calls) and rollout.calls[0].role == "proposer"


def _anchors(rollout: Rollout) -> list[Anchored]:
    """The states in which its calls were made: the task, and what was last shown."""
    return [
        Anchored(digest(rollout.task.id, request_of(call).messages[-1].text))
        for call in rollout.calls
    ]
