"""minigrid's BabyAIBot: the ceiling for every BabyAI task, and a source of solutions.

The bot can loop or fail an assertion where a level is beyond it; it is stopped then, and its
failure is data.
"""

# minigrid is annotated only in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any, NamedTuple, cast

from minigrid.utils.baby_ai_bot import BabyAIBot

from agentlab.environments.babyai.levels import Level

SEARCHES = 20_000
"""Path searches a bot may make in one episode before it is taken to be lost."""

SUBGOALS = 5_000
"""Subgoals it may stack in one episode."""


class BotRun(NamedTuple):
    """What the bot made of a task."""

    solved: bool
    moves: tuple[int, ...]
    """Its primitive actions."""
    reason: str = ""
    """Why it stopped, where it did not solve the task."""


class _LostError(Exception):
    """The bot goes in circles."""


class _Stack(list[Any]):
    """The bot's subgoals, with a limit on how many it may ever have."""

    def __init__(self) -> None:
        super().__init__()
        self._pushed = 0

    def append(self, item: Any, /) -> None:
        self._pushed += 1
        if self._pushed > SUBGOALS:
            raise _LostError(f"more than {SUBGOALS} subgoals")
        super().append(item)


class _Bot(BabyAIBot):
    def __init__(self, level: Any) -> None:
        super().__init__(level)
        planned = self.stack
        self.stack = _Stack()
        self.stack.extend(planned)

    def _breadth_first_search(self, *args: Any, **kwargs: Any) -> Any:
        if self.bfs_counter > SEARCHES:
            raise _LostError(f"more than {SEARCHES} path searches")
        return cast("Any", super()._breadth_first_search(*args, **kwargs))


def run_bot(level: Level, max_steps: int) -> BotRun:
    """Let the bot play a level that was just reset, for at most `max_steps` moves."""
    moves: list[int] = []
    try:
        bot = _Bot(level)
        while len(moves) < max_steps:
            move = cast("int", bot.replan())
            moves.append(move)
            _, reward, terminated, truncated, _ = level.step(move)
            if terminated or truncated:
                return BotRun(terminated and reward > 0, tuple(moves), "the episode ended")
            if move == level.actions.done:
                return BotRun(False, tuple(moves), "it thought that it was done")
    except Exception as error:  # its assertions are how it says that it is stuck
        return BotRun(False, tuple(moves), f"{type(error).__name__}: {error}")
    return BotRun(False, tuple(moves), "the step cap")
