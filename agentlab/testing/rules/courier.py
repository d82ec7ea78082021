"""An executor that plays the courier from what it is told and shown.

It knows the words of instructions and how a courier's day goes: walk up to a thing, handle it, one
thing in hand at a time. What it forgets is the lock: it carries an item to a locked container, is
refused, and gives up. It remembers to unlock first when something in the request speaks of it: a
piece of advice, or a skill among its tools. Where requests have a seed, with some seeds it thinks
of the lock after it was refused, so that attempts at one task do not all end alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.testing.rules.reading import (
    Call,
    acting,
    arguments_of,
    calls_made,
    given,
    own_turns,
    whole_text,
)
from agentlab.types import ChatRequest, JsonObject, Message, ToolSpec, derive_uniform

PRIMITIVES = frozenset({"walk", "take", "leave", "unlock", "put_in", "read_sign"})
BOXES = frozenset({"chest", "crate", "cabinet"})
MOST_TURNS = 40
REMEMBERS = 0.3
"""Of the seeds, those with which it thinks of the lock after it was refused."""

VIEW = re.compile(
    r"You are at the (?P<at>\w+)(?:, beside the (?P<beside>\w+ \w+),)? and hold "
    r"(?:nothing|the (?P<holding>\w+ \w+))\.\n(?P<rest>(?:The \w+ \(gates to [^)]*\): .*(?:\n|$))+)"
)
PLACE = re.compile(r"The (\w+) \(gates to [^)]*\): (.*)\.")
SEEN = re.compile(r"the (\w+ \w+)(?: \((locked|with ([^)]*))\))?")
THING = r"(?:the|an?|something|somewhere called) [\w ]+?"
CLAUSE = re.compile(
    rf"(?P<at>go to) (?P<p>{THING})|(?P<holding>pick up) (?P<i>{THING})"
    rf"|(?P<unlocked>unlock) (?P<c>{THING})|(?P<delivered>deliver) (?P<j>{THING}) to (?P<d>{THING})"
)
WORDS = {
    "at": r"\bat\b|go|walk|reach",
    "holding": r"hold|take|fetch|pick",
    "unlocked": r"unlock",
    "delivered": r"deliver|put",
}
"""By which a skill is known to bring a clause about."""


class Clause(NamedTuple):
    """One thing that is asked for, described as `the red parcel`, `a chest`, `something tin`."""

    predicate: str
    place: str = ""
    item: str = ""
    box: str = ""


class World(NamedTuple):
    """What one observation shows."""

    at: str
    beside: str
    holding: str
    items: dict[str, tuple[str, str]]
    """Name to place and, inside of one, container."""
    boxes: dict[str, tuple[str, bool]]
    """Name to place and whether it is locked."""
    places: tuple[str, ...]


def play(request: ChatRequest) -> Message:
    """The courier's next calls, or its last words."""
    asked = _instruction(request)
    views = [world for message in request.messages for world in worlds(message.text)]
    if not asked or not views:
        return Message(role="assistant", text="I do not see what to do here.")
    clause = _unmet(asked, views)
    if clause is None:
        return Message(role="assistant", text="Done: everything that was asked for holds.")
    if own_turns(request) >= MOST_TURNS:
        return Message(role="assistant", text="I give up: this takes too long.")
    calls = _skill(request, clause, views[-1]) or _plan(request, clause, views[-1])
    failed = [
        (use.name, arguments_of(use)) for use, answer in calls_made(request) if "refused" in answer
    ]
    if not calls or failed.count(calls[-1]) >= 2:
        return Message(role="assistant", text="I could not do it.")
    return acting(request, calls)


def parse(text: str) -> tuple[tuple[Clause, ...], ...]:
    """The clauses of an instruction, in groups that follow each other; empty if it is none."""
    groups: list[tuple[Clause, ...]] = []
    said = text.strip().rstrip(".").lower()
    for part in said.split(", then "):
        group: list[Clause] = []
        for words in part.split(" and "):
            found = CLAUSE.fullmatch(words.strip())
            if found is None:
                return ()
            group.append(
                Clause(
                    next(name for name in WORDS if found[name]),
                    place=found["p"] or "",
                    item=found["i"] or found["j"] or "",
                    box=found["c"] or found["d"] or "",
                )
            )
        groups.append(tuple(group))
    return tuple(groups)


