"""What can be asked of a state that nobody described: predicates read off its shape.

A state is JSON whose top-level values are facts and whose top-level lists are sets of facts. From
examples of it follow the predicates: that a set has a member, that it has one with a flag set or
not, that one is called so (the field that tells members apart), that none is any more, that a
single fact has a value. Nothing here knows what a key means; JSON alone decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from keyword import iskeyword
from typing import Literal, NamedTuple

from pydantic import JsonValue

from agentlab.types import Clause, JsonObject, canonical_json

Scalar = str | int | float
Form = Literal["member", "absent", "fact"]

WHOLE = ""
"""The field name that means a member, or a fact, itself."""
MOST_FIELDS = 3
"""Fields of a member that one clause may name; sets with more are asked about by single fields."""
LONGEST_VALUE = 300
"""Characters of a value that a clause or an argument may name; longer ones are only shown."""
RESERVED = frozenset({"env", "initial", "final", "self"})


class Field(NamedTuple):
    """A field that a clause can name."""

    name: str
    """As in the state; `WHOLE` for a plain value."""
    parameter: str
    """As clauses and skills call it, an identifier."""
    kind: str
    """What values of it are; fields of one name share their values."""
    numeric: bool


class Predicate(NamedTuple):
    """Something that can hold in a state."""

    name: str
    key: str
    """The top-level name in the state, see `widened`."""
    form: Form
    fields: tuple[Field, ...]
    flag: tuple[str, bool] | None = None
    """A boolean field, and what it must be."""
    said: str = ""
    """The set that a person would name: `key` without the field of a widened one."""


Row = tuple[Scalar, ...]
"""Values of a predicate's fields, in their order."""


def is_scalar(value: JsonValue) -> bool:
    """Whether a clause can name the value: text that is not too long, or a number."""
    if isinstance(value, str):
        return 0 < len(value) <= LONGEST_VALUE
    return isinstance(value, int | float) and not isinstance(value, bool)


def scalars(value: JsonValue) -> Iterator[Scalar]:
    """Every value in a state that a clause can name, with repetitions."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from scalars(part)
    if isinstance(value, str | int | float) and is_scalar(value):
        yield value


def identifier(text: str) -> str:
    """A name from data as an identifier that code may use."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower()[:40] or "value"
    return f"the_{name}" if name[0].isdigit() or iskeyword(name) or name in RESERVED else name


def projection(key: str, field: str) -> str:
    """The top-level name under which `widened` lists the values of one field of a set."""
    return f"{key}_{field}"


def widened(state: JsonObject, predicates: Sequence[Predicate]) -> JsonObject:
    """The state with, for each set of records, the values of the field that tells them apart.

    They are facts like the others, so that effect checks can speak of them.
    """
    added: JsonObject = {}
    for predicate in predicates:
        if predicate.said == predicate.key or predicate.key in state or predicate.key in added:
            continue
        field = predicate.key[len(predicate.said) + 1 :]
        found = {
            canonical_json(member[field]): member[field]
            for member in _members(state.get(predicate.said))
            if isinstance(member, dict) and is_scalar(member.get(field))
        }
        added[predicate.key] = [found[text] for text in sorted(found)]
    return {**state, **added}


def learn(states: Sequence[JsonObject]) -> tuple[Predicate, ...]:
    """The predicates of an environment whose states look like these, in a stable order."""
    found: dict[str, Predicate] = {}
    keys = sorted({key for state in states for key in state})
    for key in keys:
        values = [state[key] for state in states if state.get(key) is not None]
        sets = [value for value in values if isinstance(value, list)]
        if len(sets) == len(values):
            made = _of_set(key, sets, taken=keys)
        elif not sets:
            made = _of_fact(key, values)
        else:
            continue
        for predicate in made:
            found.setdefault(predicate.name, predicate)
    return tuple(found.values())


def _of_set(
    key: str, sets: Sequence[Sequence[JsonValue]], taken: Sequence[str]
) -> Iterator[Predicate]:
    name = identifier(key)
    members = [member for value in sets for member in value]
    if members and all(is_scalar(member) for member in members):
        field = _field(WHOLE, members, kind=name)
        yield Predicate(name, key, "member", (field,), said=key)
        yield Predicate(f"no_{name}", key, "absent", (field,), said=key)
        return
    rows = [member for member in members if isinstance(member, dict)]
    if not rows or len(rows) < len(members):
        return
    fields = _fields(rows)
    flags = [
        each for each in sorted(rows[0]) if all(isinstance(row.get(each), bool) for row in rows)
    ]
    if 1 <= len(fields) <= MOST_FIELDS:
        yield Predicate(name, key, "member", fields, said=key)
        for flag in flags:
            label = identifier(flag)
            yield Predicate(f"{name}_{label}", key, "member", fields, (flag, True), key)
            yield Predicate(f"{name}_not_{label}", key, "member", fields, (flag, False), key)
    field = _telling(fields, sets)
    if field is None or projection(key, field.name) in taken:
        return
    part, whole = projection(key, field.name), field._replace(name=WHOLE)
    if len(fields) > 1:
        yield Predicate(f"{name}_{field.parameter}", part, "member", (whole,), said=key)
    yield Predicate(f"no_{name}_{field.parameter}", part, "absent", (whole,), said=key)


