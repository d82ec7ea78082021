"""Anti-unification: the least general expression that covers the same argument in every example.

Plotkin 1970, "A Note on Inductive Generalization", over JSON values: a value that is a
parameter in every example becomes that parameter, a field that equals a parameter's field
becomes a reference to it ("of the same colour as x"), what never varies stays a constant.
What varies and is explained by nothing becomes a free parameter, as few as possible.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from agentlab.types import canonical_json

TELLING = 3
"""Characters from which what a parameter says is looked for in texts that never vary."""
MAX_FREE = 1
"""Free parameters that a skill may have beside those its clause names."""

Column = Sequence[JsonValue]
"""One value for each example."""


@dataclass(frozen=True)
class Constant:
    """The same value always."""

    value: JsonValue


@dataclass(frozen=True)
class Reference:
    """A parameter."""

    parameter: str


@dataclass(frozen=True)
class FieldOf:
    """One field of a parameter that is an object."""

    parameter: str
    field: str


@dataclass(frozen=True)
class Record:
    """An object built from expressions."""

    fields: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True)
class Items:
    """A list built from expressions."""

    items: tuple[Expression, ...]


@dataclass(frozen=True)
class Text:
    """A text put together from constant parts and from what parameters say."""

    parts: tuple[str | Reference | FieldOf, ...]


Expression = Constant | Reference | FieldOf | Record | Items | Text


def render(expression: Expression) -> str:
    """The expression as Python source."""
    match expression:
        case Constant(value):
            return python_literal(value)
        case Reference(parameter):
            return parameter
        case FieldOf(parameter, field):
            return f"{parameter}[{python_literal(field)}]"
        case Record(fields):
            inner = ", ".join(f"{python_literal(name)}: {render(value)}" for name, value in fields)
            return "{" + inner + "}"
        case Items(items):
            return "[" + ", ".join(map(render, items)) + "]"
        case Text(parts):
            return " + ".join(
                python_literal(part) if isinstance(part, str) else f"str({render(part)})"
                for part in parts
            )


def evaluate(expression: Expression, parameters: Mapping[str, JsonValue]) -> JsonValue:
    """The expression's value for these arguments; None where a field is missing."""
    match expression:
        case Constant(value):
            return value
        case Reference(parameter):
            return parameters[parameter]
        case FieldOf(parameter, field):
            owner = parameters[parameter]
            return owner.get(field) if isinstance(owner, dict) else None
        case Record(fields):
            return {name: evaluate(value, parameters) for name, value in fields}
        case Items(items):
            return [evaluate(value, parameters) for value in items]
        case Text(parts):
            return "".join(
                part if isinstance(part, str) else str(evaluate(part, parameters)) for part in parts
            )


def python_literal(value: JsonValue) -> str:
    """A JSON value as a Python literal, with double quotes where it is ASCII."""
    if isinstance(value, dict):
        inner = ", ".join(f"{python_literal(k)}: {python_literal(v)}" for k, v in value.items())
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ", ".join(python_literal(item) for item in value) + "]"
    if isinstance(value, str):
        # JSON spells what lies beyond the basic plane as two characters, Python as one.
        return json.dumps(value) if value.isascii() else ascii(value)
    return repr(value)


def explain(column: Column, parameters: Mapping[str, Column]) -> Expression | None:
    """An expression over the parameters that gives the column's value in every example.

    Args:
        column: the values, one an example.
        parameters: parameter name to its values in the same examples.

    Returns:
        None when nothing explains it.
    """
    for name, values in parameters.items():
        if _equal(column, values):
            return Reference(name)
    if _constant(column):
        return _particular(column, parameters) or Constant(column[0])
    if all(isinstance(value, dict) for value in column):
        return _record(column, parameters)
    if all(isinstance(value, list) for value in column):
        return _items(column, parameters)
    return _field(column, parameters) or composed(column, parameters)


def _record(column: Column, parameters: Mapping[str, Column]) -> Expression | None:
    rows = [value for value in column if isinstance(value, dict)]
    keys = list(rows[0])
    if any(set(row) != set(keys) for row in rows):
        return None
    fields: list[tuple[str, Expression]] = []
    for key in keys:
        values = [row[key] for row in rows]
        inner = (
            Constant(values[0])
            if _constant(values)
            else _field(values, parameters, first=key) or explain(values, parameters)
        )
        if inner is None:
            return None
        fields.append((key, inner))
    return Record(tuple(fields))


def _items(column: Column, parameters: Mapping[str, Column]) -> Expression | None:
    rows = [value for value in column if isinstance(value, list)]
    if any(len(row) != len(rows[0]) for row in rows):
        return None
    items: list[Expression] = []
    for values in zip(*rows, strict=True):
        inner = explain(values, parameters)
        if inner is None:
            return None
        items.append(inner)
    return Items(tuple(items))


def _field(
    column: Column, parameters: Mapping[str, Column], *, first: str | None = None
) -> FieldOf | None:
    for name, values in parameters.items():
        rows = [value for value in values if isinstance(value, dict)]
        if len(rows) != len(column):
            continue
        shared = [field for field in rows[0] if all(field in row for row in rows)]
        for field in sorted(shared, key=lambda key: (key != first, key)):
            if _equal(column, [row[field] for row in rows]):
                return FieldOf(name, field)
    return None


