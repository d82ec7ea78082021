"""Samples: what a view picks out of rollouts, before a format spells it.

Three kinds, because trainers learn in three ways: from a demonstration to imitate, from a pair of
which one is preferred, and from a group whose rewards are compared. What a format cannot take of
a kind it refuses.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from agentlab.training.rollouts import Rollout

Kind = Literal["demonstration", "preference", "verdict", "group"]


class Demonstration(NamedTuple):
    """A rollout to imitate, call by call."""

    rollout: Rollout
    weights: tuple[float, ...]
    """One for each call of the rollout: how much its reply counts in the loss; 0 is context."""


class Preference(NamedTuple):
    """Two rollouts at one task of which the first is preferred."""

    chosen: Rollout
    rejected: Rollout
    rejected_calls: int
    """How many calls of the rejected one are shown; the rest is cut off."""


class Verdict(NamedTuple):
    """A rollout that is known to be good or bad."""

    rollout: Rollout
    good: bool


class Group(NamedTuple):
    """The rollouts at one task in one round, with known rewards."""

    id: str
    rollouts: tuple[Rollout, ...]

    @property
    def rewards(self) -> tuple[float, ...]:
        """Theirs, in order."""
        return tuple(r.reward for r in self.rollouts if r.reward is not None)


Sample = Demonstration | Preference | Verdict | Group
