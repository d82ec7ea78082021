"""One BabyAI level of ours: a start state by setup and seed, with any goal stated in it.

A composed level takes its layout from the seed alone and its instruction from the goal, so that
every mission can be stated in every start state. All layouts are built of minigrid's own rooms,
doors and things, everything can be reached, and the cells beside doors are left free.
"""

# minigrid is annotated only in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast, get_args

from minigrid.core.world_object import Door, WorldObj
from minigrid.envs.babyai.core import verifier as rules
from minigrid.envs.babyai.core.roomgrid_level import RejectSampling, RoomGridLevel
from minigrid.minigrid_env import MiniGridEnv

from agentlab.environments.babyai.goal import COLORS, Goal, navigations
from agentlab.environments.babyai.instructions import instruction_of
from agentlab.environments.babyai.layout import Layout

Setup = Literal["room", "doors", "locked", "across"]
SETUPS: tuple[Setup, ...] = get_args(Setup)
"""Families of start states, easier ones first."""

LEAST_STEPS = 256
"""Step cap of a composed task where BabyAI's formula gives less."""


class _Rooms(NamedTuple):
    """Size of a setup's grid of rooms."""

    side: int
    columns: int
    rows: int


_ROOMS: dict[Setup, _Rooms] = {
    "room": _Rooms(8, 1, 1),
    "doors": _Rooms(6, 2, 2),
    "locked": _Rooms(7, 2, 1),
    "across": _Rooms(7, 2, 1),
}


class Restated(NamedTuple):
    """Another goal for a level's start state."""

    goal: Goal | None
    max_steps: int


class QuietLevel(RoomGridLevel):
    """Samples until a level is accepted, as minigrid does, without printing each rejection."""

    instrs: rules.Instr
    surface: str
    restated: Restated | None = None
    """What to ask instead of the level's own mission, once its layout is built."""

    def reset(self, **kwargs: Any) -> Any:
        """Build the start state; then, if another goal was given, state that."""
        result = super().reset(**kwargs)
        if self.restated is not None:
            self.instrs = instruction_of(self.restated.goal)
            self.mission = cast("str", self.instrs.surface(self))
            self.instrs.reset_verifier(self)
            self.max_steps = self.restated.max_steps
        return result

    def _gen_grid(self, width: int, height: int) -> None:
        while True:
            try:
                super(RoomGridLevel, self)._gen_grid(width, height)
                self.gen_mission()
                self.validate_instrs(self.instrs)
            except (RecursionError, RejectSampling):
                continue
            break
        self.surface = cast("str", self.instrs.surface(self))
        self.mission = self.surface


class ComposedLevel(QuietLevel):
    """A level whose layout depends on the setup and the seed, and on nothing else."""

    def __init__(self, setup: Setup, goal: Goal | None, max_steps: int) -> None:
        self._setup: Setup = setup
        self._goal = goal
        rooms = _ROOMS[setup]
        super().__init__(
            room_size=rooms.side,
            num_cols=rooms.columns,
            num_rows=rooms.rows,
            max_steps=max_steps,
        )

    def validate_instrs(self, instr: object) -> None:
        """Accept any: a rejected sample would change the layout; `grammar` refuses instead."""

    def gen_mission(self) -> None:
        """Build the layout, then state the goal in it."""
        {
            "room": self._room,
            "doors": self._doors,
            "locked": self._locked,
            "across": self._across,
        }[self._setup]()
        self.check_objs_reachable()
        self.instrs = instruction_of(self._goal)

    def place_in_room(self, i: int, j: int, obj: WorldObj) -> tuple[WorldObj, tuple[int, int]]:
        """Put a thing into a room, away from its doorways."""
        room = self.get_room(i, j)
        pos = self.place_obj(obj, room.top, room.size, reject_fn=_beside_a_door, max_tries=1000)
        room.objs.append(obj)
        return obj, pos

    def _room(self) -> None:
        self.add_distractors(num_distractors=8, all_unique=bool(self._rand_bool()))
        self.place_agent()

    def _doors(self) -> None:
        self.place_agent()
        self.connect_all()
        for row in range(self.num_rows):
            for column in range(self.num_cols):
                self.add_distractors(column, row, 2, all_unique=bool(self._rand_bool()))

    def _locked(self) -> None:
        here = int(self._rand_int(0, 2))
        door, _ = self.add_door(here, 0, 2 if here else 0, locked=True)
        self.add_object(here, 0, "key", door.color)
        others = [color for color in COLORS if color != door.color]
        self.add_object(here, 0, "key", others[int(self._rand_int(0, len(others)))])
        self.add_distractors(here, 0, 3, all_unique=True)
        self.add_distractors(1 - here, 0, 4, all_unique=True)
        self.place_agent(here, 0)

    def _across(self) -> None:
        self.add_door(0, 0, 0, locked=False)
        for column in (0, 1):
            self.add_distractors(column, 0, 4, all_unique=True)
        self.place_agent(int(self._rand_int(0, 2)), 0)


def _beside_a_door(env: MiniGridEnv, pos: tuple[int, int]) -> bool:
    x, y = int(pos[0]), int(pos[1])
    return any(
        isinstance(env.grid.get(x + dx, y + dy), Door)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))
        if 0 <= x + dx < env.width and 0 <= y + dy < env.height
    )


def step_cap(goal: Goal | None, layout: Layout) -> int:
    """BabyAI's step cap, walks times cells of all rooms, but enough for careless tool use."""
    walks = navigations(goal) if goal is not None else 1
    return max(LEAST_STEPS, walks * layout.room_size**2 * layout.columns * layout.rows)
