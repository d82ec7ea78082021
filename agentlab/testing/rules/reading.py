"""How rules read a request and write a reply. Nothing here knows of a role or an environment.

Roles put what others wrote between ⟦ and ⟧, each piece behind words that say what it is; rules find
pieces by their content or by those words, so that a prompt may be worded anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import cast

from pydantic import JsonValue

from agentlab.models.prompts import CLOSE, OPEN
from agentlab.types import ChatRequest, JsonObject, Message, ToolUse, digest

QUOTED = re.compile(rf"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}")
Call = tuple[str, JsonObject]
"""A tool's name and its arguments."""


def given(request: ChatRequest) -> list[str]:
    """What the request quotes in its system's and user's messages, first to last."""
    return [
        text.strip()
        for message in request.messages
        if message.role in ("system", "user")
        for text in QUOTED.findall(message.text)
        if text.strip()
    ]


def labelled(request: ChatRequest, label: str) -> str:
    """The quoted text behind words that match a pattern on the same line or the one before."""
    pattern = re.compile(rf"(?im)^[^\n{OPEN}]*{label}[^\n{OPEN}]*\n?[ ]*{OPEN}([^{CLOSE}]*){CLOSE}")
    for message in request.messages:
        found = pattern.search(message.text) if message.role == "user" else None
        if found is not None:
            return found[1].strip()
    return ""


def whole_text(request: ChatRequest) -> str:
    """All that is said in the request."""
    return "\n".join(message.text for message in request.messages)


def own_turns(request: ChatRequest) -> int:
    """How often the assistant has spoken."""
    return sum(message.role == "assistant" for message in request.messages)


def calls_made(request: ChatRequest) -> Iterator[tuple[ToolUse, str]]:
    """The assistant's calls with what answered each, in order."""
    answers = {m.tool_use_id: m.text for m in request.messages if m.role == "tool"}
    for message in request.messages:
        for use in message.tool_uses:
            yield use, answers.get(use.id, "")


def arguments_of(use: ToolUse) -> JsonObject:
    """A call's arguments; empty where they are no object."""
    try:
        value: object = json.loads(use.arguments)
    except ValueError:
        return {}
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def acting(request: ChatRequest, calls: Sequence[Call], text: str = "") -> Message:
    """A message with calls; their ids come from the request and their place in it."""
    if not request.parallel_tool_calls:
        calls = calls[:1]
    turn = own_turns(request)
    uses: list[ToolUse] = []
    for index, (name, arguments) in enumerate(calls):
        written = json.dumps(arguments, ensure_ascii=False)
        identity = digest(name, written, turn, index)[:12]
        uses.append(ToolUse(id=f"call_{turn}_{identity}", name=name, arguments=written))
    return Message(role="assistant", text=text, tool_uses=tuple(uses))


def json_reply(value: JsonValue) -> Message:
    """A message that is JSON."""
    return Message(role="assistant", text=json.dumps(value, ensure_ascii=False))
