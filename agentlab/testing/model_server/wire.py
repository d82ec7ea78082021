"""The OpenAI protocol as a request is read from it: what is accepted, and what is refused how.

Requests are judged as strictly as the strictest known endpoint does it, since what passes here is
meant to pass anywhere: a tool's answer must follow the call it answers, names of tools and schemas
are at most 64 letters, digits, `_` and `-`, and a schema marked strict must be closed. What is read
is a `ChatRequest`, the very type that a `ScriptedModel` gives its rule.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, cast

from pydantic import BaseModel, Field, JsonValue, ValidationError

from agentlab.types import (
    ChatRequest,
    JsonObject,
    Message,
    Picture,
    Sampling,
    ToolSpec,
    ToolUse,
)

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
NO_LIMIT = 1_000_000
"""Tokens of a reply where the request names no limit."""


class WireError(Exception):
    """Raised for a request that an endpoint refuses; it is sent back as an error object."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def body(self) -> JsonObject:
        """The error object."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return error_body(str(self), kind=kind, code=self.code)


def error_body(message: str, *, kind: str, code: str | None = None) -> JsonObject:
    """An error object as the protocol has it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class Asked(NamedTuple):
    """A request for a completion."""

    request: ChatRequest
    model: str
    stream: bool
    stream_usage: bool
    """Whether a stream ends with a chunk that holds the usage."""


class _Address(BaseModel):
    url: str


class _Part(BaseModel):
    type: str
    text: str = ""
    image_url: _Address | None = None


class _Function(BaseModel):
    name: str
    arguments: str


class _Call(BaseModel):
    id: str
    type: Literal["function"] = "function"
    function: _Function


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _Declared(BaseModel):
    name: str
    description: str = ""
    parameters: JsonObject = Field(default_factory=dict)


class _Tool(BaseModel):
    type: Literal["function"]
    function: _Declared


class _Schema(BaseModel):
    name: str
    schema_: JsonObject = Field(alias="schema")
    strict: bool | None = None


class _Format(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel):
    model: str
    messages: Annotated[list[_Message], Field(min_length=1)]
    tools: list[_Tool] | None = None
    tool_choice: JsonValue = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    return_token_ids: bool | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


def read_chat(body: bytes, *, schemas: bool = True, pictures: bool = True) -> Asked:
    """The request that a body holds.

    Args:
        body: of `POST /v1/chat/completions`.
        schemas: whether this endpoint knows `response_format` with a JSON schema.
        pictures: whether it takes pictures, as PNG in the request itself.

    Raises:
        WireError: an endpoint would refuse it.
    """
    try:
        asked = _Body.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WireError(f"Invalid body at {where!r}: {first['msg']}.") from None
    if asked.n not in (None, 1):
        raise WireError("This endpoint gives one choice; leave 'n' out.")
    messages = tuple(_message(message, pictures=pictures) for message in asked.messages)
    _check_order(messages)
    name, schema = _schema(asked.response_format, schemas)
    stop = asked.stop if isinstance(asked.stop, list) else [asked.stop] if asked.stop else []
    request = ChatRequest(
        messages=messages,
        # Whoever forbids tool calls shows the tools in vain.
        tools=() if asked.tool_choice == "none" else tuple(map(_tool, asked.tools or ())),
        parallel_tool_calls=asked.parallel_tool_calls is not False,
        schema_name=name,
        reply_schema=schema,
        sampling=Sampling(
            temperature=asked.temperature,
            top_p=asked.top_p,
            max_tokens=asked.max_completion_tokens or asked.max_tokens or NO_LIMIT,
            seed=asked.seed,
            stop=tuple(stop),
            logprobs=bool(asked.logprobs),
            token_ids=bool(asked.return_token_ids),
        ),
    )
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    return Asked(request, asked.model, bool(asked.stream), usage)


