"""What a model may call, and how its calls are read.

The environment's tools and the retrieved skills are offered side by side, under names that every
endpoint takes and that tell a skill from a tool of the same name. A model's call is text that may
be anything: it becomes a call that fits its schema, or a fault of a stated kind with a sentence
that the model can put right. Nothing here raises for what a model wrote.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, NoReturn, cast

import jsonschema
from pydantic import JsonValue
from referencing import Registry

from agentlab.models.prompts import quoted
from agentlab.types import JsonObject, Parameter, Skill, ToolSpec, ToolUse, same_as

log = logging.getLogger(__name__)

FaultKind = Literal["not JSON", "unknown tool", "wrong arguments", "too long"]
LONGEST = 100_000
"""Characters of a call's arguments."""
DEEPEST = 40
"""Levels of nesting of a call's arguments."""
NAME = 64
"""Characters of a name that endpoints take."""
JSON_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "null"})
_FAULTS = 3
"""Faults of one call that are told."""
_REMOTE_NEVER: Registry[Any] = Registry()
"""Schemas come from others: a reference in one to an address is never fetched."""


class Wanted(NamedTuple):
    """A call that fits its schema: of a tool, or of a skill where that is set."""

    name: str
    """The tool's own name, or the skill's."""
    arguments: JsonObject
    skill: Skill | None = None


class Fault(NamedTuple):
    """Why a call cannot be carried out."""

    kind: FaultKind
    text: str
    """A sentence for the model that made it."""


class _Entry(NamedTuple):
    spec: ToolSpec
    name: str
    skill: Skill | None


class Toolbox:
    """Tools and skills under the names by which a model calls them.

    Args:
        tools: the environment's.
        skills: the offered ones; of several with one name the last counts.
    """

    def __init__(self, tools: Sequence[ToolSpec], skills: Sequence[Skill] = ()) -> None:
        self._entries: dict[str, _Entry] = {}
        self._checks: dict[str, Callable[[JsonObject], Iterator[Any]]] = {}
        for tool in tools:
            alias = free_name(tool.name, self._entries)
            self._entries[alias] = _Entry(
                tool.model_copy(update={"name": alias}), tool.name, skill=None
            )
        for skill in {skill.name: skill for skill in skills}.values():
            wanted = skill.name
            if spelled(wanted) in self._entries:
                wanted = f"skill_{wanted}"
            alias = free_name(wanted, self._entries)
            self._entries[alias] = _Entry(skill_spec(skill, alias, tools), skill.name, skill)
        self.specs = tuple(entry.spec for entry in self._entries.values())
        """What a request holds."""

    def read(self, use: ToolUse) -> Wanted | Fault:
        """The call that a model wrote, checked against its schema."""
        entry = self._entries.get(use.name)
        if entry is None:
            near = get_close_matches(use.name[:NAME], self._entries, n=3, cutoff=0.5)
            hint = (
                f"Did you mean {' or '.join(map(repr, near))}?"
                if near
                else f"There are: {', '.join(sorted(self._entries)[:50])}."
            )
            return Fault("unknown tool", f"There is no tool named {use.name[:NAME]!a}. {hint}")
        arguments = read_arguments(use.arguments)
        if isinstance(arguments, Fault):
            return arguments
        faults = self._faults(use.name, entry.spec.parameters, arguments)
        if faults:
            return Fault(
                "wrong arguments",
                f"The arguments of {use.name!r} do not fit its schema: {quoted('; '.join(faults))}",
            )
        return Wanted(entry.name, arguments, entry.skill)

    def _faults(self, alias: str, schema: JsonObject, arguments: JsonObject) -> list[str]:
        try:
            check = self._checks.get(alias)
            if check is None:
                check = self._checks[alias] = _checker(schema)
            found = itertools.islice(check(arguments), _FAULTS)
            return [f"{str(e.json_path)[:100]}: {str(e.message)[:300]}" for e in found]
        except Exception as error:  # a schema is foreign: one that cannot be used checks nothing
            log.warning(
                "The schema of the tool %r cannot be used (%s); its calls are left to the "
                "environment to check.",
                alias,
                type(error).__name__,
            )
            return []


def _checker(schema: JsonObject) -> Callable[[JsonObject], Iterator[Any]]:
    # The library's own annotations are partly unknown to a strict reader.
    validator: Any = jsonschema.Draft202012Validator(
        _without_patterns(schema), registry=_REMOTE_NEVER
    )
    return validator.iter_errors


