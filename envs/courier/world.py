"""The rules of the courier's world: places, gates, items, containers, and what may be done.

Pure functions over immutable tuples: a position of the world is a value, so saving it is
keeping it and going back is using it again. Nothing here knows of tasks, text or tools.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from pydantic import JsonValue

from agentlab.types import JsonObject, derive_seed

NAMES = (
    "mill", "yard", "ferry", "tower", "barn", "market", "quay", "forge", "abbey", "orchard",
)  # fmt: skip
CARGO = ("parcel", "letter", "lantern", "basket")
COLOURS = ("red", "green", "blue", "yellow", "white")
CONTAINERS = ("chest", "crate", "cabinet")
METALS = ("tin", "iron", "copper", "brass", "silver")
SETUPS = ("open", "locked")

HELD = -1
"""Where an item is that the courier holds."""
SPENT = -2
"""Where a token is that stays in its lock."""

NOT_BESIDE = "Walk up to it first."

Kind = Literal["place", "item", "container"]


@dataclass(frozen=True)
class Size:
    """How much there is in a world."""

    places: int = 4
    cargo: int = 3
    containers: int = 2


class Thing(NamedTuple):
    """Something a tool can be pointed at, by its number among those of its type."""

    type: Kind
    number: int


class Position(NamedTuple):
    """The world at one moment; equal positions behave alike."""

    at: int
    """Index of the courier's place."""
    where: tuple[int, ...]
    """For each item: a place's index, `places + container` inside one, `HELD` or `SPENT`."""
    locked: tuple[bool, ...]
    """For each container."""
    beside: Thing | None = None
    """What the courier walked up to and can handle; None in the open."""

    @property
    def holding(self) -> int | None:
        """Index of the item in hand."""
        return self.where.index(HELD) if HELD in self.where else None


class Refused(NamedTuple):
    """Why something cannot be done."""

    reason: str


class Done(NamedTuple):
    """The position afterwards, and how many primitive steps it took."""

    position: Position
    steps: int


@dataclass(frozen=True)
class Layout:
    """What a seed fixes for a whole episode."""

    places: tuple[str, ...]
    gates: tuple[tuple[int, int], ...]
    cargo: tuple[tuple[str, str], ...]
    """(kind, colour) of each item that is no token."""
    containers: tuple[tuple[str, str, int], ...]
    """(kind, metal, place)."""
    start: Position
    sign: str

    @cached_property
    def items(self) -> tuple[JsonObject, ...]:
        """References of the items: the cargo, then one token for each locked container."""
        cargo: list[JsonObject] = [{"kind": k, "colour": c} for k, c in self.cargo]
        metals = [m for (_, m, _), locked in self._with_locks() if locked]
        return (*cargo, *({"kind": "token", "metal": metal} for metal in metals))

    @cached_property
    def place_references(self) -> tuple[JsonObject, ...]:
        """References of the places."""
        return tuple({"kind": "place", "name": name} for name in self.places)

    @cached_property
    def container_references(self) -> tuple[JsonObject, ...]:
        """References of the containers."""
        return tuple({"kind": kind, "metal": metal} for kind, metal, _ in self.containers)

    @cached_property
    def things(self) -> dict[frozenset[tuple[str, JsonValue]], Thing]:
        """Reference, as a set of its fields, to the thing."""
        named: tuple[tuple[Kind, tuple[JsonObject, ...]], ...] = (
            ("place", self.place_references),
            ("item", self.items),
            ("container", self.container_references),
        )
        return {
            frozenset(reference.items()): Thing(kind, index)
            for kind, references in named
            for index, reference in enumerate(references)
        }

    @cached_property
    def distances(self) -> tuple[tuple[int, ...], ...]:
        """Gates between each two places."""
        count = len(self.places)
        near: list[list[int]] = [[] for _ in range(count)]
        for a, b in self.gates:
            near[a].append(b)
            near[b].append(a)
        rows: list[tuple[int, ...]] = []
        for origin in range(count):
            found = {origin: 0}
            frontier = [origin]
            for place in frontier:  # grows while it is walked: breadth first
                for other in near[place]:
                    if other not in found:
                        found[other] = found[place] + 1
                        frontier.append(other)
            rows.append(tuple(found[place] for place in range(count)))
        return tuple(rows)

    def find(self, reference: JsonValue) -> Thing | None:
        """The thing a reference points at."""
        if not isinstance(reference, dict):
            return None
        try:
            return self.things.get(frozenset(reference.items()))
        except TypeError:  # a field that is a list or an object
            return None

    def token_for(self, container: int) -> int:
        """Index of the item that opens a container that was locked at the start."""
        metal = self.containers[container][1]
        return self.items.index({"kind": "token", "metal": metal})

    def is_cargo(self, item: int) -> bool:
        """Whether an item is meant to be delivered, and so no token."""
        return item < len(self.cargo)

    def place_of(self, position: Position, thing: Thing) -> int | None:
        """Index of the place where a thing is now; None for a spent token."""
        if thing.type == "place":
            return thing.number
        if thing.type == "container":
            return self.containers[thing.number][2]
        where = position.where[thing.number]
        if where == HELD:
            return position.at
        if where == SPENT:
            return None
        count = len(self.places)
        return where if where < count else self.containers[where - count][2]

    def container_of(self, position: Position, item: int) -> int | None:
        """Index of the container that an item is in."""
        where = position.where[item]
        return where - len(self.places) if where >= len(self.places) else None

    def _with_locks(self) -> list[tuple[tuple[str, str, int], bool]]:
        return list(zip(self.containers, self.start.locked, strict=True))


