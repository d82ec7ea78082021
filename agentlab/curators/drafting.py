"""From examples of one shape to a function without a name: parameters, calls, effects.

What varies with the mission becomes a parameter, what always held of it a requirement, and
what every way of meeting the clause brought about the effect. Requirements that chance would
explain as well are left out, so that a function is not narrower than it need be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from keyword import iskeyword
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.curators.examples import Example
from agentlab.curators.expressions import (
    Column,
    Expression,
    Record,
    Reference,
    evaluate,
    explain,
    free_choices,
)
from agentlab.types import (
    ClauseTemplate,
    Entity,
    JsonObject,
    Parameter,
    Skill,
    ToolSpec,
    allows,
    canonical_json,
    fits,
    narrowing,
    satisfies,
)

COINCIDENCE = 0.05
"""A property shared by all examples is a requirement only if chance explains it less often."""


FREE_SUPPORT = 2
"""Further examples that each free parameter asks for."""
CONTRAST = 5
"""Examples that each of two shapes must have before a difference between them is believed."""


class Group(NamedTuple):
    """Examples of one shape, from different tasks."""

    shape: tuple[str, ...]
    examples: tuple[Example, ...]


Line = tuple[str, bool, tuple[tuple[str, Expression], ...]]
"""A call: name, whether it is a skill, and its arguments."""


class Draft(NamedTuple):
    """A function before it has a name."""

    group: Group
    parameters: tuple[Parameter, ...]
    clause_names: JsonObject
    lines: tuple[Line, ...]
    precondition: JsonObject
    effects: tuple[str, ...]
    """Python conditions over `initial` and `final`."""
    types: Mapping[str, str]
    """Parameter name to its Python type."""


def pattern(example: Example) -> tuple[object, ...]:
    """Which arguments are what the clause names, and which fields the others have.

    One lucky example, in which another thing was handled and the clause held all the same,
    must not spoil the generalisation of the others, so examples are grouped by this too.
    """
    parts: list[object] = []
    for move in example.moves:
        for value in move.arguments.values():
            same = [name for name, reference in example.bound.items() if reference == value]
            fields = tuple(sorted(value)) if isinstance(value, dict) else ()
            parts.append((same[0] if same else None, () if same else fields))
    return tuple(parts)


def drafts(
    group: Group,
    effects: tuple[str, ...],
    groups: Sequence[Group],
    template: ClauseTemplate,
    tools: Mapping[str, ToolSpec],
    library: Mapping[str, Skill],
    values: Mapping[str, int],
) -> list[Draft]:
    """The generalisation of a group; where a parameter is free, the most specific choice.

    Args:
        group: examples of one shape and pattern.
        effects: what every way of meeting the clause has in common.
        groups: all groups, for what tells this one from the others.
        template: the clause's template.
        tools: by name, for what their parameters accept.
        library: by name, for the same.
        values: how many values each property has, see `diversity`.
    """
    rows = group.examples
    bound = {name: [e.bound[name] for e in rows] for name in rows[0].bound}
    columns: list[tuple[tuple[int, str], Column]] = [
        ((i, key), [e.moves[i].arguments.get(key) for e in rows])
        for i, move in enumerate(rows[0].moves)
        for key in move.arguments
    ]
    result: list[tuple[float, int, Draft]] = []
    spare = _dispensable(rows, tools, bound)
    asked = [column for place, column in columns if place not in spare]
    for free in free_choices(asked, bound):
        if len(rows) < 2 + FREE_SUPPORT * len(free):
            continue
        parameters: dict[str, Column] = dict(bound)
        for column in free:
            parameters[_free_name(rows, column, set(parameters), values)] = column
        lines: list[Line] = []
        for i, move in enumerate(rows[0].moves):
            arguments: list[tuple[str, Expression]] = []
            for key in move.arguments:
                if (i, key) in spare:
                    continue
                column = [e.moves[i].arguments.get(key) for e in rows]
                expression = explain(column, parameters)
                if expression is not None:
                    arguments.append((key, expression))
            lines.append((move.name, move.is_skill, tuple(arguments)))
        accepted = _accepted(lines, tools, library)
        typed = tuple(
            Parameter(
                name=name,
                type=_entity_type(rows, column),
                requires={
                    **template.parameters.get(name, {}),
                    **shared_properties(rows, column, values),
                    **({} if name in bound else related_properties(rows, column, bound)),
                },
                accepts=accepted.get(name, ()),
                from_clause=name in bound,
            )
            for name, column in parameters.items()
        )
        draft = Draft(
            group,
            typed,
            {name: name for name in bound},
            tuple(lines),
            contrast(group, groups),
            effects,
            {name: _python_type(column) for name, column in parameters.items()},
        )
        specific = sum(len(p.requires) for p in typed)
        result.append((-_derivable(rows, parameters, typed, lines), -specific, draft))
    result.sort(key=lambda item: item[:2])
    return [draft for _, _, draft in result[:1]]


def _dispensable(
    rows: Sequence[Example], tools: Mapping[str, ToolSpec], bound: Mapping[str, Column]
) -> set[tuple[int, str]]:
    """Arguments that vary with nothing and that their tool can do without: move and name.

    Not those that name something which was there from the beginning: that may be chosen freely.
    """
    spare: set[tuple[int, str]] = set()
    for i, move in enumerate(rows[0].moves):
        required = tools[move.name].parameters.get("required") if move.name in tools else None
        for key in move.arguments if isinstance(required, list) else ():
            column = [e.moves[i].arguments.get(key) for e in rows]
            there = any(_entity(e, value) for e, value in zip(rows, column, strict=True))
            if key not in cast("list[JsonValue]", required) and not there:
                if explain(column, bound) is None:
                    spare.add((i, key))
    return spare


def _derivable(
    rows: Sequence[Example],
    parameters: Mapping[str, Column],
    typed: Sequence[Parameter],
    lines: Sequence[Line],
) -> float:
    """How often what the function derives from a free parameter exists, for all that fit it.

    Of two things that determine each other only in part, the one from which the other always
    follows is the way round that generalises.
    """
    records = [
        expression
        for _, _, arguments in lines
        for _, expression in arguments
        if isinstance(expression, Record)
    ]
    tried = found = 0
    for parameter in typed:
        if parameter.from_clause:
            continue
        for index, example in enumerate(rows):
            known = {name: column[index] for name, column in parameters.items()}
            references = [entity.reference for entity in example.entities]
            for entity in example.entities:
                others = {name: known[name] for name in known if name != parameter.name}
                if not fits(parameter, entity, others) or not all(
                    allows(schema, entity.reference) for schema in parameter.accepts
                ):
                    continue
                known[parameter.name] = entity.reference
                for record in records:
                    tried += 1
                    found += evaluate(record, known) in references
    return found / tried if tried else 1.0


def _accepted(
    lines: Sequence[Line], tools: Mapping[str, ToolSpec], library: Mapping[str, Skill]
) -> dict[str, tuple[JsonObject, ...]]:
    """For each parameter, what the tools and skills that it is passed to accept."""
    found: dict[str, list[JsonObject]] = {}
    for name, is_skill, arguments in lines:
        for key, expression in arguments:
            if not isinstance(expression, Reference):
                continue
            schemas: list[JsonObject] = []
            if is_skill and name in library:
                schemas = [
                    schema
                    for parameter in library[name].parameters
                    if parameter.name == key
                    for schema in parameter.accepts
                ]
            elif name in tools:
                properties = tools[name].parameters.get("properties")
                schema = properties.get(key) if isinstance(properties, dict) else None
                schemas = [narrowing(schema)] if isinstance(schema, dict) else []
            known = found.setdefault(expression.parameter, [])
            known.extend(schema for schema in schemas if schema and schema not in known)
    return {name: tuple(schemas) for name, schemas in found.items()}


def _entity(example: Example, reference: JsonValue) -> Entity | None:
    return next((e for e in example.entities if e.reference == reference), None)


def _handled(rows: Sequence[Example], column: Column) -> list[Entity]:
    """The entity that each example had in a column; none at all where one had no entity there."""
    found = [_entity(e, reference) for e, reference in zip(rows, column, strict=True)]
    return [] if None in found else cast("list[Entity]", found)


def _entity_type(rows: Sequence[Example], column: Column) -> str:
    types = {
        entity.type
        for example, reference in zip(rows, column, strict=True)
        if (entity := _entity(example, reference)) is not None
    }
    return types.pop() if len(types) == 1 else "*"


def _python_type(column: Column) -> str:
    names = {type(value).__name__ for value in column}
    return names.pop() if len(names) == 1 else "object"


def diversity(found: Iterable[Example]) -> dict[str, int]:
    """How many values each property of an entity was seen to have, in all examples."""
    values: dict[str, set[str]] = {}
    for example in found:
        for entity in example.entities:
            for name, value in entity.properties.items():
                values.setdefault(name, set()).add(canonical_json(value))
    return {name: len(seen) for name, seen in values.items()}


def shared_properties(
    rows: Sequence[Example], column: Column, values: Mapping[str, int]
) -> JsonObject:
    """Properties that the parameter's entity had in every example, and not by coincidence.

    With V values of a property, n examples agree by chance with probability V^(1-n). One that is
    the reference over again says which thing it was, and never what it must be like.
    """
    present = _handled(rows, column)
    shared: JsonObject = {}
    for name, value in present[0].properties.items() if present else ():
        if isinstance(value, list) or any(e.properties.get(name) != value for e in present):
            continue
        if all(e.properties.get(name) == e.reference for e in present):
            continue
        known = values.get(name, 1)
        if known > 1 and known ** (1 - len(rows)) <= COINCIDENCE:
            shared[name] = value
    return shared


def related_properties(
    rows: Sequence[Example], column: Column, bound: Mapping[str, Column]
) -> JsonObject:
    """Properties by which the parameter's entity always had what the clause names, as relations.

    So one of several things called alike is told by what it stands beside, and one that has no
    name by its colour. What was named must have varied: the same name over again tells nothing.
    """
    present = _handled(rows, column)
    related: JsonObject = {}
    for name in present[0].properties if present else ():
        for other, given in bound.items():
            several = len({canonical_json(value) for value in given}) > 1
            if several and all(
                satisfies(entity, {name: value})
                for entity, value in zip(present, given, strict=True)
            ):
                related[name] = {"same": other}
                break
    return related


def contrast(group: Group, groups: Sequence[Group]) -> JsonObject:
    """State facts that tell this way of meeting a clause from another way of meeting it.

    A fact counts when it is present in every example here and absent in every example of
    another shape for the same clause, or the other way round.
    """
    mine = _presence(group)
    precondition: JsonObject = {}
    for other in groups:
        if other.shape[0] != group.shape[0] or other.shape == group.shape:
            continue
        if min(len(other.examples), len(group.examples)) < CONTRAST:
            continue
        theirs = _presence(other)
        for name, present in mine.items():
            if name in theirs and theirs[name] != present:
                precondition[name] = {"present": present}
    return precondition


def _presence(group: Group) -> dict[str, bool]:
    result: dict[str, bool] = {}
    first = group.examples[0].before
    for name, value in first.items():
        if isinstance(value, list):
            continue
        if len({example.before.get(name) is not None for example in group.examples}) == 1:
            result[name] = value is not None
    return result


def _free_name(
    rows: Sequence[Example], column: Column, taken: set[str], values: Mapping[str, int]
) -> str:
    shared = shared_properties(rows, column, values)
    words = [v for v in shared.values() if isinstance(v, str)] or ["other"]
    name = re.sub(r"\W+", "_", words[0].lower(), flags=re.ASCII).strip("_")[:48] or "other"
    if not name.isidentifier() or iskeyword(name) or name in ("env", "initial", "final"):
        name = f"the_{name}"
    while name in taken:
        name += "_2"
    return name
