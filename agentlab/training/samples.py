"""Samples: what a view picks out of rollouts, before a format spells it.

Five kinds, because trainers learn in few ways: from a demonstration to imitate, from a pair of
which one is preferred, from a lone verdict, and from a group whose rewards are compared; and a
dialogue put together from several attempts, which has no token ids of its own. What a format
cannot take of a kind it refuses.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from agentlab.training.dialogues import Dialogue
from agentlab.training.rollouts import Rollout

Kind = Literal["demonstration", "composed", "preference", "verdict", "group"]


class Demonstration(NamedTuple):
    """A rollout to imitate, call by call."""

    rollout: Rollout
    weights: tuple[float, ...]
    """One for each call of the rollout: how much its reply counts in the loss; 0 is context."""


class Composed(NamedTuple):
    """A dialogue that no attempt had as it stands."""

    rollouts: tuple[Rollout, ...]
    """Whose words it is made of, the first the one whose task it is."""
    dialogue: Dialogue
    weights: tuple[float, ...]
    """One for each message: how much it counts in the loss; 0 is context."""


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
    """Rollouts whose rewards are compared: those at one task in one round, with known rewards."""

    id: str
    rollouts: tuple[Rollout, ...]
    advantages: tuple[float, ...] | None = None
    """Where the view's own rule gives them; then a group may have one member."""
    rule: str = ""
    """Names that rule and its constants."""
    alone: bool = False
    """Whether the estimator compares with something else than the group, as `rae` does."""
    hint_removed: bool = False
    """Whether its rollouts were drawn under a hint that their prompts no longer hold: what was
    recorded is the probability with it, and the loss treats the ratio otherwise (Guide)."""
    replay_weight: float | None = None
    """Of rollouts that are replayed, what their loss is scaled by, from 0 to 1 (SPEAR)."""

    @property
    def least(self) -> int:
        """Members with a known reward that it must have to say anything."""
        return 1 if self.alone or self.advantages is not None else 2

    @property
    def rewards(self) -> tuple[float, ...]:
        """Theirs, in order."""
        return tuple(r.reward for r in self.rollouts if r.reward is not None)


Sample = Demonstration | Composed | Preference | Verdict | Group


def members_of(sample: Sample) -> tuple[Rollout, ...]:
    """The rollouts of a sample, the one that its first row shows first."""
    match sample:
        case Preference():
            return (sample.chosen, sample.rejected)
        case Group() | Composed():
            return sample.rollouts
        case Demonstration() | Verdict():
            return (sample.rollout,)
