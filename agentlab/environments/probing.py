"""What the checks do with an environment: call it at random, and record what it shows.

Calls are drawn from what the schemas allow over the entities in view; nothing here knows what
a tool does. A record is plain JSON, so that two of them can be compared as wholes.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.protocols import Environment, EnvironmentFactory, HasOracle, HasState
from agentlab.types import (
    Entity,
    JsonObject,
    Observation,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    canonical_json,
    derive_seed,
)

WANDER = 25
"""Random calls in a walk."""
UNKNOWN_TOOL = "no_such_tool"
MOST_CALLS = 4000
"""Calls listed for one observation, at most."""


class Opened(AbstractAsyncContextManager[Environment]):
    """A fresh instance that is closed at the end."""

    def __init__(self, factory: EnvironmentFactory) -> None:
        self._environment = factory()

    async def __aenter__(self) -> Environment:
        return self._environment

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._environment.close()


class Walk(NamedTuple):
    """Calls and what they did."""

    calls: tuple[ToolCall, ...]
    records: tuple[str, ...]
    """The start, then each step, as canonical JSON."""
    results: tuple[StepResult, ...]


async def state_of(environment: Environment) -> JsonObject | None:
    """The JSON state, where it can be read."""
    return await environment.state() if isinstance(environment, HasState) else None


async def oracle_of(environment: Environment, task: Task) -> Sequence[ToolCall] | None:
    """The known solution, where there is one."""
    return await environment.oracle(task) if isinstance(environment, HasOracle) else None


def shown(observation: Observation) -> JsonObject:
    """An observation as JSON."""
    return cast("JsonObject", json.loads(observation.model_dump_json()))


async def record(environment: Environment, result: StepResult | Observation) -> str:
    """What was shown and the state now, as one comparable text."""
    data = cast("JsonObject", json.loads(result.model_dump_json()))
    return canonical_json([data, await state_of(environment)])


async def start(environment: Environment, task: Task) -> tuple[Observation, str]:
    """Reset with the task's seed; the observation and its record."""
    observation = await environment.reset(task, task.seed)
    return observation, await record(environment, observation)


async def follow(environment: Environment, calls: Iterable[ToolCall]) -> Walk:
    """Make calls until the episode ends; the records of the steps alone."""
    made: list[ToolCall] = []
    records: list[str] = []
    results: list[StepResult] = []
    for call in calls:
        result = await environment.step(call)
        made.append(call)
        results.append(result)
        records.append(await record(environment, result))
        if result.terminated or result.truncated:
            break
    return Walk(tuple(made), tuple(records), tuple(results))


async def wander(environment: Environment, task: Task, *, length: int, salt: str = "") -> Walk:
    """Reset and make `length` calls at random, the same for the same task and salt."""
    rng = random.Random(derive_seed("check", task.id, salt))
    made: list[ToolCall] = []
    results: list[StepResult] = []
    observation, first = await start(environment, task)
    records = [first]
    for _ in range(length):
        call = draw(environment.tools, observation.entities, rng)
        if call is None:
            break
        result = await environment.step(call)
        made.append(call)
        results.append(result)
        records.append(await record(environment, result))
        observation = result.observation
        if result.terminated or result.truncated:
            break
    return Walk(tuple(made), tuple(records), tuple(results))


def draw(
    tools: Sequence[ToolSpec], entities: Sequence[Entity], rng: random.Random
) -> ToolCall | None:
    """A call that the schemas allow: each tool equally often, then each of its calls."""
    choices = [calls for tool in tools if (calls := calls_of(tool, entities))]
    return rng.choice(rng.choice(choices)) if choices else None


def calls_of(tool: ToolSpec, entities: Sequence[Entity]) -> list[ToolCall]:
    """The calls that a tool's schema allows over these entities.

    Empty where a required parameter is neither an entity, nor an `enum`, nor boolean.
    """
    required = required_of(tool)
    domains: dict[str, list[JsonValue]] = {}
    for name, schema in properties_of(tool).items():
        values = _domain(schema, entities)
        if values is not None:
            domains[name] = values
        elif name in required:
            return []
    names = list(domains)
    combinations = itertools.islice(itertools.product(*domains.values()), MOST_CALLS)
    return [
        ToolCall(tool=tool.name, arguments=dict(zip(names, values, strict=True)))
        for values in combinations
    ]


def properties_of(tool: ToolSpec) -> dict[str, JsonObject]:
    """The schemas of a tool's parameters."""
    return cast("dict[str, JsonObject]", tool.parameters.get("properties") or {})


