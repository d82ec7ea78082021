"""Fresh values for parameters that point at nothing shown, learnt from the calls of practice.

Where observations name their things, a parameter takes one of them. Elsewhere it takes plain
values, and which of those make sense is told by practice alone: what the tools that it is handed
to were given there, and where in the state that stood at the time. What stands at the same places
in a fresh start state is then a fresh argument; what stood nowhere was new there, and other new
values of practice are too. Reads what it is handed, runs nothing, and knows no environment.
"""

from __future__ import annotations

import ast
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from agentlab.library.syntax import is_env_skills
from agentlab.types import (
    Entity,
    Frozen,
    JsonObject,
    PastAttempt,
    Skill,
    ToolCall,
    ToolSpec,
    Trajectory,
    canonical_json,
)

PLAIN = frozenset({"string", "integer", "number", "boolean", "object", "array"})
"""Types of parameters that take plain values, where nothing of a kind so called is shown."""
NAME = "*"
"""The `last` of places where a value is what a member of a map is called, or one of a list."""
OFTEN = 0.5
"""Share of the values that practice gave which must have stood at a place."""
KEPT = 24
"""New values kept for each parameter."""
OFFERED = 8
"""Values that a parameter is offered in one start state."""
CALLS = 40
"""Calls of practice kept, for controls."""


class Place(Frozen):
    """Where in a state a value stands, whatever the names between."""

    top: str
    """The fact."""
    depth: int
    last: str
    """The field, or `NAME`."""


class Given(Frozen):
    """What practice gave to the tools that a parameter is handed to."""

    parameter: str
    places: tuple[Place, ...] = ()
    """Where those values stood; none for values that were new."""
    fresh: tuple[JsonValue, ...] = ()
    """New ones, distinct, oldest first."""


class Told(Frozen):
    """What practice tells of a skill's arguments, and of calls that are none of its own."""

    given: tuple[Given, ...] = ()
    others: tuple[ToolCall, ...] = ()
    """Calls that were carried out and may have changed something."""


def told_of(
    skill: Skill,
    callees: Mapping[str, Skill],
    attempts: Sequence[PastAttempt],
    tools: Sequence[ToolSpec],
) -> Told:
    """What the attempts tell.

    Args:
        skill: the candidate.
        callees: what it may call, by name.
        attempts: at practice tasks, those that it was derived from too.
        tools: the environment's.
    """
    trajectories = [each.trajectory for each in attempts if each.trajectory is not None]
    given: list[Given] = []
    for parameter in skill.parameters:
        if parameter.type in PLAIN:
            # What the first of them takes is what it is in the start state.
            slots = dict.fromkeys(_handed(skill, parameter.name, callees))
            kept = (_given(parameter.name, slot, trajectories) for slot in slots)
            given += [found for found in kept if found is not None][:1]
    changing = {tool.name for tool in tools if tool.effect == "changes"}
    others: dict[str, ToolCall] = {}
    for trajectory in trajectories:
        for step in trajectory.steps:
            if step.result.error is None and step.call.tool in changing:
                others.setdefault(canonical_json(step.call.model_dump()), step.call)
    return Told(given=tuple(given), others=tuple(others[key] for key in sorted(others)[:CALLS]))


def offered(
    skill: Skill,
    told: Told,
    entities: Sequence[Entity],
    state: JsonObject,
    rng: random.Random,
) -> tuple[Skill, tuple[Entity, ...]]:
    """The skill with a type of its own for each plain parameter, and all that it can be given.

    Args:
        skill: the candidate.
        told: see `told_of`.
        entities: what is shown now; types of these stay as they are.
        state: the state now.
        rng: chooses among many values.
    """
    shown = {entity.type for entity in entities}
    given = {each.parameter: each for each in told.given}
    plain = [p for p in skill.parameters if p.type in PLAIN and p.type not in shown]
    if not plain:
        return skill, tuple(entities)
    added: list[Entity] = []
    types: dict[str, str] = {}
    for parameter in plain:
        types[parameter.name] = f"{parameter.type} for {parameter.name!r}"
        known = given.get(parameter.name)
        for value in _now(known, state, rng) if known is not None else ():
            kind = types[parameter.name]
            added.append(Entity(type=kind, reference=value, properties={"value": value}))
    parameters = tuple(
        p.model_copy(update={"type": types[p.name]}) if p.name in types else p
        for p in skill.parameters
    )
    return skill.model_copy(update={"parameters": parameters}), (*entities, *added)


def _now(given: Given, state: JsonObject, rng: random.Random) -> list[JsonValue]:
    places = set(map(_key, given.places))
    found = (
        [value for place, value in _standing(state) if _key(place) in places]
        if places
        else list(given.fresh)
    )
    distinct = {canonical_json(value): value for value in found}
    values = [distinct[text] for text in sorted(distinct)]
    return rng.sample(values, min(OFFERED, len(values)))


def _given(name: str, slot: tuple[str, str], trajectories: Sequence[Trajectory]) -> Given | None:
    """What a tool's parameter was given; None where that is nothing."""
    counts: Counter[str] = Counter()
    places: dict[str, Place] = {}
    fresh: dict[str, JsonValue] = {}
    total = 0
    for trajectory in trajectories:
        before = trajectory.initial_state
        for step in trajectory.steps:
            for keyword, value in step.call.arguments.items():
                if (step.call.tool, keyword) != slot or step.result.error is not None:
                    continue
                value = value[0] if isinstance(value, list) and len(value) == 1 else value
                total += 1
                found = _where(value, before or {})
                for place in found:
                    places[_key(place)] = place
                counts.update({_key(place) for place in found})
                if not found:
                    fresh.setdefault(canonical_json(value), value)
            before = step.state
    if not total:
        return None
    often = sorted(key for key, count in counts.items() if count > OFTEN * total)
    return Given(
        parameter=name,
        places=tuple(places[key] for key in often),
        fresh=() if often else tuple(fresh.values())[:KEPT],
    )


def _where(value: JsonValue, state: JsonObject) -> list[Place]:
    wanted = canonical_json(value)
    return [place for place, each in _standing(state) if canonical_json(each) == wanted]


def _standing(
    value: JsonValue, top: str = "", depth: int = 0, last: str = ""
) -> Iterator[tuple[Place, JsonValue]]:
    """Every plain value of a state with its place, and what members of maps are called."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if depth:
                yield Place(top=top, depth=depth, last=NAME), key
            yield from _standing(inner, top if depth else key, depth + 1, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _standing(inner, top, depth + 1, NAME)
    elif value is not None and not isinstance(value, bool):
        yield Place(top=top, depth=depth, last=last), value


def _key(place: Place) -> str:
    return canonical_json([place.top, place.depth, place.last])


def _handed(
    skill: Skill, parameter: str, callees: Mapping[str, Skill], depth: int = 0
) -> Iterator[tuple[str, str]]:
    """The tools, and their parameters, to which a parameter is handed as it is or in a list.

    In the order of the source.
    """
    nodes = [node for node in ast.walk(ast.parse(skill.source)) if isinstance(node, ast.Call)]
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        if not isinstance(node.func, ast.Attribute):
            continue
        for keyword in node.keywords:
            value = keyword.value
            if isinstance(value, ast.List) and len(value.elts) == 1:
                value = value.elts[0]
            if not isinstance(value, ast.Name) or value.id != parameter or keyword.arg is None:
                continue
            if not is_env_skills(node.func.value):
                yield node.func.attr, keyword.arg
            elif node.func.attr in callees and depth < len(callees):
                yield from _handed(callees[node.func.attr], keyword.arg, callees, depth + 1)