def _instruction(request: ChatRequest) -> tuple[tuple[Clause, ...], ...]:
    pieces = given(request)
    if not pieces:
        pieces = [line for m in request.messages if m.role == "user" for line in m.text.split("\n")]
    for piece in pieces:
        asked = parse(piece.partition("ask: ")[2] or piece)
        if asked:
            return asked
    return ()


def worlds(text: str) -> list[World]:
    """What the views in a text show, first to last."""
    found: list[World] = []
    for view in VIEW.finditer(text):
        items: dict[str, tuple[str, str]] = {}
        boxes: dict[str, tuple[str, bool]] = {}
        for place, here in PLACE.findall(view["rest"]):
            for name, state, inside in SEEN.findall(here):
                if name.split()[-1] in BOXES:
                    boxes[name] = (place.lower(), state == "locked")
                    items |= {item: (place.lower(), name) for item in inside.split(", ") if item}
                else:
                    items[name] = (place.lower(), "")
        held, beside = view["holding"] or "", view["beside"] or ""
        places = tuple(place.lower() for place, _ in PLACE.findall(view["rest"]))
        found.append(World(view["at"], beside, held, items, boxes, places))
    return found


def _fits(name: str, description: str) -> bool:
    """Whether `red parcel` is `the red parcel`, `a parcel`, `something red`."""
    words = description.split()[1:]
    return all(word in (*name.split(), "place", "called") for word in words)


def holds(clause: Clause, world: World) -> bool:
    """Whether what is asked for can be seen."""
    match clause.predicate:
        case "at":
            return _fits(world.at, clause.place)
        case "holding":
            return bool(world.holding) and _fits(world.holding, clause.item)
        case "unlocked":
            return any(_fits(b, clause.box) and not shut for b, (_, shut) in world.boxes.items())
        case _:
            return any(
                _fits(item, clause.item) and box and _fits(box, clause.box)
                for item, (_, box) in world.items.items()
            )


def _unmet(groups: Sequence[Sequence[Clause]], views: Sequence[World]) -> Clause | None:
    """What to do next: a clause counts from when it first holds in its group's turn."""
    turn, met = 0, set[int]()
    for world in views:
        while turn < len(groups):
            met |= {i for i, clause in enumerate(groups[turn]) if holds(clause, world)}
            if len(met) < len(groups[turn]):
                break
            turn, met = turn + 1, set[int]()
    if turn >= len(groups):
        return None
    return next(clause for i, clause in enumerate(groups[turn]) if i not in met)


def _remembers(request: ChatRequest) -> bool:
    """Whether something speaks of locks that is neither the task, a view nor an own tool."""
    # Views, the task and lists of tools speak of locks without giving advice.
    told = [p for p in given(request) if not parse(p) and not re.search("You are at|read_sign", p)]
    told += [f"{t.name} {t.description}" for t in request.tools if t.name not in PRIMITIVES]
    if "You need to hold" in whole_text(request):
        return True
    return any(re.search(r"(?i)unlock|\btoken\b", text) for text in told)


def _bethinks(request: ChatRequest) -> bool:
    """Whether it thinks of the lock by itself, once it was refused."""
    seed = request.sampling.seed
    return seed is not None and derive_uniform("remembers", seed) < REMEMBERS


def reference(name: str) -> JsonObject:
    """How calls point at a thing of that name."""
    mark, _, kind = name.partition(" ")
    if not kind:
        return {"kind": "place", "name": mark}
    return {"kind": kind, "metal" if kind in BOXES or kind == "token" else "colour": mark}


def _chosen(clause: Clause, world: World) -> tuple[str, str]:
    """The item and the container that will do; empty where there is none."""
    items = sorted(item for item in world.items if not item.endswith("token"))
    item = next((item for item in items if _fits(item, clause.item)), "") if clause.item else ""
    if world.holding and clause.item and _fits(world.holding, clause.item):
        item = world.holding
    boxes = sorted(world.boxes, key=lambda box: (world.boxes[box][1], box))
    box = next((box for box in boxes if _fits(box, clause.box)), "") if clause.box else ""
    return item, box


