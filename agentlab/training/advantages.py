"""Advantages: how much better an attempt, or a step of it, was than what it is compared with.

Published estimators under one name do not agree (GRPO's standard deviation, its epsilon, what a
group of one gets), so rewards and group ids are what an export carries; an advantage stands
beside them only together with `Estimator.id`, which names the rule and every constant of it.

A reward of None is unknown, not 0: it is compared with nothing and gets None.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, NamedTuple

from agentlab.errors import UsageError
from agentlab.types import digest

Spread = Literal["sample", "population"]
Advantages = tuple[float | None, ...]


class Estimator(NamedTuple):
    """A rule with its constants."""

    name: str
    constants: tuple[tuple[str, str | float], ...] = ()

    @property
    def id(self) -> str:
        """Names the rule and a digest of its constants, such as `grpo-3f09a1c2`."""
        return f"{self.name}-{digest(self.name, dict(self.constants))[:8]}"

    @property
    def spelt(self) -> str:
        """The rule and its constants in words, after the id."""
        said = ", ".join(f"{name} {value}" for name, value in self.constants)
        return f"{self.id} ({said})" if said else self.id


def grpo(
    rewards: Sequence[float | None], *, spread: Spread = "sample", epsilon: float = 1e-4
) -> Advantages:
    """(r - mean) / (deviation + epsilon) within one group.

    Shao et al. 2024, "DeepSeekMath", equation for outcome supervision. The constants are TRL's:
    sample deviation and 1e-4; verl has 1e-6, ART the population's deviation and 1e-6. We differ
    from verl in refusing a group of one, which there keeps its bare reward.

    Args:
        rewards: of the attempts of a group.
        spread: which standard deviation.
        epsilon: added to it.

    Raises:
        UsageError: fewer than two rewards are known.
    """
    known = _known(rewards, "GRPO")
    mean = math.fsum(known) / len(known)
    freedom = len(known) - 1 if spread == "sample" else len(known)
    deviation = math.sqrt(math.fsum((r - mean) ** 2 for r in known) / freedom)
    # Where all are alike and nothing is added, there is nothing to divide: no one was better.
    scale = (deviation + epsilon) or 1.0
    return tuple(None if r is None else (r - mean) / scale for r in rewards)


def dr_grpo(rewards: Sequence[float | None]) -> Advantages:
    """The reward less the mean of one group; the loss is then divided by a constant, not by length.

    Liu et al. 2025, "Understanding R1-Zero-Like Training": neither the deviation nor a row's
    length divides, because both favour some questions and some answers over others.

    Raises:
        UsageError: fewer than two rewards are known.
    """
    known = _known(rewards, "Dr. GRPO")
    mean = math.fsum(known) / len(known)
    return tuple(None if r is None else r - mean for r in rewards)


def rloo(rewards: Sequence[float | None]) -> Advantages:
    """The reward less the mean of the others of its group.

    Ahmadian et al. 2024, "Back to Basics". The same as n / (n - 1) times Dr. GRPO's.

    Raises:
        UsageError: fewer than two rewards are known.
    """
    known = _known(rewards, "RLOO")
    whole, others = math.fsum(known), len(known) - 1
    return tuple(None if r is None else r - (whole - r) / others for r in rewards)


class Played(NamedTuple):
    """A reward in a part that an agent played."""

    game: str
    role: str
    reward: float | None


class RoleConditioned(NamedTuple):
    """Advantages, and the baselines that the next export begins with."""

    advantages: Advantages
    baselines: dict[tuple[str, str], float]


def rae(
    rows: Sequence[Played],
    baselines: Mapping[tuple[str, str], float] | None = None,
    *,
    decay: float = 0.95,
) -> RoleConditioned:
    """Reward less a moving average of the rewards in the same game and role.

    Liu et al. 2025, "SPIRAL", role-conditioned advantage estimation: a baseline starts at 0 and
    follows after each row. It needs no siblings, so it suits tasks that were tried once. The
    release keys baselines by role alone, one game to a run; we key by both.

    Args:
        rows: in the order in which they were played.
        baselines: by game and role, from before.
        decay: what a baseline keeps of itself.
    """
    now = dict(baselines or {})
    found: list[float | None] = []
    for row in rows:
        if row.reward is None:
            found.append(None)
            continue
        key = (row.game, row.role)
        before = now.get(key, 0.0)
        found.append(row.reward - before)
        now[key] = decay * before + (1 - decay) * row.reward
    return RoleConditioned(tuple(found), now)


class Solved(NamedTuple):
    """A proposed task: in which group of proposals, its own reward and those of its attempts."""

    group: Hashable
    reward: float | None
    """What the proposal was worth; None where that is unknown."""
    attempts: tuple[float | None, ...]


class Hierarchical(NamedTuple):
    """Advantages on both levels, in the order of the tasks."""

    proposers: Advantages
    solvers: tuple[Advantages, ...]


def hierarchical(
    tasks: Sequence[Solved], *, spread: Spread = "sample", epsilon: float = 1e-4
) -> Hierarchical:
    """GRPO on two levels: solvers within their task, proposers within their group of proposals.

    As prime-rl has it for tasks that the policy proposes itself: a solver's reward says nothing
    beside that at another task, and a proposal's nothing beside that of another round. A level
    with fewer than two known rewards compares with nothing there and gets None.

    Args:
        tasks: in any order.
        spread: which standard deviation.
        epsilon: added to it.
    """
    members: dict[Hashable, list[int]] = {}
    for place, task in enumerate(tasks):
        members.setdefault(task.group, []).append(place)
    proposers: list[float | None] = [None] * len(tasks)
    for places in members.values():
        found = _within([tasks[place].reward for place in places], spread=spread, epsilon=epsilon)
        for place, value in zip(places, found, strict=True):
            proposers[place] = value
    solvers = tuple(_within(task.attempts, spread=spread, epsilon=epsilon) for task in tasks)
    return Hierarchical(tuple(proposers), solvers)


def _within(rewards: Sequence[float | None], *, spread: Spread, epsilon: float) -> Advantages:
    if sum(reward is not None for reward in rewards) < 2:
        return (None,) * len(rewards)
    return grpo(rewards, spread=spread, epsilon=epsilon)


class Anchored(NamedTuple):
    """A step: the state in which it was taken, and what it earned by itself."""

    state: Hashable
    reward: float = 0.0


def gigpo(
    trajectories: Sequence[Sequence[Anchored]],
    rewards: Sequence[float | None],
    *,
    discount: float = 0.95,
    weight: float = 1.0,
    spread: Spread = "sample",
    epsilon: float = 1e-4,
) -> tuple[tuple[float | None, ...], ...]:
    """An advantage for each step: the episode's, and that among steps from the same state.

    Feng et al. 2025, "Group-in-Group Policy Optimization": A = A_episode + w * A_step, where
    A_step normalises discounted returns within all steps that a group's trajectories took from
    one anchor state. The return of a step counts its own reward and what came after it; the
    episode's reward is taken to come with the last step. A state met once compares with nothing
    and adds 0.

    Args:
        trajectories: of one group, each with its steps in order.
        rewards: of the episodes.
        discount: for each step that passes.
        weight: of the step's part.
        spread: which standard deviation.
        epsilon: added to it.

    Returns:
        A value for each step of each trajectory; None throughout one whose reward is unknown.

    Raises:
        UsageError: the counts differ, or fewer than two rewards are known.
    """
    if len(trajectories) != len(rewards):
        raise UsageError(
            f"GiGPO was given {len(trajectories)} trajectories and {len(rewards)} rewards."
        )
    episodes = grpo(rewards, spread=spread, epsilon=epsilon)
    returns = [
        None if reward is None else _returns(steps, reward, discount)
        for steps, reward in zip(trajectories, rewards, strict=True)
    ]
    anchors: dict[Hashable, list[tuple[int, int]]] = {}
    for place, steps in enumerate(trajectories):
        if returns[place] is not None:
            for at, step in enumerate(steps):
                anchors.setdefault(step.state, []).append((place, at))
    found: list[list[float | None]] = [
        [episode] * len(steps) for steps, episode in zip(trajectories, episodes, strict=True)
    ]
    for members in anchors.values():
        if len(members) < 2:
            continue
        values = [part[at] for place, at in members if (part := returns[place]) is not None]
        local = grpo(values, spread=spread, epsilon=epsilon)
        for (place, at), value in zip(members, local, strict=True):
            before = found[place][at]
            if before is not None and value is not None:
                found[place][at] = before + weight * value
    return tuple(tuple(steps) for steps in found)


def _returns(steps: Sequence[Anchored], reward: float, discount: float) -> list[float]:
    found: list[float] = []
    later = reward
    for step in reversed(steps):
        # The episode's reward arrives with the last step, so it is discounted from there.
        later = step.reward + (discount * later if found else later)
        found.append(later)
    return found[::-1]


def _known(rewards: Sequence[float | None], rule: str) -> list[float]:
    known = [reward for reward in rewards if reward is not None]
    if len(known) < 2:
        raise UsageError(
            f"{rule} compares attempts within a group, and this one has {len(known)} with a known "
            "reward; practise with more attempts for each task, or take the estimator 'rae'."
        )
    return known
