"""Requests as JSON, in the shape of chat completions, made so that every endpoint takes them.

Names of tools are put into letters that endpoints allow, and calls that a model wrote wrongly go
back as calls that a server's template can hold. `replies` reads what comes back.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from pydantic import JsonValue

from agentlab.types import (
    ChatRequest,
    JsonObject,
    Message,
    ToolSpec,
    canonical_json,
)

MaxTokens = Literal["max_tokens", "max_completion_tokens"]


UNBENT: JsonObject = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""Settings that bend the draw, off, since log-probabilities are told as if they were. vLLM takes
what is left out from the model's `generation_config.json`: whoever asks for token ids says it."""


def request_body(
    request: ChatRequest,
    *,
    schema: bool = True,
    pictures: bool = True,
    max_tokens: MaxTokens = "max_tokens",
) -> JsonObject:
    """The body of a request, but for the model and for streaming.

    Args:
        request: what is asked.
        schema: whether the endpoint is to enforce the reply's schema; else the model is told it.
        pictures: whether it takes pictures; else the model is told how many there were.
        max_tokens: what the endpoint calls the limit.
    """
    sampling = request.sampling
    names = wire_names(request.tools)
    messages: Sequence[Message] = request.messages
    body: JsonObject = {max_tokens: sampling.max_tokens}
    if request.reply_schema is not None and schema:
        body["response_format"] = _response_format(request)
    elif request.reply_schema is not None:
        messages = _with_schema(messages, request.reply_schema)
    body["messages"] = [message_body(message, names, pictures=pictures) for message in messages]
    if request.tools:
        body["tools"] = [tool_body(tool, names[tool.name]) for tool in request.tools]
        if not request.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    optional: JsonObject = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "logprobs": sampling.logprobs or None,
        "return_token_ids": sampling.token_ids or None,
    }
    if sampling.token_ids:
        optional |= UNBENT
    return body | {name: value for name, value in optional.items() if value is not None}


def wire_names(tools: Sequence[ToolSpec]) -> dict[str, str]:
    """What each tool is called towards an endpoint: letters, digits, `_` and `-`, at most 64."""
    names: dict[str, str] = {}
    for tool in tools:
        base = _wire_name(tool.name)
        name, number = base, 1
        while name in names.values():
            number += 1
            name = f"{base[:58]}_{number}"
        names[tool.name] = name
    return names


def _wire_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "unnamed"


def unseen(request: ChatRequest) -> int:
    """How many pictures a request has."""
    return sum(len(message.pictures) for message in request.messages)


def told_instead(message: Message) -> str:
    """The text of a message whose pictures cannot be shown."""
    count = len(message.pictures)
    if not count:
        return message.text
    what = "1 picture that goes" if count == 1 else f"{count} pictures that go"
    return f"{message.text}\n\n({what} with this cannot be shown to you.)"


def message_body(
    message: Message, names: Mapping[str, str], *, pictures: bool = True
) -> JsonObject:
    """One message; `names` are those of `wire_names`. Without `pictures`, words in their place."""
    content: JsonValue = message.text if pictures else told_instead(message)
    if message.pictures and pictures:
        shown: list[JsonValue] = [
            {"type": "image_url", "image_url": {"url": _address(each.data)}}
            for each in message.pictures
        ]
        content = [{"type": "text", "text": message.text}, *shown]
    body: JsonObject = {"role": message.role, "content": content}
    if message.tool_use_id is not None:
        body["tool_call_id"] = message.tool_use_id
    if message.tool_uses:
        body["tool_calls"] = [
            {
                "id": use.id,
                "type": "function",
                "function": {
                    "name": names.get(use.name) or _wire_name(use.name),
                    "arguments": _sendable(use.arguments),
                },
            }
            for use in message.tool_uses
        ]
    return body


def _address(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _sendable(arguments: str) -> str:
    """Arguments that a server can put into its template: several fail unless it is an object."""
    try:
        if isinstance(json.loads(arguments or "{}"), dict):
            return arguments or "{}"
    except (ValueError, RecursionError):
        pass
    return json.dumps({"not_json": arguments})


def tool_body(tool: ToolSpec, name: str) -> JsonObject:
    """One tool, under the name that `wire_names` gives it."""
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function: JsonObject = {
        "name": name,
        "description": tool.description,
        "parameters": parameters,
    }
    return {"type": "function", "function": function}


def _response_format(request: ChatRequest) -> JsonObject:
    schema = request.reply_schema or {}
    shape: JsonObject = {"name": _wire_name(request.schema_name or "reply"), "schema": schema}
    strict = strict_schema(schema)
    if strict is not None:
        shape |= {"schema": strict, "strict": True}
    return {"type": "json_schema", "json_schema": shape}


def strict_schema(schema: JsonObject) -> JsonObject | None:
    """The schema as OpenAI's strict mode wants it; None where it cannot say the same.

    There every object lists all its fields as required and allows no others, and there are no
    defaults. A field with a default becomes one that the model must spell out.
    """
    try:
        return cast("JsonObject", _strict(schema))
    except ValueError:
        return None


def _strict(schema: JsonValue) -> JsonValue:
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept: JsonObject = {}
    for key, value in schema.items():
        if key == "default":
            continue
        if key in ("properties", "$defs") and isinstance(value, dict):
            kept[key] = {name: _strict(part) for name, part in value.items()}
        elif key in ("enum", "const", "required"):
            kept[key] = value
        else:
            kept[key] = _strict(value)
    if schema.get("type") == "object" or "properties" in schema:
        properties = kept.get("properties")
        if schema.get("additionalProperties") or not isinstance(properties, dict):
            raise ValueError("an object with free fields")
        kept["additionalProperties"] = False
        kept["required"] = list(properties)
    return kept


def _with_schema(messages: Sequence[Message], schema: JsonObject) -> list[Message]:
    told = (
        "Reply with one JSON object that fits this JSON schema, and with nothing else: "
        + canonical_json(schema)
    )
    if messages and messages[0].role == "system":
        first = messages[0].model_copy(update={"text": f"{messages[0].text}\n\n{told}"})
        return [first, *messages[1:]]
    return [Message(role="system", text=told), *messages]
