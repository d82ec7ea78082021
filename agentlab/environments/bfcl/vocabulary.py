"""What a task can say of an API: its predicates, and the kinds of its arguments.

One `Subject` an API that keeps a state. It reads the API's attributes as facts, names the values
that a call can be given, and says which effects can be asked for. Nothing here decides what a
call does: that is the package's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.environments.shapes import WHOLE, Field, Predicate, identifier
from agentlab.types import JsonObject

Domain = str | tuple[JsonValue, ...]
"""What a parameter takes: things of that type, or one of these values."""


class Seen(NamedTuple):
    """A value that a call can be given or a task can name."""

    type: str
    """What parameters take it."""
    value: JsonValue
    kinds: tuple[str, ...] = ()
    """What else a task can say it is; its type counts too."""


class Note(NamedTuple):
    """Values of a type that an episode brings along, as a user's notes would."""

    type: str
    sources: tuple[tuple[str, str], ...] = ()
    """Tools and parameters whose values in the package's right answers are drawn from."""
    values: tuple[JsonValue, ...] = ()
    """Further values to draw from."""
    number: int = 2
    kinds: Callable[[JsonValue], tuple[str, ...]] = lambda _: ()
    """What else a task can say such a value is."""


class Subject(NamedTuple):
    """What can be said of one API."""

    api: str
    predicates: tuple[Predicate, ...]
    takes: Mapping[str, Mapping[str, Domain]]
    """Tool to what its parameters take; a tool or parameter left out is not for search."""
    facts: Callable[[JsonObject], JsonObject]
    """From attributes, see `world.Kept.attributes`; every predicate's key is there."""
    seen: Callable[[JsonObject], Iterable[Seen]]
    """Values in the attributes, and the words of this API's states."""
    notes: tuple[Note, ...]


def member(key: str, **fields: str) -> Predicate:
    """That a set of facts has a member with these fields; field to the kind of its values."""
    parts = tuple(Field(name, name, kind, numeric=False) for name, kind in fields.items())
    return Predicate(identifier(key), key, "member", parts, said=key)


def fact(key: str, parameter: str, kind: str) -> Predicate:
    """That a single fact has a value of that kind, called `parameter` in clauses."""
    field = Field(WHOLE, parameter, kind, numeric=False)
    return Predicate(identifier(key), key, "fact", (field,), said=key)


def states(of: Mapping[str, Iterable[str]]) -> list[Seen]:
    """State words as things: each word once, with all that it can be said of."""
    words: dict[str, list[str]] = {}
    for owner, values in of.items():
        for word in values:
            words.setdefault(word, []).append(f"{owner} state")
    return [Seen("state", word, tuple(owners)) for word, owners in words.items()]


def rows(value: JsonValue) -> list[JsonObject]:
    """The objects of a list or among an object's values."""
    inner = value.values() if isinstance(value, dict) else items(value)
    return [row for row in inner if isinstance(row, dict)]


def table(value: JsonValue) -> JsonObject:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: JsonValue) -> list[JsonValue]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def pick(source: JsonObject, **names: str) -> JsonObject:
    """Some fields under other names: parameter to field."""
    return {parameter: source.get(field) for parameter, field in names.items()}
