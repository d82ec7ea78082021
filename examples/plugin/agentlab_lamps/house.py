"""The rules of the house: where lamps are, what a call does, what holds. No agentlab in here."""

from __future__ import annotations

import random
from typing import NamedTuple

ROOMS = ("attic", "cellar", "hall", "kitchen")
COLOURS = ("amber", "blue", "green", "red", "white")
SIZES = {"evening": (2, 3), "night": (4, 5)}
"""Start state to rooms and lamps; the easier one first."""


class House(NamedTuple):
    """What no call changes: the rooms, and for each lamp its colour and its room."""

    rooms: tuple[str, ...]
    lamps: tuple[tuple[str, str], ...]


class Now(NamedTuple):
    """What calls change; a value, so that saving it costs nothing."""

    room: str
    uncovered: frozenset[str] = frozenset()
    lit: frozenset[str] = frozenset()
    over: bool = False

    @property
    def key(self) -> Now:
        """Equal for states that behave alike from here on."""
        return self


def build(setup: str, seed: int) -> House:
    """The house of a start state and a seed."""
    rng = random.Random(f"{setup} {seed}")
    rooms, lamps = SIZES[setup]
    here = tuple(rng.sample(ROOMS, rooms))
    return House(here, tuple((c, rng.choice(here)) for c in sorted(rng.sample(COLOURS, lamps))))


def act(house: House, now: Now, tool: str, name: str) -> Now | str:
    """What a call makes of it, or why it cannot be done."""
    where = dict(house.lamps)
    if tool == "go":
        room = where.get(name, name)
        return now._replace(room=room) if room in house.rooms else f"There is no {name} here."
    if name not in where:
        return f"There is no {name} lamp here."
    if where[name] != now.room:
        return f"The {name} lamp is in another room."
    if tool == "uncover":
        return now._replace(uncovered=now.uncovered | {name})
    if name not in now.uncovered:
        return f"The {name} lamp has a cover on."
    return now._replace(lit=now.lit ^ {name})
