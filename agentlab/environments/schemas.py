"""JSON schemas of foreign tools, brought down to the part that agentlab's tools use.

Servers and pydantic write schemas with references, unions and formats. A tool here is described
by the keywords that `probing.KEYWORDS` lists: references are put in place, an optional value
keeps its type, and what only narrows further is left to the tool itself, which refuses what it
does not take. Parameters that are plain text or numbers are marked, so that search may try on
them the values that it sees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from inspect import cleandoc, isclass, signature
from keyword import iskeyword
from typing import Any, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model
from pydantic.errors import PydanticUserError

from agentlab.environments.probing import KEYWORDS, TYPES
from agentlab.errors import ConfigError
from agentlab.types import JsonObject

DEEPEST = 8
"""Levels of a schema that are read; what lies deeper may be anything."""
PLAIN = frozenset({"string", "number", "integer"})
ANY_VALUE = "*"
_WORDS = re.compile(r"\W+", re.ASCII)


def tool_name(name: str, taken: Sequence[str] = ()) -> str:
    """A tool's name as code can call it, different from those that are taken."""
    base = _WORDS.sub("_", name).strip("_")[:64] or "tool"
    if base[0].isdigit() or iskeyword(base) or base == "skills":
        base = f"tool_{base}"
    found, number = base, 2
    while found in taken:
        found, number = f"{base}_{number}", number + 1
    return found


def reduced(schema: Mapping[str, Any]) -> JsonObject:
    """The parameters of a tool: an object of the subset, plain ones marked for search.

    Of a list of plain values its items are marked: search tries lists of one.
    """
    inner = _reduced(schema, _object(schema.get("$defs")), 0)
    properties = inner.get("properties")
    marked: JsonObject = {}
    for name, part in (properties if isinstance(properties, dict) else {}).items():
        marked[name] = part
        if isinstance(part, dict) and _plain(part):
            marked[name] = {**part, "x-entity": ANY_VALUE}
        elif isinstance(part, dict) and part.get("type") == "array":
            items = part.get("items")
            if isinstance(items, dict) and _plain(items):
                marked[name] = {**part, "items": {**items, "x-entity": ANY_VALUE}}
    required = inner.get("required")
    return {
        "type": "object",
        "properties": marked,
        "required": [n for n in required if n in marked] if isinstance(required, list) else [],
        "additionalProperties": False,
    }


def _plain(schema: JsonObject) -> bool:
    kinds = schema.get("type")
    several = kinds if isinstance(kinds, list) else [kinds]
    return "enum" not in schema and "const" not in schema and bool(PLAIN & set(map(str, several)))


def _reduced(schema: object, definitions: Mapping[str, Any], depth: int) -> JsonObject:
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return {}
    given = dict(cast("Mapping[str, Any]", schema))
    reference = given.pop("$ref", None)
    if isinstance(reference, str):
        target = definitions.get(reference.rpartition("/")[2])
        return _reduced({**_object(target), **given}, definitions, depth + 1)
    choices = given.get("anyOf") or given.get("oneOf")
    if isinstance(choices, list):
        return _union(cast("list[object]", choices), given, definitions, depth)
    parts = given.get("allOf")
    if isinstance(parts, list) and len(cast("list[object]", parts)) == 1:
        only = _object(cast("list[object]", parts)[0])
        return _reduced({**only, **given, "allOf": None}, definitions, depth + 1)
    kept: JsonObject = {key: given[key] for key in KEYWORDS & set(given) - {"x-entity"}}
    kinds = kept.get("type")
    several = kinds if isinstance(kinds, list) else [kinds]
    if not several or not all(isinstance(kind, str) and kind in TYPES for kind in several):
        kept.pop("type", None)
    if isinstance(given.get("properties"), Mapping):
        inner = _object(given["properties"])
        kept["properties"] = {n: _reduced(p, definitions, depth + 1) for n, p in inner.items()}
        required = kept.get("required")
        named = required if isinstance(required, list) else []
        kept["required"] = [name for name in named if isinstance(name, str) and name in inner]
    else:
        kept.pop("properties", None)
        kept.pop("required", None)
    if "items" in kept:
        kept["items"] = _reduced(given["items"], definitions, depth + 1)
    if not isinstance(kept.get("additionalProperties", True), bool):
        del kept["additionalProperties"]
    if not (isinstance(kept.get("enum", [0]), list) and kept.get("enum", [0])):
        del kept["enum"]
    return kept


def _object(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _union(
    choices: Sequence[object], given: Mapping[str, Any], definitions: Mapping[str, Any], depth: int
) -> JsonObject:
    """An optional value keeps its schema and may be null; of other unions the types are kept."""
    said: JsonObject = {k: given[k] for k in ("description", "title", "default") if k in given}
    parts = [_reduced(choice, definitions, depth + 1) for choice in choices]
    real = [part for part in parts if part.get("type") != "null"]
    if len(real) == 1 and isinstance(real[0].get("type"), str) and "enum" not in real[0]:
        kinds: list[JsonValue] = [real[0]["type"]]
        kinds += ["null"] if len(real) < len(parts) else []
        return {**real[0], **said, "type": kinds if len(kinds) > 1 else kinds[0]}
    if len(real) == 1:
        return {**real[0], **said}
    kinds = [part["type"] for part in parts if isinstance(part.get("type"), str)]
    return (
        {**said, "type": list(dict.fromkeys(map(str, kinds)))} if len(kinds) == len(parts) else said
    )


def of_function(function: Callable[..., object], where: str) -> JsonObject:
    """The parameters of a typed Python function.

    Raises:
        ConfigError: a parameter has no type, or one that JSON cannot spell.
    """
    try:
        schema = _model(function, where).model_json_schema()
    except PydanticUserError as error:
        raise _untold(where, error) from error
    found = reduced(schema)
    for part in cast("dict[str, JsonObject]", found["properties"]).values():
        part.pop("title", None)
    return found


def parser_of(
    function: Callable[..., object], where: str
) -> Callable[[JsonObject], dict[str, Any]]:
    """What turns JSON arguments into those that the function's annotations ask for.

    It raises pydantic's `ValidationError` for what does not fit.
    """
    model = _model(function, where)
    names = {_alias(name): name for name in signature(function).parameters}

    def parse(arguments: JsonObject) -> dict[str, Any]:
        made = model.model_validate(arguments)
        return {
            names[n]: getattr(made, n) for n in model.model_fields if n in made.model_fields_set
        }

    return parse


def _model(function: Callable[..., object], where: str) -> type[BaseModel]:
    try:
        hints = get_type_hints(function, include_extras=True)
        parameters = signature(function).parameters
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"The annotations of {where} cannot be read: {error}.") from error
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"{where} takes {name!r} in a way that has no name; give it one.")
        if name not in hints:
            raise ConfigError(f"The parameter {name!r} of {where} has no type; annotate it.")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[_alias(name)] = (hints[name], Field(default=default, alias=name))
    try:
        config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
        return create_model("Arguments", __config__=config, **fields)
    except (PydanticUserError, NameError, TypeError, ValueError) as error:
        raise _untold(where, error) from error


def _alias(name: str) -> str:
    """A field's name that no method of pydantic's models has."""
    return f"given_{name}"


def _untold(where: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"The parameters of {where} cannot be told as JSON ({str(error).splitlines()[0]}); use "
        "text, numbers, booleans, Literal, lists and models of them."
    )


def described(function: Callable[..., object]) -> str:
    """What a function says of itself."""
    text = function.__doc__ if not isclass(function) else None
    return cleandoc(text) if text else ""