def _telling(fields: Sequence[Field], sets: Sequence[Sequence[JsonValue]]) -> Field | None:
    """The first field that no two members of a set share; the first of all where there is none."""
    for field in fields:
        shared = False
        for members in sets:
            values = [canonical_json(_part(member, field.name)) for member in members]
            shared = shared or len(set(values)) < len(values)
        if not shared:
            return field
    return fields[0] if fields else None


def _of_fact(key: str, values: Sequence[JsonValue]) -> Iterator[Predicate]:
    name = identifier(key)
    if values and all(isinstance(value, bool) for value in values):
        yield Predicate(name, key, "fact", (), (WHOLE, True), key)
        yield Predicate(f"not_{name}", key, "fact", (), (WHOLE, False), key)
    elif values and all(is_scalar(value) for value in values):
        yield Predicate(name, key, "fact", (_field(WHOLE, values, kind=name),), said=key)
    else:
        rows = [value for value in values if isinstance(value, dict)]
        fields = _fields(rows) if rows and len(rows) == len(values) else ()
        if 1 <= len(fields) <= MOST_FIELDS:
            yield Predicate(name, key, "fact", fields, said=key)


def _fields(rows: Sequence[JsonObject]) -> tuple[Field, ...]:
    names = [
        name
        for name in rows[0]
        if all(name in row and (row[name] is None or is_scalar(row[name])) for row in rows)
        and any(row[name] is not None for row in rows)
    ]
    return tuple(_field(name, [r[name] for r in rows], kind=identifier(name)) for name in names)


def _field(name: str, values: Iterable[JsonValue], *, kind: str) -> Field:
    numeric = all(isinstance(value, int | float) for value in values if value is not None)
    return Field(name, kind, kind, numeric)


def rows(predicate: Predicate, state: JsonObject) -> list[Row]:
    """The values for which a predicate holds in a widened state; for `absent`, for which not."""
    value = state.get(predicate.key)
    members = [value] if predicate.form == "fact" else _members(value)
    found: list[Row] = []
    for member in members:
        row = _row(predicate, member)
        if row is not None:
            found.append(row)
    return found


def _row(predicate: Predicate, member: JsonValue) -> Row | None:
    if predicate.flag is not None:
        name, wanted = predicate.flag
        actual = _part(member, name)
        if actual is not wanted:
            return None
    values = [_part(member, field.name) for field in predicate.fields]
    scalars = [value for value in values if isinstance(value, str | int | float)]
    if len(scalars) < len(values) or not all(is_scalar(value) for value in values):
        return None
    return tuple(scalars)


def _part(member: JsonValue, field: str) -> JsonValue:
    if field == WHOLE:
        return member
    return member.get(field) if isinstance(member, dict) else None


def _members(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def holds(predicate: Predicate, row: Row, state: JsonObject) -> bool:
    """Whether a predicate holds of these values in a widened state."""
    wanted = canonical_json(row)
    there = any(canonical_json(each) == wanted for each in rows(predicate, state))
    return there is not (predicate.form == "absent")


def achieved(
    predicates: Sequence[Predicate], before: JsonObject, after: JsonObject
) -> Iterator[Clause]:
    """The clauses that hold in a widened state and did not hold in an earlier one."""
    for predicate in predicates:
        if before.get(predicate.key) == after.get(predicate.key):
            continue
        early, late = rows(predicate, before), rows(predicate, after)
        new, old = (early, late) if predicate.form == "absent" else (late, early)
        known = {canonical_json(row) for row in old}
        for row in new:
            text = canonical_json(row)
            if text not in known:
                known.add(text)
                yield clause_of(predicate, row)


def clause_of(predicate: Predicate, row: Row) -> Clause:
    """The clause that a predicate holds of these values."""
    arguments: JsonObject = {
        field.parameter: value for field, value in zip(predicate.fields, row, strict=True)
    }
    return Clause.model_construct(predicate=predicate.name, arguments=arguments)


def reachable(
    predicates: Sequence[Predicate], walks: Sequence[Sequence[JsonObject]]
) -> tuple[Predicate, ...]:
    """The predicates that some walk brought about: what no tool can change is not asked for.

    Args:
        predicates: all that the states' shape suggests.
        walks: states in the order in which tools led from one to the next, the start first.
    """
    found: set[str] = set()
    for walk in walks:
        first = widened(walk[0], predicates) if walk else {}
        for state in walk[1:]:
            later = widened(state, predicates)
            found.update(clause.predicate for clause in achieved(predicates, first, later))
    return tuple(predicate for predicate in predicates if predicate.name in found)
