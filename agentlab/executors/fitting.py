"""Whether a skill can run in a state, and with which arguments: preconditions and bindings.

Search asks it before it lists a call, replays before they choose a start, and whoever carries out
a call that somebody else chose. No environment is asked; all is read off state and entities.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from agentlab.types import (
    Clause,
    Entity,
    JsonObject,
    Parameter,
    Skill,
    allows,
    canonical_json,
    fits,
    same_as,
    satisfies,
)


def holds(precondition: Mapping[str, JsonValue], state: JsonObject | None) -> bool:
    """Whether the state has what a precondition asks: a value, or `{"present": bool}`."""
    if state is None:
        return not precondition
    for name, wanted in precondition.items():
        actual = state.get(name)
        if isinstance(wanted, dict) and set(wanted) == {"present"}:
            if (actual is not None) != wanted["present"]:
                return False
        elif actual != wanted:
            return False
    return True


def unfit(
    skill: Skill,
    arguments: Mapping[str, JsonValue],
    state: JsonObject | None,
    entities: Sequence[Entity],
) -> str | None:
    """Why a skill cannot run here, which no call needs to be made to find out; None where it can.

    Args:
        skill: what somebody asked for.
        arguments: as they chose them.
        state: what the environment tells of itself; None where it tells nothing.
        entities: what the last observation shows. An argument that is none of them is let by:
            it may be a text, or a thing that is not in sight.
    """
    if not holds(skill.precondition, state):
        return f"its precondition {_spelt(skill.precondition)} fails here"
    there = {canonical_json(each.reference): each for each in entities}
    for parameter in skill.parameters:
        thing = there.get(canonical_json(arguments.get(parameter.name)))
        if thing is not None and not fits(parameter, thing, arguments):
            return f"{parameter.name!r} must be a thing that has {_spelt(parameter.requires)}"
    return None


def _spelt(conditions: Mapping[str, JsonValue]) -> str:
    return json.dumps(conditions, ensure_ascii=False, sort_keys=True)


def bindings(
    skill: Skill, clause: Clause | None, entities: Sequence[Entity]
) -> Iterator[JsonObject]:
    """Argument sets for a skill: bound to a clause's descriptions, or to any fitting entity.

    With a clause, each parameter that the clause names takes the entities that fit the clause's
    description. All parameters take only entities that have the properties they require, and no
    entity twice.
    """
    described: dict[str, JsonValue] = {}
    if clause is not None and skill.achieves is not None:
        for argument, parameter in skill.achieves.arguments.items():
            if argument in clause.arguments and isinstance(parameter, str):
                described[parameter] = clause.arguments[argument]
    domains = [_candidates(p, described, entities) for p in skill.parameters]
    related = [p for p in skill.parameters if any(map(same_as, p.requires.values()))]
    by_reference = {canonical_json(e.reference): e for e in entities} if related else {}
    for choice in itertools.product(*domains):
        keys = {canonical_json(value) for value in choice}
        if len(keys) < len(choice):
            continue
        arguments = {p.name: v for p, v in zip(skill.parameters, choice, strict=True)}
        if all(
            fits(p, by_reference[canonical_json(arguments[p.name])], arguments) for p in related
        ):
            yield arguments


def _candidates(
    parameter: Parameter, described: Mapping[str, JsonValue], entities: Sequence[Entity]
) -> list[JsonValue]:
    found = [
        entity.reference
        for entity in entities
        if parameter.type in ("*", entity.type)
        and fits(parameter, entity, {})
        and all(allows(schema, entity.reference) for schema in parameter.accepts)
    ]
    if parameter.name not in described:
        return found
    description = described[parameter.name]
    fitting = {canonical_json(e.reference) for e in entities if satisfies(e, description)}
    return [reference for reference in found if canonical_json(reference) in fitting]
