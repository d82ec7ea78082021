"""Advantages of exported groups, under a named estimator.

What an estimator compares is decided here: a group's rewards, a game and a role, or the states in
which calls were made. A state is what the model was last shown, by digest, so that it is the same
state wherever two attempts saw the same.
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
        values = self._played(group) if name == "rae" else _within(name, rewards)
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
        case "hierarchical":
            # Solvers' groups are of one task and proposers' of one round: each is a level of its
            # own, and nothing is compared across.
            return hierarchical([Solved("", None, tuple(rewards))]).solvers[0]
        case "dr-grpo":
            return dr_grpo(rewards)
        case _:
            return rloo(rewards)


def _anchors(rollout: Rollout) -> list[Anchored]:
    """The states in which its calls were made: the task, and what was last shown."""
    return [
        Anchored(digest(rollout.task.id, request_of(call).messages[-1].text))
        for call in rollout.calls
    ]
