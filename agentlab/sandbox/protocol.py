"""The line protocol between a runtime's host and the process that runs skill code.

One JSON object a line, in turns; the host always has the first word.

    host → child                                     child → host
    {"kind": "open", "skills": {name: source},
     "tools": [name]}                                (no answer)
    {"kind": "call", "name", "arguments", "once"}    {"kind": "act", "tool", "arguments"}
    {"kind": "did", "ok", "text"}                    … any number of acts …
    {"kind": "stop"}                                 {"kind": "returned", "value"}
    {"kind": "evaluate", "source", "function",       or {"kind": "raised", "error", "last"}
     "arguments", "once"}
                                                     {"kind": "ready"} once, at the start

`stop` answers an act and ends the skill. `once` says that no other call will follow, `last` that
the child leaves after this line. What the child writes is foreign text: everything is checked
here, nothing of it is trusted to have a shape. This module opens no process and reads no pipe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, cast

from pydantic import JsonValue, ValidationError

from agentlab.errors import SkillFaultError
from agentlab.types import JsonObject, ToolCall

LONGEST_ERROR = 2000
"""Characters kept of an error text that comes from skill code."""


@dataclass(frozen=True, kw_only=True)
class RuntimeLimits:
    """What one call of skill code may take before it is stopped."""

    seconds: float = 5.0
    """Wall clock of the skill's own code; the time that its tool calls take is not counted."""
    cpu_seconds: float = 5.0
    """Processor time, rounded up to a whole second by the system."""
    stop_seconds: float = 0.2
    """How long a stopped skill may take to unwind before its process is killed."""
    start_seconds: float = 30.0
    """How long the process may take to start."""
    tool_calls: int = 500
    message_bytes: int = 1 << 20
    """Longest line, either way."""
    memory_bytes: int = 512 << 20
    """Address space of the process."""
    file_bytes: int = 1 << 20
    """Largest file that it may write."""
    open_files: int = 32


@dataclass(frozen=True)
class Act:
    """Skill code asks for a tool call."""

    call: ToolCall


@dataclass(frozen=True)
class Returned:
    """The function returned."""

    value: JsonValue


@dataclass(frozen=True)
class Raised:
    """The function raised; `last` when the child ends after saying so."""

    error: str
    last: bool


@dataclass(frozen=True)
class Ready:
    """The child has started."""


Message = Act | Returned | Raised | Ready


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def encode(message: Mapping[str, object]) -> bytes:
    """One line.

    Raises:
        SkillFaultError: the message is not JSON.
    """
    try:
        return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise SkillFaultError(f"The arguments of a skill must be plain JSON: {error}.") from error


def encode_open(sources: Mapping[str, str], tools: Sequence[str]) -> bytes:
    """The line that makes skills and tools known."""
    return encode({"kind": "open", "skills": sources, "tools": tools})


def encode_call(name: str, arguments: JsonObject, *, once: bool = False) -> bytes:
    """The line that calls a skill."""
    return encode({"kind": "call", "name": name, "arguments": arguments, "once": once})


def encode_evaluate(
    source: str, function: str, arguments: JsonObject, *, once: bool = False
) -> bytes:
    """The line that calls a pure function."""
    asked = {"source": source, "function": function, "arguments": arguments, "once": once}
    return encode({"kind": "evaluate"} | asked)


def encode_did(text: str, *, ok: bool) -> bytes:
    """The line that answers a tool call."""
    return encode({"kind": "did", "ok": ok, "text": text})


STOP = encode({"kind": "stop"})


def decode(line: bytes) -> Message:
    """What the child said.

    Raises:
        SkillFaultError: it is not a message of this protocol; the text says what is wrong.
    """
    try:
        value: object = _DECODER.decode(line.decode())
        if b"\\u" in line:  # a lone surrogate is JSON but no text that could be recorded
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _broken(f"a line that is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise _broken("a line that is not an object")
    fields = cast("dict[str, JsonValue]", value)
    match fields.get("kind"):
        case "act":
            return Act(_tool_call(fields))
        case "returned" if "value" in fields:
            return Returned(fields["value"])
        case "raised":
            return Raised(str(fields.get("error"))[:LONGEST_ERROR], fields.get("last") is True)
        case "ready":
            return Ready()
        case other:
            raise _broken(f"a message of the unknown kind {str(other)[:40]!r}")


def _tool_call(fields: Mapping[str, JsonValue]) -> ToolCall:
    tool, arguments = fields.get("tool"), fields.get("arguments")
    if not isinstance(tool, str) or not isinstance(arguments, dict):
        raise _broken("a tool call without a name or arguments")
    try:
        return ToolCall(tool=tool, arguments=arguments)
    except ValidationError as error:
        raise _broken("a tool call whose arguments cannot be read") from error


def _broken(what: str) -> SkillFaultError:
    return SkillFaultError(f"Skill code broke the line protocol: it sent {what}.")
