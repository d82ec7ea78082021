"""The state as JSON facts, and the clauses that a change of them achieved.

`{"carrying": …, "facing": …, "open": […], "locked": […], "next_to": [[a, b], …]}` over the
references that tools take, in a fixed order.
"""

from __future__ import annotations

from pydantic import JsonValue

from agentlab.environments.babyai.layout import LOCKED, OPEN
from agentlab.environments.babyai.world import World
from agentlab.types import Clause, JsonObject


def facts(world: World) -> JsonObject:
    """What holds now."""
    layout = world.layout
    references = layout.references
    ahead = world.cells[world.front]
    doors = [door for door in layout.doors if world.where[door] >= 0]
    beside: list[list[JsonObject]] = []
    for index, thing in enumerate(layout.things):
        cell = world.where[index]
        if thing.kind == "door" or cell < 0:
            continue
        for offset in layout.offsets:
            other = world.cells[cell + offset]
            if other >= 0 and layout.things[other].kind != "door":
                beside.append([dict(references[index]), dict(references[other])])
    return {
        "carrying": dict(references[world.carrying]) if world.carrying >= 0 else None,
        "facing": dict(references[ahead]) if ahead >= 0 else None,
        "open": [dict(references[door]) for door in doors if world.doors[door] == OPEN],
        "locked": [dict(references[door]) for door in doors if world.doors[door] == LOCKED],
        "next_to": [[dict(a), dict(b)] for a, b in beside],
    }


def achieved(before: JsonObject, after: JsonObject) -> tuple[Clause, ...]:
    """The clauses that hold after and did not hold before, described by colour and kind.

    Numbers are left out, since no instruction can say them: who holds red ball 2 holds a red
    ball. Two things of one look beside each other are left out, since BabyAI refuses to ask.
    """
    clauses: list[Clause] = []
    held, ahead = after.get("carrying"), after.get("facing")
    if held is not None and held != before.get("carrying"):
        clauses.append(Clause(predicate="pick_up", arguments={"x": _look(held)}))
    if ahead is not None and ahead != before.get("facing"):
        clauses.append(Clause(predicate="go_to", arguments={"x": _look(ahead)}))
    for door in _added(before, after, "open"):
        clauses.append(Clause(predicate="open", arguments={"x": _look(door)}))
    moved = before.get("carrying")
    for pair in _added(before, after, "next_to"):
        if not isinstance(pair, list) or pair[0] != moved or held is not None:
            continue
        x, y = _look(pair[0]), _look(pair[1])
        clause = Clause(predicate="put_next", arguments={"x": x, "y": y})
        if x != y and clause not in clauses:
            clauses.append(clause)
    return tuple(clauses)


def _look(reference: JsonValue) -> JsonValue:
    if not isinstance(reference, dict):
        return reference
    return {name: reference[name] for name in ("color", "kind")}


def _added(before: JsonObject, after: JsonObject, name: str) -> list[JsonValue]:
    old, new = before.get(name), after.get(name)
    if not isinstance(old, list) or not isinstance(new, list):
        return []
    return [item for item in new if item not in old]