def _plan(request: ChatRequest, clause: Clause, world: World) -> list[Call]:
    """The next one or two calls; none where it is at its wits' end."""
    item, box = _chosen(clause, world)
    remembers = _remembers(request)
    match clause.predicate:
        case "at":
            place = clause.place.split()[-1]
            return [("walk", {"to": reference(place)})]
        case "holding":
            return _fetch(item, world) if item else []
        case "unlocked":
            return _unlock(box, world, knows=remembers) if box else []
        case _:
            if not item or not box:
                return []
            if world.boxes[box][1]:
                begun = world.holding == f"{box.split()[0]} token"
                refused = "container is locked" in whole_text(request)
                if remembers or begun or (refused and _bethinks(request)):
                    return _unlock(box, world, knows=True)
                if refused:
                    return []
            if world.holding != item:
                return _fetch(item, world)
            return _at(box, world, ("put_in", {"container": reference(box)}))


def steps_at(name: str, tool: str) -> list[Call]:
    """Walk to a thing and use a tool on it."""
    argument = "item" if tool == "take" else "container"
    return [("walk", {"to": reference(name)}), (tool, {argument: reference(name)})]


def steps_to_hold(item: str) -> list[Call]:
    """Come to hold an item, with free hands."""
    return steps_at(item, "take")


def steps_to_unlock(box: str) -> list[Call]:
    """Unlock a container, with free hands."""
    return [*steps_to_hold(f"{box.split()[0]} token"), *steps_at(box, "unlock")]


def _at(name: str, world: World, then: Call) -> list[Call]:
    """A call at a thing, with the way there."""
    if world.beside == name:
        return [then]
    return [("walk", {"to": reference(name)}), then]


def _fetch(item: str, world: World) -> list[Call]:
    if world.holding:
        return [("leave", {})]
    return _at(item, world, ("take", {"item": reference(item)}))


def _unlock(box: str, world: World, *, knows: bool) -> list[Call]:
    token = f"{box.split()[0]} token"
    if knows and world.holding != token:
        return _fetch(token, world) if token in world.items else []
    return _at(box, world, ("unlock", {"container": reference(box)}))


def _skill(request: ChatRequest, clause: Clause, world: World) -> list[Call]:
    """A skill that brings the clause about, once; where there is a lock, one that speaks of it."""
    item, box = _chosen(clause, world)
    tried = {use.name for use, _ in calls_made(request)}
    locked = bool(box) and world.boxes[box][1] and clause.predicate == "delivered"
    for tool in request.tools:
        if tool.name in PRIMITIVES or tool.name in tried:
            continue
        words = f"{tool.name} {tool.description} {tool.parameters}"
        speaks = re.search(WORDS[clause.predicate], tool.name) or re.search(
            rf"(?i){clause.predicate}|{clause.predicate.removesuffix('ed')}", tool.description
        )
        if not speaks or (
            locked and not re.search("(?i)unlock|'locked': True|locked.: true", words)
        ):
            continue
        place = clause.place.split()[-1] if clause.place else ""
        arguments = _arguments(tool, {"place": place, "item": item, "container": box})
        if arguments is not None:
            # Some skills take with free hands alone.
            return [*([("leave", {})] if world.holding else []), (tool.name, arguments)]
    return []


def _arguments(tool: ToolSpec, names: dict[str, str]) -> JsonObject | None:
    """The arguments for exactly the things of a clause; None where the tool wants others."""
    properties = tool.parameters.get("properties")
    if not isinstance(properties, dict):
        return None
    wanted = {kind for kind, name in names.items() if name}
    made: JsonObject = {}
    for parameter, schema in properties.items():
        kind = schema.get("x-entity") if isinstance(schema, dict) else None
        if "token" in parameter and names["container"]:
            made[parameter] = reference(f"{names['container'].split()[0]} token")
            continue
        kind = kind if isinstance(kind, str) and kind in names else parameter
        if kind not in wanted:
            return None
        wanted.discard(kind)
        made[parameter] = reference(names[kind])
    return None if wanted else made
