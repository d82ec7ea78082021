"""The rules of the burrow: chambers, tunnels, things, chests, and what may be done there.

A burrow is one of the twelve pentominoes, turned and mirrored: five chambers, with a tunnel
wherever two squares touch. So a map's shape is a finite, well-known thing, and shapes that were
never practised on can be kept for evaluation. Pure functions over immutable tuples; nothing here
knows of tasks, text or tools.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from agentlab.types import derive_seed

Cell = tuple[int, int]
Way = Literal["north", "east", "south", "west"]

WAYS: dict[Way, Cell] = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}
MAPS: dict[str, tuple[Cell, ...]] = {
    "map-i": ((0, 0), (1, 0), (2, 0), (3, 0), (4, 0)),
    "map-v": ((0, 0), (1, 0), (2, 0), (2, 1), (2, 2)),
    "map-l": ((0, 0), (1, 0), (2, 0), (3, 0), (3, 1)),
    "map-n": ((0, 0), (1, 0), (2, 0), (2, 1), (3, 1)),
    "map-p": ((0, 0), (1, 0), (0, 1), (1, 1), (2, 0)),
    "map-t": ((0, 0), (1, 0), (2, 0), (1, 1), (1, 2)),
    "map-w": ((0, 0), (1, 0), (1, 1), (2, 1), (2, 2)),
    "map-y": ((0, 0), (1, 0), (2, 0), (3, 0), (1, 1)),
    "map-z": ((0, 0), (1, 0), (1, 1), (1, 2), (2, 2)),
    "map-f": ((1, 0), (2, 0), (0, 1), (1, 1), (1, 2)),
    "map-u": ((0, 0), (0, 1), (1, 0), (2, 0), (2, 1)),
    "map-x": ((1, 0), (0, 1), (1, 1), (2, 1), (1, 2)),
}
"""The pentominoes under their usual letters, those that are practised on first."""
PRACTISED = tuple(f"map-{letter}" for letter in "ivlnptw")
DEV = ("map-y", "map-z")
HELDOUT = ("map-f", "map-u", "map-x")

NAMES = ("moss", "clay", "root", "fern", "sand", "stone", "straw", "leaf", "bark", "chalk")
COLOURS = ("red", "blue", "green", "white")
TREASURES = ("bell", "coin", "shell", "feather", "acorn")
THINGS = (*(f"{colour} key" for colour in COLOURS), *TREASURES)
"""Everything that can be taken."""
CHESTS = 2
"""Chests in a burrow, each with the key of its colour lying somewhere."""
LOOSE = 2
"""Treasures lying about."""
CARRIED = -1
"""Where a thing is that is carried."""


class Position(NamedTuple):
    """The burrow at one moment; equal positions behave alike."""

    at: int
    """Index of the chamber."""
    where: tuple[int, ...]
    """For each thing: a chamber's index or `CARRIED`."""
    opened: tuple[bool, ...]
    """For each chest."""


class Refused(NamedTuple):
    """Why something cannot be done."""

    reason: str


@dataclass(frozen=True)
class Layout:
    """What a seed fixes for a whole episode."""

    cells: tuple[Cell, ...]
    names: tuple[str, ...]
    things: tuple[str, ...]
    chests: tuple[tuple[str, int], ...]
    """(colour, chamber) of each."""
    start: Position

    @cached_property
    def tunnels(self) -> tuple[dict[Way, int], ...]:
        """For each chamber, the ways out of it and where they lead."""
        index = {cell: number for number, cell in enumerate(self.cells)}
        return tuple(
            {
                way: index[(x + dx, y + dy)]
                for way, (dx, dy) in WAYS.items()
                if (x + dx, y + dy) in index
            }
            for x, y in self.cells
        )

    def route(self, start: int, goal: int) -> tuple[Way, ...]:
        """A shortest way from one chamber to another."""
        came: dict[int, tuple[Way, ...]] = {start: ()}
        frontier = deque([start])
        while goal not in came:
            chamber = frontier.popleft()
            for way, other in self.tunnels[chamber].items():
                if other not in came:
                    came[other] = (*came[chamber], way)
                    frontier.append(other)
        return came[goal]


def make_layout(setup: str, seed: int) -> Layout:
    """The burrow of a map and a seed; the same for the same arguments."""
    rng = random.Random(derive_seed("burrow", setup, seed))
    turns, mirrored = rng.randrange(4), rng.random() < 0.5
    cells = tuple(_turned(cell, turns, mirrored=mirrored) for cell in MAPS[setup])
    colours = rng.sample(COLOURS, CHESTS)
    things = (*(f"{colour} key" for colour in colours), *rng.sample(TREASURES, LOOSE))
    count = len(cells)
    return Layout(
        cells=cells,
        names=tuple(rng.sample(NAMES, count)),
        things=things,
        chests=tuple((colour, rng.randrange(count)) for colour in colours),
        start=Position(
            at=rng.randrange(count),
            where=tuple(rng.randrange(count) for _ in things),
            opened=(False,) * CHESTS,
        ),
    )


def _turned(cell: Cell, turns: int, *, mirrored: bool) -> Cell:
    x, y = (-cell[0], cell[1]) if mirrored else cell
    for _ in range(turns):
        x, y = -y, x
    return x, y


def go(layout: Layout, position: Position, way: str) -> Position | Refused:
    """Walk through a tunnel."""
    for name, chamber in layout.tunnels[position.at].items():
        if name == way:
            return position._replace(at=chamber)
    return Refused(f"There is no way {way} here.")


def take(layout: Layout, position: Position, thing: str) -> Position | Refused:
    """Take a thing that lies in the chamber; any number can be carried."""
    if thing in layout.things:
        number = layout.things.index(thing)
        if position.where[number] == position.at:
            where = position.where
            return position._replace(where=(*where[:number], CARRIED, *where[number + 1 :]))
    return Refused(f"There is no {thing} here.")


def unlock(layout: Layout, position: Position, colour: str) -> Position | Refused:
    """Open the chest of a colour that stands in the chamber, with the key of that colour."""
    for number, (own, chamber) in enumerate(layout.chests):
        if own != colour or chamber != position.at:
            continue
        if position.opened[number]:
            return Refused(f"The {colour} chest is open already.")
        if position.where[layout.things.index(f"{colour} key")] != CARRIED:
            return Refused(f"You do not carry the {colour} key.")
        opened = position.opened
        return position._replace(opened=(*opened[:number], True, *opened[number + 1 :]))
    return Refused(f"There is no {colour} chest here.")


def text_of(layout: Layout, position: Position) -> str:
    """What is seen: the chamber, its ways out, what is in it, and what is carried."""
    here = [
        thing
        for thing, where in zip(layout.things, position.where, strict=True)
        if where == position.at
    ]
    here += [
        f"{colour} chest ({'open' if is_open else 'locked'})"
        for (colour, chamber), is_open in zip(layout.chests, position.opened, strict=True)
        if chamber == position.at
    ]
    carried = [
        thing
        for thing, where in zip(layout.things, position.where, strict=True)
        if where == CARRIED
    ]
    return (
        f"You are in the {layout.names[position.at]} chamber. "
        f"Ways: {', '.join(layout.tunnels[position.at])}. "
        f"Here: {', '.join(here) or 'nothing'}. You carry: {', '.join(carried) or 'nothing'}."
    )
