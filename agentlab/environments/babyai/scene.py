"""What the agent is shown: a world as text and as entities.

One line for each thing, so that a call changes a line or two; lines and entities are kept and
shared between observations, because search looks at hundreds of thousands of them.
"""

from __future__ import annotations

from agentlab.environments.babyai.layout import DOOR_STATES, GONE, Layout
from agentlab.environments.babyai.tools import name_of
from agentlab.environments.babyai.world import World
from agentlab.types import Entity, JsonObject, Observation

HEADINGS = ("east", "south", "west", "north")


class Scene:
    """Draws observations of worlds that share a layout."""

    def __init__(self, layout: Layout, instruction: str, *, note: str = "") -> None:
        self._layout = layout
        self._note = f"{note}\n" if note else ""
        self._head = f"Mission: {instruction}\n"
        self._lines: dict[tuple[int, int, int], str] = {}
        self._poses: dict[tuple[int, int, int], str] = {}
        self._entities: dict[tuple[tuple[int, ...], tuple[bool, ...]], tuple[Entity, ...]] = {}
        self._hidden = any(thing.contains >= 0 or thing.kind == "box" for thing in layout.things)

    def observe(self, world: World) -> Observation:
        """The world now."""
        pose = (world.cell, world.direction, world.carrying)
        head = self._poses.get(pose)
        if head is None:
            head = self._poses[pose] = self._head + self._agent(*pose)
        lines = self._lines
        text = [head]
        for index, (cell, state) in enumerate(zip(world.where, world.doors, strict=True)):
            if cell >= 0:
                line = lines.get((index, cell, state))
                if line is None:
                    line = lines[index, cell, state] = self._line(index, cell, state)
                text.append(line)
        return Observation(text="\n".join(text), entities=self.entities(world))

    def entities(self, world: World) -> tuple[Entity, ...]:
        """Everything a tool can be pointed at now, in reading order of the start."""
        there = tuple(cell != GONE for cell in world.where) if self._hidden else ()
        key = (world.doors, there)
        entities = self._entities.get(key)
        if entities is None:
            entities = self._entities[key] = tuple(
                self._entity(index, world.doors[index])
                for index, cell in enumerate(world.where)
                if cell != GONE
            )
        return entities

    def _entity(self, index: int, state: int) -> Entity:
        thing = self._layout.things[index]
        properties: JsonObject = {
            "color": thing.color,
            "kind": thing.kind,
            "location": list(self._layout.locations[index]),
        }
        if thing.kind == "door":
            properties["state"] = DOOR_STATES[state]
        return Entity(
            type="object", reference=self._layout.references[index], properties=properties
        )

    def _agent(self, cell: int, direction: int, carrying: int) -> str:
        y, x = divmod(cell, self._layout.width)
        held = "nothing"
        if carrying >= 0:
            held = f"the {name_of(self._layout.references[carrying])}"
        return (
            f"You are at column {x}, row {y}, facing {HEADINGS[direction]}, carrying {held}.\n"
            f"{self._note}You see:"
        )

    def _line(self, index: int, cell: int, state: int) -> str:
        y, x = divmod(cell, self._layout.width)
        thing = self._layout.things[index]
        how = f"{DOOR_STATES[state]} " if thing.kind == "door" else ""
        return f"- {how}{name_of(self._layout.references[index])} at column {x}, row {y}"
