"""Looking what foreign tools can change, by calling them at random with values that exist.

An environment that nobody described is explored before anything is asked of it: random calls
from a few start states, always the same ones. What they bring about is what tasks may ask for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from pydantic import JsonValue

from agentlab.types import JsonObject, ToolSpec, derive_seed

CALLS = 60
"""Random calls from each start state."""
SPARE_TEXTS = ("amber", "birch", "cedar")
SPARE_NUMBERS = (1, 2, 5)
"""Values for where nothing is known yet."""


def explorers(
    tools: Sequence[ToolSpec], setup: str, seed: int, *, calls: int = CALLS
) -> Iterator[tuple[ToolSpec, random.Random]]:
    """The tools to call in turn, each with a generator for its arguments."""
    changing = [tool for tool in tools if tool.effect == "changes"]
    rng = random.Random(derive_seed("explore", setup, seed))
    for _ in range(calls if changing else 0):
        yield rng.choice(changing), rng


def guess(
    tool: ToolSpec,
    state: JsonObject,
    values: Mapping[str, Sequence[JsonValue]],
    rng: random.Random,
) -> JsonObject | None:
    """Arguments that fit the types, from what there is and from made-up values.

    Args:
        tool: whose arguments they are to be.
        state: the facts now.
        values: by kind, new values that the environment suggests.
        rng: chooses.

    Returns:
        None where the tool needs what cannot be made up.
    """
    texts: list[JsonValue] = [*SPARE_TEXTS]
    numbers: list[JsonValue] = [*SPARE_NUMBERS]
    for value in [*_leaves(state), *(v for known in values.values() for v in known)]:
        (texts if isinstance(value, str) else numbers).append(value)
    arguments: JsonObject = {}
    properties = cast("dict[str, JsonObject]", tool.parameters["properties"])
    required = cast("list[str]", tool.parameters["required"])
    for name, schema in properties.items():
        items = schema.get("items")
        lists = schema.get("type") == "array" and isinstance(items, dict)
        choices = _choices(cast("JsonObject", items) if lists else schema, texts, numbers)
        if choices:
            chosen = rng.choice(choices)
            arguments[name] = [chosen] if lists else chosen
        elif name in required:
            return None
    return arguments


def _choices(
    schema: JsonObject, texts: Sequence[JsonValue], numbers: Sequence[JsonValue]
) -> Sequence[JsonValue]:
    kind, enum = schema.get("type"), schema.get("enum")
    if isinstance(enum, list):
        return enum
    match kind[0] if isinstance(kind, list) else kind:
        case "string":
            return texts
        case "integer" | "number":
            return numbers
        case "boolean":
            return [False, True]
        case _:
            return ()


def _leaves(value: JsonValue) -> list[JsonValue]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value] if isinstance(value, str | int | float) and not isinstance(value, bool) else []
