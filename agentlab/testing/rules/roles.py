"""Which rule answers a request: by the shape that it asks for, else by what it lets one do.

A request for JSON goes by the properties of its schema, which stands in `response_format` or, where
an endpoint knows none, in the prompt. Any other request is an executor's, or an exploring
proposer's: one with tools is answered with calls, one that asks for Python with a block of it. A
shape that nobody here knows is filled in with the least that fits. A part of the first answers is
spoilt, and right when it is sent back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import cast

from pydantic import JsonValue

from agentlab.testing.rules import (
    babyai,
    burrow,
    courier,
    effects,
    files,
    git,
    insights,
    judge,
    proposer,
    skills,
    store,
)
from agentlab.testing.rules.reading import acting, arguments_of, json_reply, own_turns
from agentlab.types import ChatRequest, JsonObject, Message, derive_seed, derive_uniform

SPOILT = 0.08
"""Of first answers in JSON, those that do not fit."""
EXPLORED = 4
"""Calls of an exploration."""
PYTHON = "```python"

Answer = Callable[[ChatRequest], JsonObject | None]
ANSWERS: tuple[tuple[frozenset[str], Answer], ...] = tuple(
    (frozenset(shape.split()), answer)
    for shape, answer in (
        ("tasks", proposer.tasks),
        ("instruction verify", proposer.task),
        ("points", judge.points),
        ("mark findings verdict", judge.verdict),
        ("insight taxonomy", insights.extraction),
        ("labels", insights.diagnosis),
        ("members insight", insights.merging),
        ("conditions", insights.conditions),
        ("tags lesson", insights.reflection),
        ("lesson skills", insights.retrospect),
        ("operations", insights.delta),
        ("source effect_source tests", skills.write),
        ("condition sheet", insights.sheet),
        ("condition advice", insights.words),
    )
)
"""Properties that a schema must have, and who knows it."""


def burrow_rules(request: ChatRequest) -> Message:
    """Every role, in a burrow."""
    return _any_role(request, burrow.play)


def courier_rules(request: ChatRequest) -> Message:
    """Every role, in the courier's world."""
    return _any_role(request, courier.play)


def files_rules(request: ChatRequest) -> Message:
    """Every role, over files."""
    return _any_role(request, _on_files)


def git_rules(request: ChatRequest) -> Message:
    """Every role, in a Git repository."""
    return _any_role(request, git.play)


def tools_rules(request: ChatRequest) -> Message:
    """Every role, over any set of tools whose tasks say what is to be so."""
    return _any_role(request, effects.play)


def babyai_rules(request: ChatRequest) -> Message:
    """Every role, in BabyAI's rooms."""
    return _any_role(request, babyai.play)


def store_rules(request: ChatRequest) -> Message:
    """Every role, in the shop on the web."""
    return _any_role(request, store.play, store.explore)


def _on_files(request: ChatRequest) -> Message:
    return effects.play(request) if effects.understands(request) else files.play(request)


def _any_role(
    request: ChatRequest,
    executor: Callable[[ChatRequest], Message],
    explorer: Callable[[ChatRequest], Message] | None = None,
) -> Message:
    schema = wanted_schema(request)
    if schema is not None:
        return _json(request, schema)
    first = request.messages[0].text
    if request.tools and re.match(r"You explore", first):
        return (explorer or _explore)(request)
    said = executor(request)
    if not request.tools and PYTHON in first:
        return _as_python(request, said)
    return said


def wanted_schema(request: ChatRequest) -> JsonObject | None:
    """The schema of the reply, from the request or, where an endpoint knows none, the prompt."""
    if request.reply_schema is not None:
        return request.reply_schema
    for message in request.messages:
        place = message.text.find("JSON schema, and with nothing else: ")
        if message.role == "system" and place >= 0:
            start = message.text.index("{", place) if "{" in message.text[place:] else place
            try:
                value, _ = json.JSONDecoder().raw_decode(message.text, start)
            except ValueError:
                return None
            return cast("JsonObject", value) if isinstance(value, dict) else None
    return None


def _json(request: ChatRequest, schema: JsonObject) -> Message:
    properties = schema.get("properties")
    names = set(properties) if isinstance(properties, dict) else set[str]()
    answer = next((answer for shape, answer in ANSWERS if shape <= names), None)
    made = answer(request) if answer is not None else None
    if made is None:
        made = cast("JsonObject", least(schema, schema))
    # A schema may be stricter than ours was when it was written.
    made = {key: value for key, value in made.items() if not names or key in names}
    asked = request.messages[-1].text
    if own_turns(request) == 0 and derive_uniform("spoilt", asked) < SPOILT:
        text = json.dumps(made)
        kinds = ("I am not sure what to say.", text[: len(text) // 2], json.dumps([made, 1]), "{}")
        spoilt = kinds[derive_seed("spoilt", asked) % len(kinds)]
        return Message(role="assistant", text=spoilt)
    return json_reply(made)


def least(schema: JsonValue, root: JsonObject) -> JsonValue:
    """The least value that fits a schema, as far as pydantic writes schemas."""
    if not isinstance(schema, dict):
        return None
    reference = schema.get("$ref")
    if isinstance(reference, str):
        definitions = root.get("$defs")
        name = reference.rpartition("/")[2]
        return least(definitions.get(name) if isinstance(definitions, dict) else None, root)
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    if "const" in schema:
        return schema["const"]
    if "default" in schema:
        return schema["default"]
    options = schema.get("anyOf")
    if isinstance(options, list) and options:
        return None if {"type": "null"} in options else least(options[0], root)
    return _least_of_type(schema, root)


def _least_of_type(schema: JsonObject, root: JsonObject) -> JsonValue:
    match schema.get("type"):
        case "object":
            properties, required = schema.get("properties"), schema.get("required")
            if not isinstance(properties, dict) or not isinstance(required, list):
                return {}
            return {str(name): least(properties.get(str(name)), root) for name in required}
        case "array":
            count = schema.get("minItems")
            return [least(schema.get("items"), root)] * (count if isinstance(count, int) else 0)
        case "string":
            count = schema.get("minLength")
            return "x" * max(1, count if isinstance(count, int) else 1)
        case "integer" | "number":
            count = schema.get("minimum", schema.get("exclusiveMinimum", 0))
            return count if isinstance(count, int | float) else 0
        case "boolean":
            return False
        case _:
            return None


def _explore(request: ChatRequest) -> Message:
    """A few calls with arguments that were seen, and then no more."""
    made = own_turns(request)
    tools = [tool for tool in request.tools if tool.parameters.get("properties") in ({}, None)]
    if made >= EXPLORED or not tools:
        return Message(role="assistant", text="I have seen enough.")
    from_seed = derive_seed("explore", request.sampling.seed, made)
    return acting(request, [(tools[from_seed % len(tools)].name, {})])


def _as_python(request: ChatRequest, said: Message) -> Message:
    """Calls as a block of Python."""
    if not said.tool_uses:
        return said
    lines = [
        f"env.{use.name}({', '.join(f'{k}={v!r}' for k, v in arguments_of(use).items())})"
        for use in said.tool_uses
    ]
    block = "\n".join(lines)
    before = [m.text for m in request.messages if m.role == "assistant"]
    text = f"{PYTHON}\n{block}\n```"
    if before.count(text) >= 2:
        return Message(role="assistant", text="I could not do it.")
    return Message(role="assistant", text=text)
