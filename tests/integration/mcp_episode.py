"""A client that calls every skill it is offered, in whatever environment, by what it is shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, cast

from mcp import Client
from mcp_types import CallToolResult, TextContent, Tool

OWN = {"search_skills", "begin", "feedback"}


def told(result: CallToolResult) -> dict[str, Any]:
    """The data of an answer."""
    data: Any = result.structured_content
    assert isinstance(data, dict), result
    return cast("dict[str, Any]", data)


def words(result: CallToolResult) -> str:
    """The text of an answer."""
    (part,) = result.content
    assert isinstance(part, TextContent)
    return part.text


async def skills_of(client: Client) -> dict[str, Tool]:
    """The tools that are skills."""
    return {tool.name: tool for tool in (await client.list_tools()).tools if tool.name not in OWN}


def choices(tool: Tool, things: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Arguments by the types and properties that a tool's schema tells, different things each."""
    properties: dict[str, dict[str, Any]] = tool.input_schema["properties"]
    domains: list[list[Any]] = []
    for schema in properties.values():
        wanted = schema.get("x-entity", "*")
        domains.append([thing["reference"] for thing in things if wanted in ("*", thing["type"])])
    for values in itertools.product(*domains):
        if all(a != b for a, b in itertools.combinations(values, 2)):
            yield dict(zip(properties, values, strict=True))


async def make_it_work(
    client: Client,
    tool: Tool,
    setups: tuple[str, ...],
    seeds: Iterable[int] = range(60),
    first: str | None = None,
) -> dict[str, Any]:
    """Call a skill from start state to start state until it worked; what the answer says.

    Args:
        client: calls.
        tool: the skill.
        setups: families of start states to begin with.
        seeds: of each of them.
        first: a skill of one argument that is called before, where it needs that.
    """
    last: dict[str, Any] = {}
    for seed, setup in itertools.product(seeds, setups):
        begun = await client.call_tool("begin", {"setup": setup, "seed": seed})
        if begun.is_error:
            continue
        things = told(begun)["shows"]["things"]
        if first is not None:
            led = await client.call_tool(first, {"x": things[0]["reference"]})
            things = told(led)["shows"]["things"]
        for arguments in itertools.islice(choices(tool, things), 12):
            answer = await client.call_tool(tool.name, arguments)
            last = told(answer) if answer.structured_content else last
            if last.get("worked"):
                assert not answer.is_error
                return {**last, "setup": setup, "seed": seed}
            if last.get("tool_calls") or last.get("over"):
                break  # something was done: begin anew
    raise AssertionError(f"{tool.name} never worked: {last}")
