"""An episode in progress: BabyAI's seven actions over immutable state values.

The rules are those of `MiniGridEnv.step` and `RoomGridLevel.step`, restated over cell numbers.
Every part of the state is a number or a tuple that is replaced when it changes, so saving and
restoring copy a dozen references. There is no planning here and nothing of tools or text.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import IntEnum
from functools import cached_property
from typing import TypeAlias

from agentlab.environments.babyai.goal import Goal
from agentlab.environments.babyai.layout import (
    CARRIED,
    CLOSED,
    EMPTY,
    GONE,
    LOCKED,
    OPEN,
    Layout,
)
from agentlab.environments.babyai.verifier import CONTINUE, SUCCESS, Verifier
from agentlab.errors import EnvironmentFaultError


class Move(IntEnum):
    """The primitive actions, numbered as minigrid numbers them."""

    LEFT = 0
    RIGHT = 1
    FORWARD = 2
    PICKUP = 3
    DROP = 4
    TOGGLE = 5
    DONE = 6


History: TypeAlias = "tuple[History, tuple[int, ...]] | None"
"""The moves so far, newest first: (what came before, the moves of one call)."""


class Saved:
    """A saved state. Opaque but for its `key`; safe to keep, never changed."""

    def __init__(self, world: World) -> None:
        self.layout = world.layout
        self.goal = world.goal
        self.pose = (world.cell, world.direction, world.front, world.carrying)
        self.cells = world.cells
        self.free = world.free
        self.where = world.where
        self.placed = world.placed
        self.doors = world.doors
        self.memory = world.memory
        self.steps = world.steps
        self.verdict = world.verdict
        self.reward = world.reward
        self.truncated = world.truncated
        self.history = world.history
        self._looks_back = world.verifier.looks_back

    @cached_property
    def key(self) -> Hashable:
        """Equal for states that behave alike from here on; the step count is left out."""
        placed = self.placed if self._looks_back else None
        return (
            self.pose,
            self.where,
            self.doors,
            self.memory,
            placed,
            self.verdict,
            self.truncated,
        )


class World:
    """The state of an episode, and how the primitive actions change it."""

    def __init__(self, layout: Layout, goal: Goal | None, max_steps: int) -> None:
        self.layout = layout
        self.goal = goal
        self.verifier = Verifier(layout, goal)
        self.max_steps = max_steps
        self._offsets = layout.offsets
        self._carriable = tuple(thing.kind != "door" for thing in layout.things)
        self._key_color = tuple(
            thing.color if thing.kind == "key" else None for thing in layout.things
        )
        self.cell: int = layout.agent
        self.direction: int = layout.direction
        self.front: int = self.cell + self._offsets[self.direction]
        self.carrying: int = layout.carried
        self.cells: tuple[int, ...] = layout.cells
        self.placed: tuple[int, ...] = tuple(thing.cell for thing in layout.things)
        self.where: tuple[int, ...] = tuple(
            CARRIED if index == layout.carried else cell for index, cell in enumerate(self.placed)
        )
        self.doors: tuple[int, ...] = tuple(thing.state for thing in layout.things)
        self.free: bytes = self._walkable()
        self.memory: tuple[int, ...] = self.verifier.initial
        self.steps: int = 0
        self.verdict: int = CONTINUE
        self.reward: float = 0.0
        self.truncated: bool = False
        self.history: History = None

    @property
    def over(self) -> bool:
        """Whether the episode has ended, by verdict or by the step cap."""
        return self.truncated or self.verdict != CONTINUE

    def act(self, move: int) -> bool:
        """Carry out one primitive action.

        Returns:
            Whether the episode is over now.
        """
        self.steps += 1
        if move == Move.FORWARD:
            if self.free[self.front]:
                self.cell = self.front
                self.front += self._offsets[self.direction]
        elif move <= Move.RIGHT:
            self.direction = (self.direction + (1 if move else 3)) & 3
            self.front = self.cell + self._offsets[self.direction]
        elif move == Move.PICKUP:
            self._pick_up()
        elif move == Move.DROP:
            self._drop()
        elif move == Move.TOGGLE:
            self._toggle()
        if self.steps >= self.max_steps:
            self.truncated = True
        verdict = self.verifier.verify(self, move)
        if verdict != CONTINUE:
            self.verdict = verdict
            if verdict == SUCCESS:
                self.reward = 1 - 0.9 * (self.steps / self.max_steps)
        return self.truncated or verdict != CONTINUE

    def run(self, moves: tuple[int, ...]) -> int:
        """Carry out moves until they, or the episode, end.

        Returns:
            How many were carried out.
        """
        done = 0
        for move in moves:
            done += 1
            if self.act(move):
                break
        if done:
            self.history = (self.history, moves[:done])
        return done

    def moves(self) -> tuple[int, ...]:
        """Every primitive action since the start, oldest first."""
        parts: list[tuple[int, ...]] = []
        link = self.history
        while link is not None:
            link, part = link
            parts.append(part)
        return tuple(move for part in reversed(parts) for move in part)

    def save(self) -> Saved:
        """The state now, verifier's memory included."""
        return Saved(self)

    def load(self, saved: Saved) -> None:
        """Go back to a saved state.

        Raises:
            EnvironmentFaultError: it is a state of another start or of another goal.
        """
        if saved.layout is not self.layout or saved.goal != self.goal:
            raise EnvironmentFaultError(
                "The snapshot belongs to another task; restore only what this task saved."
            )
        self.cell, self.direction, self.front, self.carrying = saved.pose
        self.cells = saved.cells
        self.free = saved.free
        self.where = saved.where
        self.placed = saved.placed
        self.doors = saved.doors
        self.memory = saved.memory
        self.steps = saved.steps
        self.verdict = saved.verdict
        self.reward = saved.reward
        self.truncated = saved.truncated
        self.history = saved.history

    def become(
        self,
        other: World,
        *,
        cells: tuple[int, ...],
        carrying: int,
        where: tuple[int, ...],
        placed: tuple[int, ...],
        doors: tuple[int, ...],
        memory: tuple[int, ...],
    ) -> None:
        """Take the pose and the count of another world, and the rest as given."""
        self.cell, self.direction, self.front = other.cell, other.direction, other.front
        self.steps = other.steps
        self.verdict, self.reward, self.truncated = other.verdict, other.reward, other.truncated
        self.cells, self.carrying = cells, carrying
        self.where, self.placed, self.doors, self.memory = where, placed, doors, memory
        self.free = self._walkable()

    def _walkable(self) -> bytes:
        doors = self.doors
        is_door = {self.layout.things[door].cell: door for door in self.layout.doors}
        return bytes(
            content == EMPTY or (cell in is_door and doors[is_door[cell]] == OPEN)
            for cell, content in enumerate(self.cells)
        )

    def _put(self, cell: int, content: int) -> None:
        self.cells = (*self.cells[:cell], content, *self.cells[cell + 1 :])
        self.free = b"%b%c%b" % (self.free[:cell], content == EMPTY, self.free[cell + 1 :])

    def _move_thing(self, thing: int, place: int) -> None:
        self.where = (*self.where[:thing], place, *self.where[thing + 1 :])

    def _pick_up(self) -> None:
        thing = self.cells[self.front]
        if thing >= 0 and self.carrying < 0 and self._carriable[thing]:
            self.carrying = thing
            self._put(self.front, EMPTY)
            self._move_thing(thing, CARRIED)

    def _drop(self) -> None:
        thing = self.carrying
        if thing >= 0 and self.cells[self.front] == EMPTY:
            self._put(self.front, thing)
            self._move_thing(thing, self.front)
            self.carrying = -1
        # minigrid looks its descriptions up again after every drop, even one that did nothing.
        self.placed = self.where

    def _toggle(self) -> None:
        thing = self.cells[self.front]
        if thing < 0:
            return
        kind = self.layout.things[thing].kind
        if kind == "door":
            self._toggle_door(thing)
        elif kind == "box":
            inside = self.layout.things[thing].contains
            self._put(self.front, inside if inside >= 0 else EMPTY)
            self._move_thing(thing, GONE)
            if inside >= 0:
                self._move_thing(inside, self.front)

    def _toggle_door(self, door: int) -> None:
        state = self.doors[door]
        if state == LOCKED:
            held = self.carrying
            if held < 0 or self._key_color[held] != self.layout.things[door].color:
                return
            state = OPEN
        else:
            state = CLOSED if state == OPEN else OPEN
        self.doors = (*self.doors[:door], state, *self.doors[door + 1 :])
        cell = self.front
        self.free = b"%b%c%b" % (self.free[:cell], state == OPEN, self.free[cell + 1 :])