def _without_patterns(schema: Any) -> Any:
    """The schema without regular expressions: a foreign one can take hours for a short text.

    What they narrow is left to the tool.
    """
    if isinstance(schema, list):
        return [_without_patterns(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_patterns(part)
        for key, part in cast("dict[str, Any]", schema).items()
        if key != "patternProperties" and not (key == "pattern" and isinstance(part, str))
    }


def read_arguments(text: str) -> JsonObject | Fault:
    """A call's arguments from the text that a model wrote; none at all are an empty object."""
    if len(text) > LONGEST:
        return Fault(
            "too long",
            f"The arguments have {len(text)} characters; at most {LONGEST} are taken.",
        )
    if not text.strip():
        return {}
    try:
        value: object = _DECODER.decode(text)
        if "\\u" in text or not text.isascii():
            # Half a surrogate pair is JSON, and nothing that could be recorded or sent.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        why = str(error).encode("ascii", "backslashreplace").decode()[:200]
        return Fault("not JSON", f"The arguments are no JSON: {quoted(why)}")
    if not isinstance(value, dict):
        return Fault("not JSON", "The arguments are JSON, and not the object that they must be.")
    if _deeper(cast("JsonValue", value), DEEPEST):
        return Fault("too long", f"The arguments are nested more than {DEEPEST} levels deep.")
    return cast("JsonObject", value)


def skill_spec(skill: Skill, alias: str, tools: Sequence[ToolSpec]) -> ToolSpec:
    """A skill as a tool: its schema from its parameters, its words as quoted data."""
    properties: JsonObject = {
        parameter.name: _parameter_schema(parameter, tools) for parameter in skill.parameters
    }
    words = [skill.summary.strip() or skill.name.replace("_", " ")]
    if skill.precondition:
        words.append(f"Needs: {json.dumps(skill.precondition, sort_keys=True)}")
    if skill.effect:
        words.append(f"Afterwards: {'; '.join(skill.effect)}")
    return ToolSpec(
        name=alias,
        description=(
            "A skill learnt earlier: one call that makes several. "
            f"What is known of it: {quoted(' '.join(words))}"
        ),
        parameters={
            "type": "object",
            "properties": properties,
            "required": [parameter.name for parameter in skill.parameters],
            "additionalProperties": False,
        },
    )


def _parameter_schema(parameter: Parameter, tools: Sequence[ToolSpec]) -> JsonObject:
    schema: JsonObject = {}
    if parameter.type in JSON_TYPES:
        schema["type"] = parameter.type
    else:
        # A reference can be any value; what the tools say of such a one is the best that is known.
        kinds = {
            kind
            for part in _pointing(tools)
            if "*" in (part["x-entity"], parameter.type) or part["x-entity"] == parameter.type
            if isinstance(kind := part.get("type"), str)
        }
        if len(kinds) == 1:
            schema["type"] = kinds.pop()
        schema["x-entity"] = parameter.type
        about = "anything" if parameter.type == "*" else f"a thing of the type {parameter.type!r}"
        schema["description"] = f"The reference of {about}"
        plain = {k: v for k, v in parameter.requires.items() if same_as(v) is None}
        if plain:
            schema["description"] += f" that has {json.dumps(plain, sort_keys=True)}"
        for name, wanted in sorted(parameter.requires.items()):
            if (other := same_as(wanted)) is not None:
                schema["description"] += f", with the {name} that {other!r} names"
    if len(parameter.accepts) == 1:
        schema |= parameter.accepts[0]
    elif parameter.accepts:
        schema["allOf"] = list(parameter.accepts)
    return schema


def _pointing(tools: Sequence[ToolSpec]) -> Iterator[JsonObject]:
    """The schemas of the parameters that take a reference."""
    for tool in tools:
        properties = tool.parameters.get("properties")
        for part in properties.values() if isinstance(properties, dict) else ():
            if isinstance(part, dict) and "x-entity" in part:
                yield part


def spelled(name: str) -> str:
    """A name in the letters and the length that endpoints take."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:NAME] or "tool"


def free_name(name: str, taken: Collection[str]) -> str:
    """The name as endpoints take it, with a number where another has it already."""
    base = alias = spelled(name)
    number = 1
    while alias in taken:
        number += 1
        tail = f"_{number}"
        alias = base[: NAME - len(tail)] + tail
    return alias


def _deeper(value: JsonValue, levels: int) -> bool:
    level: list[JsonValue] = [value]
    for _ in range(levels):
        inner: list[JsonValue] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(each.values())
            elif isinstance(each, list):
                inner.extend(each)
        if not inner:
            return False
        level = inner
    return any(isinstance(each, dict | list) for each in level)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
