"""A solution in tool calls, planned clause by clause on the instruction.

Greedy with backtracking over which thing a description means: enough to know a solution of
nearly every composed task, and of most of BabyAI's levels. It moves nothing out of the way and
opens no box to look inside; where that is needed it knows none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agentlab.environments.babyai.goal import Action, actions
from agentlab.environments.babyai.layout import LOCKED, OPEN
from agentlab.environments.babyai.paths import facing, reach
from agentlab.environments.babyai.tools import plan_objects
from agentlab.environments.babyai.verifier import SUCCESS
from agentlab.environments.babyai.world import World
from agentlab.types import ToolCall

_DEPTH = 8
"""Doors that may have to be opened for one another."""


class Solver:
    """Solves one world, from its state now; the world is used up."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls: list[ToolCall] = []

    def solve(self) -> tuple[ToolCall, ...] | None:
        """Calls that meet the goal, or None where none were found."""
        if self._world.goal is None:
            return None
        if self._meet(list(actions(self._world.goal))):
            return tuple(self._calls)
        return None

    def unlock_any(self) -> tuple[ToolCall, ...]:
        """Calls that open some locked door, or none where no key is known."""
        for door in self._world.layout.doors:
            if self._world.doors[door] == LOCKED and self._open(door, _DEPTH):
                break
        return tuple(self._calls)

    def _meet(self, todo: list[Action]) -> bool:
        if self._world.over:
            return self._world.verdict == SUCCESS
        if not todo:
            return False
        saved, made = self._world.save(), len(self._calls)
        for attempt in self._ways(todo[0]):
            if (attempt() or self._world.over) and self._meet(todo[1:]):
                return True
            self._world.load(saved)
            del self._calls[made:]
        return False

    def _ways(self, action: Action) -> Iterator[Callable[[], bool]]:
        layout = self._world.layout
        for x in layout.matches(action.x):
            if action.y is not None:
                for y in layout.matches(action.y):
                    if x != y:
                        yield lambda x=x, y=y: self._put_next(x, y)
            elif action.verb == "go_to":
                yield lambda x=x: self._go_to(x)
            elif action.verb == "open":
                yield lambda x=x: self._open(x, _DEPTH)
            else:
                yield lambda x=x: self._pick_up(x, _DEPTH)

    def _call(self, tool: str, thing: int | None = None) -> bool:
        arguments = {} if thing is None else {"target": self._world.layout.references[thing]}
        call = ToolCall(tool=tool, arguments=dict(arguments))
        plan = plan_objects(self._world, call)
        if plan.error is not None or self._world.over:
            return False
        self._world.run(plan.moves)
        self._calls.append(call)
        return True

    def _go_to(self, thing: int) -> bool:
        if self._world.carrying == thing and not self._call("drop"):
            return False
        return self._clear_way(thing, _DEPTH) and self._call("go_to", thing)

    def _pick_up(self, thing: int, depth: int) -> bool:
        if self._world.carrying == thing and not self._call("drop"):
            return False
        return (
            self._clear_way(thing, depth) and self._empty_hands() and self._call("pick_up", thing)
        )

    def _put_next(self, x: int, y: int) -> bool:
        if self._world.carrying == y and not self._call("drop"):
            return False
        # The way to y first: its doors may need a key, and the hands are full later.
        if self._world.carrying != x:
            if not self._clear_way(y, _DEPTH) or not self._pick_up(x, _DEPTH):
                return False
        return self._clear_way(y, _DEPTH) and self._call("put_next_to", y)

    def _open(self, door: int, depth: int) -> bool:
        if not self._key_for(door, depth) or not self._clear_way(door, depth):
            return False
        return self._call("open", door)

    def _empty_hands(self) -> bool:
        return self._world.carrying < 0 or self._call("drop")

    def _key_for(self, door: int, depth: int) -> bool:
        world = self._world
        if world.doors[door] != LOCKED:
            return True
        if depth == 0:
            return False
        color = world.layout.things[door].color
        keys = [
            index
            for index, thing in enumerate(world.layout.things)
            if thing.kind == "key" and thing.color == color
        ]
        if world.carrying in keys:
            return True
        saved, made = world.save(), len(self._calls)
        for key in keys:
            if self._empty_hands() and self._pick_up(key, depth - 1):
                return True
            world.load(saved)
            del self._calls[made:]
        return False

    def _clear_way(self, thing: int, depth: int) -> bool:
        """Open every closed door between the agent and a thing."""
        for _ in range(depth):
            if self._reaches(thing, self._world.free):
                return True
            door = self._first_door(thing)
            if door is None or not self._open(door, depth - 1):
                return False
        return self._reaches(thing, self._world.free)

    def _reaches(self, thing: int, free: bytes) -> bool:
        world = self._world
        cell = world.where[thing]
        width = world.layout.width
        if cell < 0:
            return False
        return reach(free, width, world.cell, world.direction).to_pose(facing(cell, width)) >= 0

    def _first_door(self, thing: int) -> int | None:
        """The first closed door on the way to a thing, were every door open."""
        world = self._world
        layout = world.layout
        closed = {
            world.where[door]: door
            for door in layout.doors
            if world.doors[door] != OPEN and door != thing
        }
        free = bytearray(world.free)
        for cell in closed:
            free[cell] = 1
        known = reach(bytes(free), layout.width, world.cell, world.direction)
        pose = known.to_pose(facing(world.where[thing], layout.width))
        if pose < 0:
            return None
        cell, direction = world.cell, world.direction
        for move in known.moves(pose):
            if move == 2:
                cell += layout.offsets[direction]
                if cell in closed:
                    return closed[cell]
            else:
                direction = (direction + (1 if move else 3)) & 3
        return None