def make_layout(setup: str, seed: int, size: Size) -> Layout:
    """The world of a start-state family and a seed; the same for the same arguments.

    In `open` no container is locked; in `locked` all are, and for each there is a token of its
    metal. The gates connect every place with every other.
    """
    rng = random.Random(derive_seed("courier", setup, seed, size.places, size.cargo))
    places = tuple(rng.sample(NAMES, size.places))
    gates = [(rng.randrange(i), i) for i in range(1, size.places)]
    spare = [(a, b) for b in range(size.places) for a in range(b) if (a, b) not in gates]
    gates += rng.sample(spare, min(1, len(spare)))
    pairs = [(kind, colour) for kind in CARGO for colour in COLOURS]
    cargo = tuple(rng.sample(pairs, size.cargo))
    metals = rng.sample(METALS, size.containers)
    containers = tuple((rng.choice(CONTAINERS), m, rng.randrange(size.places)) for m in metals)
    locked = setup == "locked"
    items = size.cargo + (size.containers if locked else 0)
    start = Position(
        at=rng.randrange(size.places),
        where=tuple(rng.randrange(size.places) for _ in range(items)),
        locked=(locked,) * size.containers,
    )
    sign = f"{rng.choice(places)} road" if places else ""
    return Layout(places, tuple(sorted(gates)), cargo, containers, start, sign)


def walk(layout: Layout, position: Position, thing: Thing) -> Done | Refused:
    """Go to a place, or up to a thing; being there already is no mistake and takes no step."""
    place = layout.place_of(position, thing)
    if place is None:
        return Refused("That token stays in its lock.")
    if position.beside == thing or _in_hand(position, thing):
        return Done(position, 0)
    gates = layout.distances[position.at][place]
    if thing.type == "place":
        beside = position.beside if gates == 0 else None
        return Done(position._replace(at=place, beside=beside), gates)
    return Done(position._replace(at=place, beside=thing), gates + 1)


def take(position: Position, item: int) -> Done | Refused:
    """Take an item that the courier is beside, on the ground or in a container."""
    if position.holding is not None:
        return Refused("Your hands are full: leave what you hold first.")
    if position.beside != Thing("item", item):
        return Refused(NOT_BESIDE)
    return Done(_moved(position, item, HELD)._replace(beside=None), 1)


def leave(position: Position) -> Done | Refused:
    """Put down what is held."""
    item = position.holding
    if item is None:
        return Refused("You hold nothing.")
    return Done(_moved(position, item, position.at)._replace(beside=Thing("item", item)), 1)


def unlock(layout: Layout, position: Position, container: int) -> Done | Refused:
    """Unlock a container with the token of its metal, which stays in the lock."""
    if position.beside != Thing("container", container):
        return Refused(NOT_BESIDE)
    if not position.locked[container]:
        return Refused("That container is not locked.")
    token = layout.token_for(container)
    if position.where[token] != HELD:
        metal = layout.containers[container][1]
        return Refused(f"You need to hold the {metal} token.")
    locked = tuple(is_locked and i != container for i, is_locked in enumerate(position.locked))
    return Done(_moved(position, token, SPENT)._replace(locked=locked), 1)


def put_in(layout: Layout, position: Position, container: int) -> Done | Refused:
    """Put what is held into an unlocked container."""
    item = position.holding
    if item is None:
        return Refused("You hold nothing.")
    if not layout.is_cargo(item):
        return Refused("A token opens a lock and is not to be delivered.")
    if position.beside != Thing("container", container):
        return Refused(NOT_BESIDE)
    if position.locked[container]:
        return Refused("That container is locked.")
    return Done(_moved(position, item, len(layout.places) + container), 1)


def _moved(position: Position, item: int, where: int) -> Position:
    before = position.where
    return position._replace(where=(*before[:item], where, *before[item + 1 :]))


def _in_hand(position: Position, thing: Thing) -> bool:
    return thing.type == "item" and position.where[thing.number] == HELD
