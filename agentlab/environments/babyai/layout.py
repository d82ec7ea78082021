"""A start state as frozen data: walls, things, doors, and where the agent stands.

Cells are numbered row by row (`y * width + x`), things by their index in `Layout.things`.
Nothing here changes during an episode, and nothing here reads minigrid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from agentlab.environments.babyai.goal import Description
from agentlab.types import JsonObject

EMPTY = -1
WALL = -2
UNSEEN = -3
"""A cell nobody has looked at; nothing can be planned through it."""

CARRIED = -1
GONE = -2
"""Where a thing is that lies in no cell: in a box, or a box that was opened."""

OPEN = 0
CLOSED = 1
LOCKED = 2
DOOR_STATES = ("open", "closed", "locked")


class Thing(NamedTuple):
    """A ball, box, key or door."""

    kind: str
    color: str
    cell: int
    """Its cell at the start; `GONE` while it lies in a box."""
    state: int = OPEN
    """`OPEN`, `CLOSED` or `LOCKED` for a door; else meaningless."""
    contains: int = -1
    """Index of the thing in a box, or -1."""


@dataclass(frozen=True)
class Layout:
    """One start state. `references` and `locations` run parallel to `things`."""

    width: int
    height: int
    room_size: int
    """Side of the square rooms in cells, walls included; neighbours share a wall."""
    columns: int
    rows: int
    cells: tuple[int, ...]
    """What each cell holds: the index of a thing, `EMPTY`, `WALL` or `UNSEEN`."""
    things: tuple[Thing, ...]
    agent: int
    direction: int
    """0 east, 1 south, 2 west, 3 north."""
    references: tuple[JsonObject, ...]
    locations: tuple[tuple[str, ...], ...]
    carried: int = -1
    """A thing in the agent's hands from the start, or -1."""

    @cached_property
    def offsets(self) -> tuple[int, int, int, int]:
        """What to add to a cell to get the next one in each direction."""
        return (1, self.width, -1, -self.width)

    @cached_property
    def doors(self) -> tuple[int, ...]:
        """Indices of the doors."""
        return tuple(i for i, thing in enumerate(self.things) if thing.kind == "door")

    @cached_property
    def doorways(self) -> frozenset[int]:
        """The cells beside a door, where nothing should be put down."""
        return frozenset(
            self.things[door].cell + offset for door in self.doors for offset in self.offsets
        )

    def room(self, cell: int) -> tuple[int, int]:
        """Column and row of the room a cell maps to; a shared wall maps to the later room."""
        y, x = divmod(cell, self.width)
        return x // (self.room_size - 1), y // (self.room_size - 1)

    def matches(self, description: Description) -> tuple[int, ...]:
        """Indices of the things a description means at the start (BabyAI's `ObjDesc`)."""
        return tuple(
            index
            for index, thing in enumerate(self.things)
            if thing.cell >= 0
            and (description.kind is None or thing.kind == description.kind)
            and (description.color is None or thing.color == description.color)
            and (description.location is None or description.location in self.locations[index])
        )


class Level(NamedTuple):
    """A start state with the goal stated in it."""

    layout: Layout
    instruction: str
    max_steps: int
    """The step cap, in primitive steps."""


def numbered(things: Sequence[Thing]) -> tuple[JsonObject, ...]:
    """How tools name the things: by colour and kind, and by number where that fits several."""
    counts: dict[tuple[str, str], int] = {}
    for thing in things:
        counts[thing.color, thing.kind] = counts.get((thing.color, thing.kind), 0) + 1
    seen: dict[tuple[str, str], int] = {}
    references: list[JsonObject] = []
    for thing in things:
        reference: JsonObject = {"color": thing.color, "kind": thing.kind}
        look = (thing.color, thing.kind)
        if counts[look] > 1:
            seen[look] = seen.get(look, 0) + 1
            reference["number"] = seen[look]
        references.append(reference)
    return tuple(references)


def locations_from(
    cell: int, *, agent: int, direction: int, width: int, room_size: int
) -> tuple[str, ...]:
    """The location words that hold of a cell for an agent that looks from its start.

    They hold within the agent's room, its walls included (BabyAI's `ObjDesc`), else none does.
    """
    agent_y, agent_x = divmod(agent, width)
    y, x = divmod(cell, width)
    span = room_size - 1
    left, top = agent_x // span * span, agent_y // span * span
    if not (left <= x <= left + span and top <= y <= top + span):
        return ()
    dx, dy = x - agent_x, y - agent_y
    ahead_x, ahead_y = ((1, 0), (0, 1), (-1, 0), (0, -1))[direction]
    ahead = dx * ahead_x + dy * ahead_y
    aside = -dx * ahead_y + dy * ahead_x
    words: list[str] = []
    if aside:
        words.append("left" if aside < 0 else "right")
    if ahead:
        words.append("front" if ahead > 0 else "behind")
    return tuple(words)
