"""Tools as others want them told: for the OpenAI protocol, and as LangChain tools.

Names are those that every provider takes, descriptions are bounded and free of control
characters, and what a library says of a skill stays between the marks of quoted data: a skill's
words may come from a pack.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from agentlab.models.prompts import CLOSE, OPEN
from agentlab.types import JsonObject, ToolSpec

if TYPE_CHECKING:
    from langchain_core.tools import StructuredTool

LONGEST = 1024
"""Characters of a description that providers take."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""What hides or reorders text where it is shown; line ends and tabs stay."""


class OpenAIFunction(TypedDict):
    """The function of a tool, as the OpenAI protocol spells it."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[dict[str, object]]
    strict: NotRequired[bool | None]


class OpenAITool(TypedDict):
    """A tool as the OpenAI protocol spells it; what `Library.as_openai_tools` gives.

    Example:
        >>> tool: OpenAITool = {"type": "function", "function": {"name": "look"}}
    """

    type: Literal["function"]
    function: OpenAIFunction


def described(spec: ToolSpec) -> str:
    """A tool's description, bounded, with its marks of quoted data closed."""
    text = CONTROL.sub("", spec.description)
    if len(text) <= LONGEST:
        return text
    cut = text[: LONGEST - 2] + "…"
    return cut + CLOSE if cut.count(OPEN) > cut.count(CLOSE) else cut


def openai_tool(spec: ToolSpec) -> OpenAITool:
    """A tool for `tools=` of a chat completion.

    >>> openai_tool(ToolSpec(name="go", description="Go there.", parameters={}))["type"]
    'function'
    """
    return {
        "type": "function",
        "function": {
            "name": spec.name,
            "description": described(spec),
            "parameters": {**spec.parameters},
        },
    }


def langchain_tools(
    specs: Sequence[ToolSpec],
    call: Callable[[str, JsonObject], str],
    acall: Callable[[str, JsonObject], Awaitable[str]],
) -> list[StructuredTool]:
    """A LangChain tool for each; its arguments are checked where it is called, and told there."""
    return [_langchain_tool(spec, call, acall) for spec in specs]


def _langchain_tool(
    spec: ToolSpec,
    call: Callable[[str, JsonObject], str],
    acall: Callable[[str, JsonObject], Awaitable[str]],
) -> StructuredTool:
    from langchain_core.tools import StructuredTool

    def run(**arguments: Any) -> str:
        return call(spec.name, arguments)

    async def arun(**arguments: Any) -> str:
        return await acall(spec.name, arguments)

    return StructuredTool(
        name=spec.name,
        description=described(spec),
        args_schema={"title": spec.name, **spec.parameters},
        func=run,
        coroutine=arun,
    )