def _message(message: _Message, *, pictures: bool) -> Message:
    content = message.content
    shown: tuple[Picture, ...] = ()
    if isinstance(content, list):
        known = ("text", "image_url") if pictures else ("text",)
        if any(part.type not in known for part in content):
            takes = "text and pictures" if pictures else "text alone"
            raise WireError(f"This endpoint reads {takes}; leave other parts out.")
        shown = tuple(_picture(part) for part in content if part.type == "image_url")
        content = "".join(part.text for part in content)
    if shown and message.role != "user":
        raise WireError("Only a user's message has pictures.")
    if content is None and not (message.role == "assistant" and message.tool_calls):
        raise WireError(f"A message of the role {message.role!r} needs a content.")
    if message.tool_calls and message.role != "assistant":
        raise WireError("Only the assistant's messages have tool calls.")
    if (message.tool_call_id is None) == (message.role == "tool"):
        raise WireError("A tool's message, and no other, has a 'tool_call_id'.")
    return Message(
        role="system" if message.role == "developer" else message.role,
        text=content or "",
        tool_uses=tuple(
            ToolUse(id=call.id, name=call.function.name, arguments=call.function.arguments)
            for call in message.tool_calls or ()
        ),
        tool_use_id=message.tool_call_id,
        pictures=shown,
    )


def _picture(part: _Part) -> Picture:
    url = part.image_url.url if part.image_url else ""
    head, _, spelt = url.partition(",")
    try:
        data = base64.b64decode(spelt, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if head != "data:image/png;base64" or not data.startswith(b"\x89PNG"):
        raise WireError("A picture is given as 'data:image/png;base64,…' and nothing else.")
    return Picture(digest=hashlib.sha256(data).hexdigest(), data=data)


def _check_order(messages: Sequence[Message]) -> None:
    """Each call is answered by a tool's message before anyone else speaks, and nothing else is."""
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_use_id not in waiting:
                raise WireError(
                    f"messages[{index}] of the role 'tool' must follow an assistant's message "
                    f"with the tool call {message.tool_use_id!r}."
                )
            waiting.discard(message.tool_use_id)
        elif waiting:
            break
        else:
            waiting = {use.id for use in message.tool_uses}
            if len(waiting) < len(message.tool_uses):
                raise WireError(f"messages[{index}] has two tool calls of one id.")
    if waiting:
        raise WireError(
            f"The tool calls {sorted(waiting)} must be followed by tool messages that answer them."
        )


def _tool(tool: _Tool) -> ToolSpec:
    declared = tool.function
    if not NAME.fullmatch(declared.name):
        raise WireError(f"The name of the tool {declared.name[:80]!r} must match {NAME.pattern!r}.")
    if declared.parameters and declared.parameters.get("type") != "object":
        raise WireError(f"The parameters of {declared.name!r} must have the type 'object'.")
    return ToolSpec(
        name=declared.name, description=declared.description, parameters=declared.parameters
    )


def _schema(wanted: _Format | None, known: bool) -> tuple[str, JsonObject | None]:
    if wanted is None or wanted.type == "text":
        return "", None
    if not known:
        raise WireError(
            f"'response_format' of the type {wanted.type!r} is not supported by this endpoint.",
            code="unsupported_parameter",
        )
    if wanted.type == "json_object":
        return "", {"type": "object"}
    schema = wanted.json_schema
    if schema is None or not NAME.fullmatch(schema.name):
        raise WireError(f"A JSON schema needs a name that matches {NAME.pattern!r}.")
    if schema.strict:
        _check_closed(schema.schema_, schema.name)
    return schema.name, schema.schema_


def _check_closed(schema: JsonValue, name: str) -> None:
    """A strict schema's objects forbid further properties and require all of their own."""
    if isinstance(schema, list):
        for part in schema:
            _check_closed(part, name)
        return
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties")
    if isinstance(properties, dict):
        required = schema.get("required")
        if schema.get("additionalProperties") is not False or set(properties) != set(
            cast("list[str]", required) if isinstance(required, list) else ()
        ):
            raise WireError(
                f"Invalid schema for response_format {name!r}: where 'strict' is set, each object "
                "needs 'additionalProperties' false and every property in 'required'."
            )
        for part in properties.values():
            _check_closed(part, name)
    for key, part in schema.items():
        if key not in ("properties", "enum", "const", "default", "examples"):
            if isinstance(part, dict) and key in ("$defs", "definitions"):
                for each in part.values():
                    _check_closed(each, name)
            else:
                _check_closed(part, name)