def composed(column: Column, parameters: Mapping[str, Column]) -> Text | None:
    """A text in which constant words stand around what parameters say: `Add … to cart`."""
    texts = [value for value in column if isinstance(value, str)]
    if len(texts) != len(column):
        return None
    fitting = [
        (way, values)
        for way, values in _sayings(parameters)
        if all(said and said in text for said, text in zip(values, texts, strict=True))
    ]
    parts: list[str | Reference | FieldOf] = [texts[0]]
    for way, values in sorted(fitting, key=lambda each: -len(each[1][0])):
        parts = [piece for part in parts for piece in _cut(part, values[0], way)]
    if all(isinstance(part, str) for part in parts):
        return None
    made = Text(tuple(parts))
    given = [
        {name: values[index] for name, values in parameters.items()} for index in range(len(texts))
    ]
    return made if [evaluate(made, each) for each in given] == texts else None


def _particular(column: Column, parameters: Mapping[str, Column]) -> FieldOf | Text | None:
    """What a text is that never varied because what a parameter says in it never did."""
    if not isinstance(column[0], str):
        return None
    telling: dict[str, Column] = {}
    for name, values in parameters.items():
        rows: list[JsonValue] = [
            {k: v for k, v in value.items() if isinstance(v, str) and len(v) >= TELLING}
            for value in values
            if isinstance(value, dict)
        ]
        if len(rows) == len(column):
            telling[name] = rows
    found = _field(column, telling) or composed(column, telling) or _said(column, parameters)
    return found if found and _whole_words(found) else None


def _said(column: Column, parameters: Mapping[str, Column]) -> Text | None:
    """A text that is a number of a parameter and nothing beside it.

    Where examples are few it may have been the same in all of them by chance; a call that was
    always given the very number that was asked for hardly knew it by itself.
    """
    for name, values in parameters.items():
        rows = [value for value in values if isinstance(value, dict)]
        for field in sorted(rows[0]) if len(rows) == len(column) else ():
            said = [row.get(field) for row in rows]
            numbers = [v for v in said if isinstance(v, int) and not isinstance(v, bool)]
            if [str(number) for number in numbers] == list(column):
                return Text((FieldOf(name, field),))
    return None


def _whole_words(found: FieldOf | Text) -> bool:
    """Whether what a parameter says stands in a text as words, and not as part of one."""
    parts = found.parts if isinstance(found, Text) else ()
    return all(
        not (isinstance(one, str) and one[-1:].isalnum())
        and not (isinstance(two, str) and two[:1].isalnum())
        for one, two in itertools.pairwise(parts)
    )


def _sayings(parameters: Mapping[str, Column]) -> list[tuple[Reference | FieldOf, list[str]]]:
    """What each parameter says in words or numbers, whole or by its fields."""
    found: list[tuple[Reference | FieldOf, list[str]]] = []
    for name, values in parameters.items():
        rows = [value for value in values if isinstance(value, dict)]
        ways: list[tuple[Reference | FieldOf, list[JsonValue]]] = [(Reference(name), [*values])]
        if len(rows) == len(values) and rows:
            shared = sorted(field for field in rows[0] if all(field in row for row in rows))
            ways = [(FieldOf(name, field), [row[field] for row in rows]) for field in shared]
        for way, said in ways:
            plain = [v for v in said if isinstance(v, str | int) and not isinstance(v, bool)]
            if len(plain) == len(said):
                found.append((way, [str(value) for value in plain]))
    return found


def _cut(
    part: str | Reference | FieldOf, said: str, way: Reference | FieldOf
) -> list[str | Reference | FieldOf]:
    if not isinstance(part, str):
        return [part]
    pieces: list[str | Reference | FieldOf] = []
    for number, piece in enumerate(part.split(said)):
        pieces += [way] if number else []
        pieces += [piece] if piece else []
    return pieces


def _equal(left: Column, right: Column) -> bool:
    return all(canonical_json(a) == canonical_json(b) for a, b in zip(left, right, strict=True))


def _constant(column: Column) -> bool:
    return _equal(column, [column[0]] * len(column))


def free_choices(
    columns: Sequence[Column], parameters: Mapping[str, Column]
) -> list[tuple[Column, ...]]:
    """The smallest sets of columns that, taken as free parameters, explain all the others.

    Returns:
        `[()]` when none is needed; empty when more than `MAX_FREE` would be.
    """
    open_columns = [column for column in columns if explain(column, parameters) is None]
    if not open_columns:
        return [()]
    distinct: dict[str, Column] = {canonical_json(list(c)): c for c in open_columns}
    for size in range(1, MAX_FREE + 1):
        choices: list[tuple[Column, ...]] = []
        for chosen in itertools.combinations(distinct.values(), size):
            extended = {**parameters, **{f"\x00{i}": c for i, c in enumerate(chosen)}}
            if all(explain(column, extended) is not None for column in open_columns):
                choices.append(chosen)
        if choices:
            return choices
    return []
