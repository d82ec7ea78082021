"""What a server says, as plain data: its tools, and the answers to calls.

All of it is foreign text. It is shortened, the working folder's place is taken out, and so are
readings of the clock, which would make every record differ; nothing in it is read for meaning.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from pydantic import JsonValue

from agentlab.environments import schemas
from agentlab.environments.effect_world import Done, shortened
from agentlab.errors import ConfigError
from agentlab.types import JsonObject, ToolSpec

if TYPE_CHECKING:
    from mcp_types import CallToolResult, Tool

MOST_DESCRIPTION = 2_000
MOST_ANSWER = 64_000
"""Characters of an answer that are kept at all."""
A_TIME = "(a time)"

_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
_SCRIPT = (
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d\d "
    r"\d{4} \d\d:\d\d:\d\d GMT[+-]\d{4}(?: \([^)]{0,60}\))?"
)
_RANDOM = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|\b[0-9a-f]{16,64}\b")
_TIMES = re.compile(f"{_ISO}|{_SCRIPT}")


class Offered(NamedTuple):
    """The tools of a server that may be used, and what they are called there."""

    specs: tuple[ToolSpec, ...]
    names: Mapping[str, str]
    """Name here to name there."""
    destructive: frozenset[str]
    """Names of tools that are refused because they may destroy things."""
    fixed: Mapping[str, frozenset[str]]
    """By name here, the parameters that are not for agents to give."""


def offered(
    tools: Sequence[Tool],
    *,
    allow_destructive: bool,
    contained: bool = False,
    exclude: Collection[str] = (),
    reads: Collection[str] = (),
    fixed: Collection[str] = (),
) -> Offered:
    """The tools to work with.

    A tool that does not say is one that may destroy things: so has the protocol, whose
    `destructiveHint` is true unless it is given (MCP specification, `ToolAnnotations`). We differ
    where all that the server works on is a folder that each attempt has to itself; there only what
    a tool says outright is held against it.

    Args:
        tools: what the server lists.
        allow_destructive: whether tools that may destroy things are kept.
        contained: whether the server works on a folder that is the attempt's own.
        exclude: tools to leave out.
        reads: tools that only read, whatever the server says of them.
        fixed: parameters that agents neither see nor give.

    Raises:
        ConfigError: a tool or parameter that is named does not exist, or no tool is left.
    """
    known = {tool.name for tool in tools}
    for named, why in ((exclude, "to leave out"), (reads, "that only reads")):
        if missing := sorted(set(named) - known):
            raise ConfigError(f"mcp: there is no tool {missing[0]!r} {why}: {sorted(known)}.")
    taken = {name for tool in tools for name in tool.input_schema.get("properties", {})}
    if missing := sorted(set(fixed) - taken):
        raise ConfigError(f"mcp: no tool takes {missing[0]!r}, which is to be fixed.")
    names: dict[str, str] = {}
    specs: list[ToolSpec] = []
    refused: set[str] = set()
    hidden: dict[str, frozenset[str]] = {}
    for tool in tools:
        if tool.name in exclude:
            continue
        name = schemas.tool_name(tool.name, [*names])
        hints = tool.annotations
        only_reads = tool.name in reads or (hints is not None and hints.read_only_hint is True)
        said = hints.destructive_hint if hints is not None else None
        destroys = not only_reads and (said is True or (said is None and not contained))
        if destroys and not allow_destructive:
            refused.add(name)
            continue
        names[name] = tool.name
        parameters, hidden[name] = _without(schemas.reduced(tool.input_schema), fixed)
        specs.append(
            ToolSpec(
                name=name,
                description=shortened(tool.description or "", MOST_DESCRIPTION),
                parameters=parameters,
                effect="none" if only_reads else "changes",
            )
        )
    if not specs:
        raise ConfigError(
            "mcp: the server has no tools that may be used, for it says of none that it destroys "
            "nothing; say allow_destructive=true where nothing can be lost, or name those that "
            "only read in 'reads'."
            if refused
            else "mcp: the server has no tools."
        )
    return Offered(tuple(specs), names, frozenset(refused), hidden)


def _without(schema: JsonObject, fixed: Collection[str]) -> tuple[JsonObject, frozenset[str]]:
    """A tool's parameters without those that are fixed, and which of these it has."""
    properties = cast("JsonObject", schema["properties"])
    required = cast("list[str]", schema["required"])
    left: JsonObject = {name: part for name, part in properties.items() if name not in fixed}
    needed: list[JsonValue] = [name for name in required if name in left]
    found = frozenset(set(properties) - set(left))
    return {**schema, "properties": left, "required": needed}, found


def done(result: CallToolResult, folder: str | None, *, keep_times: bool) -> Done:
    """The answer to a call."""
    parts: list[str] = []
    for part in result.content:
        said = part.model_dump(mode="json")
        if said.get("type") == "text":
            parts.append(str(said.get("text", "")))
        else:
            size = len(str(said.get("data", "") or said.get("resource", "")))
            parts.append(f"({said.get('type', 'something')}, {size:,} characters, not shown)")
    text = clean("\n".join(parts)[:MOST_ANSWER], folder, keep_times=keep_times)
    if result.is_error:
        # Names of temporary files, request ids: a refused call leaves nothing they could name.
        text = _RANDOM.sub("…", text)
        return Done(error=text or "The server says that it failed, and not why.")
    data: JsonValue = None
    if result.structured_content is not None:
        spelt = json.dumps(result.structured_content)
        if len(spelt) <= MOST_ANSWER:
            data = _cleaned(cast("JsonValue", json.loads(spelt)), folder, keep_times=keep_times)
    return Done(text, None, data)


def clean(text: str, folder: str | None, *, keep_times: bool) -> str:
    """Text without the working folder's place, readings of the clock and unpaired surrogates."""
    text = text.encode(errors="replace").decode()
    if folder is not None:
        text = text.replace(f"{folder}/", "").replace(folder, ".")
    return text if keep_times else _TIMES.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    """A time that can only be one of this attempt; older and later ones are somebody's data."""
    text = found[0]
    try:
        if text[0].isdigit():
            day = dt.date.fromisoformat(text[:10])
        else:
            day = dt.datetime.strptime(text[4:15], "%b %d %Y").replace(tzinfo=dt.UTC).date()
    except ValueError:
        return text
    away = abs((day - dt.datetime.now(dt.UTC).date()).days)
    return A_TIME if away <= 1 else text


def _cleaned(value: JsonValue, folder: str | None, *, keep_times: bool) -> JsonValue:
    if isinstance(value, str):
        return clean(value, folder, keep_times=keep_times)
    if isinstance(value, list):
        return [_cleaned(part, folder, keep_times=keep_times) for part in value]
    if isinstance(value, dict):
        return {k: _cleaned(part, folder, keep_times=keep_times) for k, part in value.items()}
    return value


def fact(answer: Done) -> JsonValue:
    """A read-only tool's answer as a fact: data where it has it, else its text.

    `{"result": …}` is how servers in Python wrap what is no object, and is unwrapped.
    """
    value = answer.data
    if value is None:
        try:
            value = cast("JsonValue", json.loads(answer.text))
            json.dumps(value, allow_nan=False)  # a fact must be JSON that can be written again
        except (ValueError, RecursionError):
            return answer.text
    if isinstance(value, dict) and set(value) == {"result"}:
        value = value["result"]
    if isinstance(value, dict) and set(value) == {"content"} and isinstance(value["content"], str):
        return answer.text
    return value
