"""minigrid as the last word: a win of the fast engine is replayed by minigrid's own step.

Search runs on `World`, which restates BabyAI's rules; what counts as success is decided here,
by the level, the verifier and the step of minigrid, from the primitive actions alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from agentlab.environments.babyai.levels import Level
from agentlab.errors import EnvironmentFaultError


class Verdict(NamedTuple):
    """What minigrid made of a sequence of primitive actions."""

    steps: int
    """How many of them it took before the episode ended."""
    reward: float
    terminated: bool
    truncated: bool


class Referee:
    """Replays primitive actions in one task; the level is built for each."""

    def __init__(self, build: Callable[[], Level], seed: int) -> None:
        self._build = build
        self._seed = seed

    def replay(self, moves: Sequence[int]) -> Verdict:
        """What minigrid says of these moves from the start."""
        level = self._build()
        level.reset(seed=self._seed)
        for count, move in enumerate(moves, 1):
            _, reward, terminated, truncated, _ = level.step(move)
            if terminated or truncated:
                return Verdict(count, float(reward), terminated, truncated)
        return Verdict(len(moves), 0.0, False, False)

    def confirm(self, moves: Sequence[int], *, reward: float, truncated: bool) -> None:
        """Check an episode that the fast engine ended.

        Raises:
            EnvironmentFaultError: minigrid disagrees.
        """
        verdict = self.replay(moves)
        expected = Verdict(len(moves), reward, True, truncated)
        same = abs(verdict.reward - reward) < 1e-9 and verdict[2:] == expected[2:]
        if not same or verdict.steps != len(moves):
            raise EnvironmentFaultError(
                f"BabyAI's engine and minigrid disagree about an episode of {len(moves)} moves "
                f"({expected} against {verdict}); report this with the task's seed."
            )