def required_of(tool: ToolSpec) -> list[str]:
    """Names of a tool's required parameters."""
    return cast("list[str]", tool.parameters.get("required") or [])


def _domain(schema: JsonObject, entities: Sequence[Entity]) -> list[JsonValue] | None:
    wanted = schema.get("x-entity")
    if isinstance(wanted, str):
        return [
            entity.reference
            for entity in entities
            if wanted in ("*", entity.type) and not mismatch(schema, entity.reference)
        ]
    enum, items = schema.get("enum"), schema.get("items")
    if isinstance(enum, list):
        return list(enum)
    if schema.get("type") == "array" and isinstance(items, dict) and "x-entity" in items:
        return [[value] for value in _domain(items, entities) or ()]
    return [False, True] if schema.get("type") == "boolean" else None


def same(
    one: Sequence[str],
    two: Sequence[str],
    calls: Sequence[ToolCall],
    task: Task,
    between: str,
) -> None:
    """Raise `AssertionError` at the first record that differs, naming the call before it."""
    offset = len(one) - len(calls)
    for index, (left, right) in enumerate(zip(one, two, strict=False)):
        step = index - offset
        where = f"after {say(calls[step])}" if 0 <= step < len(calls) else "at the start"
        assert left == right, f"In {task.instruction!r}, {between} differ {where} (call {step})."
    assert len(one) == len(two), f"In {task.instruction!r}, {between} end at different times."


def say(call: ToolCall) -> str:
    """A call as people write it."""
    return f"{call.tool}({canonical_json(call.arguments)})"


TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
KEYWORDS = frozenset(
    {"type", "properties", "required", "additionalProperties", "enum", "const", "items"}
    | {"description", "title", "default", "examples", "x-entity", "x-property-of", "x-volatile"}
    | {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"}
)
"""The part of JSON schema that a tool's parameters may use."""


def mismatch(schema: JsonObject, value: JsonValue) -> str | None:
    """Why a value does not fit a schema of this subset, or None where it does.

    Ranges, lengths and patterns are not looked at.
    """
    wanted = schema.get("type")
    kinds = wanted if isinstance(wanted, list) else [wanted] if wanted is not None else []
    if kinds and not any(_is(value, str(kind)) for kind in kinds):
        return f"{value!r} is not of type {wanted!r}"
    enum = schema.get("enum")
    if isinstance(enum, list) and value not in enum:
        return f"{value!r} is not one of {enum!r}"
    if "const" in schema and value != schema["const"]:
        return f"{value!r} is not {schema['const']!r}"
    if isinstance(value, dict):
        return _object_mismatch(schema, value)
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, dict):
        return next((why for item in value if (why := mismatch(items, item))), None)
    return None


def _object_mismatch(schema: JsonObject, value: JsonObject) -> str | None:
    properties = cast("dict[str, JsonObject]", schema.get("properties") or {})
    for name in cast("list[str]", schema.get("required") or []):
        if name not in value:
            return f"{name!r} is missing"
    for name, inner in value.items():
        if name in properties:
            why = mismatch(properties[name], inner)
            if why:
                return f"{name!r}: {why}"
        elif schema.get("additionalProperties") is False:
            return f"{name!r} is not declared"
    return None


def _is(value: JsonValue, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES.get(kind, ()))


def schema_fault(schema: object, where: str) -> str | None:
    """What is wrong with a schema, or None: only known keywords, each of its right type."""
    if not isinstance(schema, dict):
        return f"{where} is no schema"
    fields = cast("dict[str, object]", schema)
    unknown = sorted(set(fields) - KEYWORDS)
    if unknown:
        return f"{where} uses {unknown}, which is outside the subset"
    kinds = fields.get("type", [])
    for kind in cast("list[object]", kinds if isinstance(kinds, list) else [kinds]):
        if kind not in TYPES:
            return f"{where} has the unknown type {kind!r}"
    properties = fields.get("properties", {})
    if not isinstance(properties, dict):
        return f"{where} has properties that are no object"
    inner = cast("dict[str, object]", properties)
    required = fields.get("required", [])
    if not isinstance(required, list) or not set(cast("list[object]", required)) <= set(inner):
        return f"{where} requires what it does not declare"
    enum = fields.get("enum")
    if enum is not None and (not isinstance(enum, list) or not enum):
        return f"{where} has an enum that is no list of values"
    if not isinstance(fields.get("x-entity", ""), str):
        return f"{where} has an x-entity that is no text"
    faults = (schema_fault(value, f"{where}.{name}") for name, value in inner.items())
    return next((fault for fault in faults if fault), None)
