"""BabyAI told in a page of text, for a proposer or a person."""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.environments.babyai.goal import COLORS, LOCATIONS
from agentlab.types import ToolSpec

_WORLD = f"""\
BabyAI is a grid of square rooms joined by doors, with balls, boxes and keys lying about. An
agent stands in one cell, looks in one of four directions, and carries at most one thing.

Things have a kind (ball, box, key, door) and a colour ({", ".join(COLORS)}). Where several look
the same they are numbered in reading order. Doors are open, closed or locked; a closed door must
be opened before anyone walks through it, and a locked one needs the key of its colour in the
agent's hands. Balls, boxes and keys are in the way; nothing can be put into a doorway.

A task is an instruction in simple English with one to four clauses:

- go to X: be beside a thing and face it;
- open X: open a door (one that stands open has to be closed and opened again);
- pick up X: take a thing, with hands that were empty before;
- put X next to Y: put down a thing in a cell that shares a side with another thing's.

X and Y are described by colour, kind ("object" for any) and place: {", ".join(LOCATIONS)}, as
seen by the agent at the start, in its room. "the" means one thing, "a" one of several. Clauses
are joined by "and" (any order), ", then" (this order) or "after you" (second one first). Trying
other things on the way does no harm, but the episode ends after a number of primitive steps.

Start states: `room` (one room with eight things), `doors` (four rooms with closed doors),
`locked` (two rooms and a locked door, with its key on the agent's side) and `across` (two rooms
with a closed door)."""


def describe(tools: Sequence[ToolSpec], level: str | None) -> str:
    """The page."""
    listed = "\n".join(f"- {tool.name}: {tool.description}" for tool in tools)
    chosen = f"\n\nOnly tasks of BabyAI's level {level} are set here." if level else ""
    return f"{_WORLD}\n\nTools:\n{listed}{chosen}\n"
