"""From a task to the start of its episode."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from agentlab.environments.babyai.composed import SETUPS, Restated, step_cap
from agentlab.environments.babyai.goal import Goal, goal_of
from agentlab.environments.babyai.language import read
from agentlab.environments.babyai.layout import Layout
from agentlab.environments.babyai.levels import (
    Level,
    composed_layout,
    composed_level,
    level_name,
    named_level,
    named_start,
)
from agentlab.errors import InvalidTaskError
from agentlab.types import Mission, Task


class Start(NamedTuple):
    """All that an episode starts from."""

    layout: Layout
    goal: Goal | None
    instruction: str
    max_steps: int
    build: Callable[[], Level]
    """Makes minigrid's own level of it."""


def start_of(task: Task, max_steps: int | None) -> Start:
    """The start of a task.

    Raises:
        InvalidTaskError: its setup names no start state of BabyAI, or its seed is negative.
        UnknownNameError: it names a level that minigrid does not have.
    """
    if task.seed < 0:
        raise InvalidTaskError(f"A layout seed cannot be negative: {task.seed}.")
    level = task.setup.get("level")
    if isinstance(level, str):
        return _named(task, level_name(level), max_steps)
    setup = task.setup.get("setup")
    if setup in SETUPS:
        known = setup
        layout = composed_layout(known, task.seed)
        goal = _stated(task)
        cap = max_steps or step_cap(goal, layout)
        return Start(
            layout,
            goal,
            task.instruction,
            cap,
            lambda: composed_level(known, goal, cap),
        )
    raise InvalidTaskError(
        f"The setup of task {task.id!r} names no start state of BabyAI: give 'setup' as one of "
        f"{', '.join(SETUPS)}, or 'level'."
    )


def _named(task: Task, level: str, max_steps: int | None) -> Start:
    start = named_start(level, task.seed, max_steps)
    if "mission" not in task.setup:
        return Start(*start, lambda: named_level(level, max_steps))
    goal = _stated(task)
    cap = max_steps or step_cap(goal, start.layout)
    ask = Restated(goal, cap)
    return Start(
        start.layout,
        goal,
        task.instruction,
        cap,
        lambda: named_level(level, max_steps, ask=ask),
    )


def _stated(task: Task) -> Goal | None:
    mission = task.setup.get("mission")
    if mission is None:
        return None
    return read(mission) if isinstance(mission, str) else goal_of(Mission.model_validate(mission))
