"""What the agent has seen so far: a map with holes, and the things found on it.

The belief is told only what lies in view at each step (`look`). From it alone a `World` can be
built, to plan in and to simulate: cells nobody saw cannot be walked, things nobody saw do not
exist, boxes are empty, and the goal is read from the instruction and holds over seen things.
The size of the rooms counts as known, because location words need it.
"""

from __future__ import annotations

from agentlab.environments.babyai.goal import Goal
from agentlab.environments.babyai.layout import (
    CLOSED,
    EMPTY,
    LOCKED,
    OPEN,
    UNSEEN,
    Layout,
)
from agentlab.environments.babyai.paths import facing, reach
from agentlab.environments.babyai.sight import opaque, visible
from agentlab.environments.babyai.world import Move, World
from agentlab.types import JsonObject


class Belief:
    """The memory of one episode in the partial view."""

    def __init__(self, truth: World, goal: Goal | None) -> None:
        self._truth = truth
        self._goal = goal
        self._seen = bytearray(len(truth.cells))
        self._known: list[int] = []
        self._references: list[JsonObject] = []
        self._looks: dict[tuple[str, str], int] = {}
        if truth.carrying >= 0:
            self._discover([truth.carrying])
        self.look()

    @property
    def seen(self) -> int:
        """How many cells have been seen."""
        return sum(self._seen)

    @property
    def things(self) -> int:
        """How many things have been seen."""
        return len(self._known)

    def look(self) -> None:
        """Take in what lies in view now."""
        truth = self._truth
        new: list[int] = []
        cells = visible(opaque(truth), truth.layout.width, truth.cell, truth.direction)
        for cell in sorted(cells):
            self._seen[cell] = 1
            thing = truth.cells[cell]
            if thing >= 0 and thing not in self._known:
                new.append(thing)
        if new:
            self._discover(new)

    def _discover(self, things: list[int]) -> None:
        """Name new things. A name is never taken back: later ones of a look get a number."""
        found = self._truth.layout.things
        looks = [(found[thing].color, found[thing].kind) for thing in things]
        for thing, look in zip(things, looks, strict=True):
            count = self._looks[look] = self._looks.get(look, 0) + 1
            reference: JsonObject = {"color": look[0], "kind": look[1]}
            if count > 1 or looks.count(look) > 1:
                reference["number"] = count
            self._known.append(thing)
            self._references.append(reference)

    def world(self) -> World:
        """What is believed, as a world of its own."""
        truth = self._truth
        index = {thing: position for position, thing in enumerate(self._known)}
        layout = self._layout(index)
        world = World(layout, self._goal, truth.max_steps)
        cells = tuple(
            self._content(cell, content, index) for cell, content in enumerate(truth.cells)
        )
        memory = list(truth.memory)
        for slot in truth.verifier.carries:
            memory[slot] = index.get(memory[slot], -1)
        world.become(
            truth,
            cells=cells,
            carrying=index.get(truth.carrying, -1),
            where=tuple(truth.where[thing] for thing in self._known),
            placed=tuple(truth.placed[thing] for thing in self._known),
            doors=tuple(truth.doors[thing] for thing in self._known),
            memory=tuple(memory),
        )
        return world

    def _content(self, cell: int, content: int, index: dict[int, int]) -> int:
        if not self._seen[cell]:
            return UNSEEN
        return index[content] if content >= 0 else content

    def _layout(self, index: dict[int, int]) -> Layout:
        start = self._truth.layout
        things = tuple(start.things[thing]._replace(contains=-1) for thing in self._known)
        cells = tuple(
            (index.get(content, EMPTY) if content >= 0 else content) if self._seen[cell] else UNSEEN
            for cell, content in enumerate(start.cells)
        )
        return Layout(
            width=start.width,
            height=start.height,
            room_size=start.room_size,
            columns=start.columns,
            rows=start.rows,
            cells=cells,
            things=things,
            agent=start.agent,
            direction=start.direction,
            references=tuple(self._references),
            locations=tuple(start.locations[thing] for thing in self._known),
            carried=index.get(start.carried, -1),
        )


def explore(world: World) -> tuple[int, ...]:
    """Moves that show more, planned in a believed world; none where all within reach was seen.

    The nearest pose with an unseen cell in view that borders on something seen, if nothing
    unseen hides another; failing that, the nearest door that can be opened onto the unseen.
    """
    layout = world.layout
    edge = {
        cell + offset
        for cell, content in enumerate(world.cells)
        if content >= 0 or content == EMPTY
        for offset in layout.offsets
        if world.cells[cell + offset] == UNSEEN and _lets_through(world, cell)
    }
    known = reach(world.free, layout.width, world.cell, world.direction)
    if edge:
        hides = opaque(world)
        for pose in known.poses():
            if not edge.isdisjoint(visible(hides, layout.width, pose >> 2, pose & 3)):
                return known.moves(pose)
    doors = {
        pose
        for door in layout.doors
        if _can_be_opened(world, door) and _leads_on(world, door)
        for pose in facing(world.where[door], layout.width)
    }
    pose = known.to_pose(doors) if doors else -1
    return () if pose < 0 else (*known.moves(pose), Move.TOGGLE)


def _lets_through(world: World, cell: int) -> bool:
    thing = world.cells[cell]
    return thing < 0 or world.layout.things[thing].kind != "door" or world.doors[thing] == OPEN


def _can_be_opened(world: World, door: int) -> bool:
    if world.doors[door] == LOCKED:
        held = world.layout.things[world.carrying] if world.carrying >= 0 else None
        return (
            held is not None
            and held.kind == "key"
            and held.color == world.layout.things[door].color
        )
    return world.doors[door] == CLOSED


def _leads_on(world: World, door: int) -> bool:
    return any(world.cells[world.where[door] + offset] == UNSEEN for offset in world.layout.offsets)
