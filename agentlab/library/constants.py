"""Which literals of a skill belong to the tasks it was learnt from, and not to the environment.

A skill that says "red ball" where it should take a parameter passes on its own tasks and nowhere
else. What counts as particular is read from the source tasks themselves and from what their
attempts were shown; what the tools' schemas or the grammar enumerate is vocabulary and may be
said. Nothing here knows an environment, and nothing here runs code.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.types import (
    Entity,
    GrammarSpec,
    JsonObject,
    Skill,
    Task,
    ToolSpec,
    canonical_json,
)

ORDINARY = frozenset({"0", "1", "-1"})
"""Numbers that mean nothing by themselves."""
SHORTEST = 3
"""Characters from which a particular word is looked for inside a longer text."""


class Particulars(NamedTuple):
    """What is particular to some tasks, as canonical JSON."""

    values: frozenset[str] = frozenset()
    """Plain values: words and numbers in the missions and in the tasks' parameters, and what in
    a reference tells one thing from all others there; less what is vocabulary."""
    wholes: frozenset[str] = frozenset()
    """References of entities that are objects or lists, whole. One of these is particular even
    where all its parts are vocabulary: `{"color": "red", "kind": "ball"}`."""
    own: frozenset[str] = frozenset()
    """Names of properties by which each thing that has one says which it is: the reference over
    again. Whatever value is asked of one, it is one thing's."""


def particulars(
    tasks: Iterable[Task],
    shown: Iterable[Sequence[Entity]],
    states: Iterable[JsonObject],
    *,
    tools: Sequence[ToolSpec],
    spec: GrammarSpec | None = None,
) -> Particulars:
    """The particulars of tasks.

    Args:
        tasks: those that a candidate was derived from.
        shown: what each attempt at them was shown first. A part of a reference that two things
            had at once tells what kind of thing they are, and is no one's name. Nor is a name
            that every attempt was shown while other names differed, unless a task speaks of it.
        states: the states they began in; the names of facts are vocabulary.
        tools: their schemas' `enum` and `const` values, and property names, are vocabulary.
        spec: the grammar's predicates, start-state families and required properties are too, and
            what stands in every start state, where these are all alike.
    """
    values: set[str] = set()
    wholes: set[str] = set()
    known: set[str] = set()
    tasks, shown = list(tasks), list(shown)
    for task in tasks:
        values.update(_leaves(task.parameters))
        for clause in task.mission.clauses if task.mission else ():
            values.update(_leaves(clause.arguments))
    identifying: set[str] = set()
    shared: set[str] = set()
    own: dict[str, bool] = {}
    starts = list(shown)
    for entity in (entity for entities in starts for entity in _counted(entities, shared)):
        identifying.update(_leaves(entity.reference))
        known.update(_keys(entity.reference), _keys(entity.properties))
        known.add(canonical_json(entity.type))
        for name, value in entity.properties.items():
            same = canonical_json(value) == canonical_json(entity.reference)
            own[name] = own.get(name, True) and same
        if isinstance(entity.reference, dict | list):
            wholes.add(canonical_json(entity.reference))
    values |= identifying - shared - _fixtures(starts)
    for state in states:
        known.update(canonical_json(name) for name in state)
    for tool in tools:
        known.update(_enumerated(tool.parameters))
    if spec is not None:
        known.update(canonical_json(value) for value in (*spec.setups, *spec.standing))
        for template in spec.templates:
            known.add(canonical_json(template.predicate))
            for required in template.parameters.values():
                known.update(_keys(required), _leaves(required))
    return Particulars(
        frozenset(values - known - ORDINARY),
        frozenset(wholes),
        frozenset(name for name, always in own.items() if always),
    )


def _fixtures(starts: Sequence[Sequence[Entity]]) -> set[str]:
    """Names that were there at every start while other names came and went: a menu's, a form's."""
    named = [
        {canonical_json(each.reference) for each in entities if isinstance(each.reference, str)}
        for entities in starts
    ]
    if len(named) < 2:
        return set()
    always = named[0].intersection(*named[1:])
    return always if named[0].union(*named[1:]) - always else set()


def _counted(entities: Sequence[Entity], shared: set[str]) -> Sequence[Entity]:
    """The same entities; what several of them have in their references is added to `shared`."""
    counts = Counter(leaf for entity in entities for leaf in set(_leaves(entity.reference)))
    shared.update(leaf for leaf, count in counts.items() if count > 1)
    return entities


def task_constant(skill: Skill, found: Particulars) -> str | None:
    """The first literal that names a particular, or None; what parameters require is read too.

    What search found several solved tasks to share is required of no one thing by name, so of its
    requirements only those by which a thing says which it is are looked for.
    """
    for source in (skill.source, skill.effect_source):
        for node in _literals(ast.parse(source)):
            value = _value(node)
            if value is not None and _is_particular(value, found):
                return ast.unparse(node)
    for parameter in skill.parameters:
        for name, value in parameter.requires.items():
            said = skill.origin != "search" and value is not None and not isinstance(value, bool)
            if name in found.own or (said and _is_particular(value, found)):
                return f"{value!r}, which {parameter.name!r} requires as {name!r}"
    return None


def _is_particular(value: JsonValue, found: Particulars) -> bool:
    if isinstance(value, dict | list):
        return canonical_json(value) in found.wholes
    if canonical_json(value) in found.values:
        return True
    if not isinstance(value, str):
        return False
    texts = (part[1:-1] for part in found.values if part.startswith('"'))
    return any(
        len(text) >= SHORTEST and re.search(rf"\b{re.escape(text)}\b", value) for text in texts
    )


def _literals(tree: ast.Module) -> Iterator[ast.expr]:
    """Constants and displays, docstrings left out."""
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if id(node) not in documents and isinstance(
            node, ast.Constant | ast.Dict | ast.List | ast.Tuple | ast.UnaryOp
        ):
            yield node


def _value(node: ast.expr) -> JsonValue:
    """What a display of constants stands for; None for any other expression, and for truths."""
    try:
        value: object = ast.literal_eval(node)
        canonical_json(value)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return None
    if isinstance(value, tuple):
        value = list(cast("tuple[object, ...]", value))
    return None if isinstance(value, bool) else cast("JsonValue", value)


def _leaves(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool) and value != "":
        yield canonical_json(value)


def _keys(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield canonical_json(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def _enumerated(schema: JsonValue) -> Iterator[str]:
    """Every `enum` and `const` value of a schema, and the names of its properties."""
    if isinstance(schema, dict):
        for key, inner in schema.items():
            if key in ("enum", "const"):
                yield from _leaves(inner)
            if key == "properties" and isinstance(inner, dict):
                yield from (canonical_json(name) for name in inner)
            yield from _enumerated(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _enumerated(inner)
