"""BabyAI's levels as minigrid builds them, ours and its own, and the start states they give.

A level is built silently and draws no images. What leaves this file is a `Layout`, which no
longer knows minigrid; reading one is the only place where its objects are looked into.
"""

# minigrid is annotated only in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple, Protocol, cast

import gymnasium
from minigrid.core.world_object import Box, Door, WorldObj
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel

from agentlab.environments.babyai import layout as start
from agentlab.environments.babyai.composed import (
    LEAST_STEPS,
    ComposedLevel,
    QuietLevel,
    Restated,
    Setup,
)
from agentlab.environments.babyai.goal import Goal
from agentlab.environments.babyai.instructions import goal_of_instruction
from agentlab.environments.babyai.layout import GONE, Layout, Thing, locations_from, numbered
from agentlab.errors import UnknownNameError


class Level(Protocol):
    """A minigrid level, as far as it is played here."""

    actions: Any
    instrs: Any
    mission: str
    max_steps: int

    def reset(self, *, seed: int) -> object:
        """Build the start state of a seed."""
        ...

    def step(self, action: int) -> tuple[object, float, bool, bool, object]:
        """Observation (empty here), reward, terminated, truncated, information."""
        ...


def read_layout(env: RoomGridLevel) -> Layout:
    """The start state of a level that was just reset."""
    width, height = int(env.grid.width), int(env.grid.height)
    agent = int(env.agent_pos[1]) * width + int(env.agent_pos[0])
    direction = int(env.agent_dir)
    content = env.grid.grid
    found = [
        (cell, thing)
        for cell, thing in enumerate(content)
        if thing is not None and thing.type != "wall"
    ]
    carried = env.carrying
    if carried is not None:
        position = cast("Sequence[int]", carried.init_pos)
        found.append((int(position[1]) * width + int(position[0]), carried))
    objects = [thing for _, thing in found]
    for thing in objects:  # grows while boxes are unpacked
        if isinstance(thing, Box) and thing.contains is not None:
            objects.append(thing.contains)
            found.append((GONE, thing.contains))
    index = {id(thing): i for i, thing in enumerate(objects)}
    things = tuple(
        Thing(
            kind=thing.type,
            color=thing.color,
            cell=cell,
            state=_door_state(thing),
            contains=index[id(thing.contains)] if thing.contains is not None else -1,
        )
        for cell, thing in found
    )
    cells = tuple(
        start.EMPTY if thing is None else (start.WALL if thing.type == "wall" else index[id(thing)])
        for thing in content
    )
    return Layout(
        width=width,
        height=height,
        room_size=int(env.room_size),
        columns=int(env.num_cols),
        rows=int(env.num_rows),
        cells=cells,
        things=things,
        agent=agent,
        direction=direction,
        references=numbered(things),
        locations=tuple(
            locations_from(
                thing.cell,
                agent=agent,
                direction=direction,
                width=width,
                room_size=int(env.room_size),
            )
            if thing.cell >= 0
            else ()
            for thing in things
        ),
        carried=index[id(carried)] if carried is not None else -1,
    )


def _door_state(thing: WorldObj) -> int:
    if not isinstance(thing, Door) or thing.is_open:
        return start.OPEN
    return start.LOCKED if thing.is_locked else start.CLOSED


@lru_cache(maxsize=2048)
def composed_layout(setup: Setup, seed: int) -> Layout:
    """The start state of a setup and a seed, whatever the mission."""
    env = _bare_level(setup)
    env.reset(seed=seed)
    return read_layout(env)


@cache
def _bare_level(setup: Setup) -> RoomGridLevel:
    return _without_images(ComposedLevel(setup, None, LEAST_STEPS))


class NamedStart(NamedTuple):
    """A named level with a seed: its start state and what minigrid asks for in it."""

    layout: Layout
    goal: Goal
    instruction: str
    max_steps: int


@lru_cache(maxsize=1024)
def named_start(level: str, seed: int, max_steps: int | None = None) -> NamedStart:
    """The start state and goal of one of BabyAI's own levels."""
    env = _named_level(level, max_steps)
    env.reset(seed=seed)
    return NamedStart(
        layout=read_layout(env),
        goal=goal_of_instruction(cast("Level", env).instrs),
        instruction=cast("Level", env).mission,
        max_steps=int(env.max_steps),
    )


@cache
def level_ids() -> dict[str, str]:
    """Short level name (`GoToLocal`) to the id under which minigrid registers it."""
    ids = sorted(name for name in gymnasium.registry if name.startswith("BabyAI-"))
    return {name.removeprefix("BabyAI-").rpartition("-v")[0]: name for name in ids}


def level_name(name: str) -> str:
    """The short name of a level, from that or from minigrid's id.

    Raises:
        UnknownNameError: minigrid has no such BabyAI level.
    """
    short = name.removeprefix("BabyAI-")
    short = short.rpartition("-v")[0] or short
    if short not in level_ids():
        raise UnknownNameError("BabyAI level", name, level_ids())
    return short


def named_level(name: str, max_steps: int | None = None, *, ask: Restated | None = None) -> Level:
    """One of BabyAI's own levels by its short name, silent and without images.

    Args:
        name: short name, such as `GoToLocal`.
        max_steps: the level's own cap by default.
        ask: a goal to state in its start states instead of its own missions.
    """
    level = _named_level(name, max_steps)
    level.restated = ask
    return cast("Level", level)


def composed_level(setup: Setup, goal: Goal | None, max_steps: int) -> Level:
    """Our level with a goal, silent and without images."""
    return cast("Level", _without_images(ComposedLevel(setup, goal, max_steps)))


def _named_level(name: str, max_steps: int | None) -> QuietLevel:
    spec = gymnasium.registry[level_ids()[name]]
    module, _, attribute = cast("str", spec.entry_point).partition(":")
    base = cast("type[RoomGridLevel]", getattr(importlib.import_module(module), attribute))
    options = dict(spec.kwargs)
    if max_steps is not None:
        options["max_steps"] = max_steps
    quiet = cast("Callable[..., QuietLevel]", type(base.__name__, (QuietLevel, base), {}))
    level = quiet(**options)
    _without_images(level)
    return level


def _without_images(level: RoomGridLevel) -> RoomGridLevel:
    # Encoding the 7 x 7 image is most of the cost of a minigrid step, and nobody looks at it.
    cast("Any", level).gen_obs = dict
    return level
