"""Scripted models for the tests of the agent: what they say depends on the request alone."""

from __future__ import annotations

import json
import time

from agentlab.types import ChatRequest, Message, ToolUse


def words(request: ChatRequest) -> str:
    return "\n".join(message.text for message in request.messages)


def answering(request: ChatRequest) -> Message:
    """Looks at the sign once, then answers with a place as JSON."""
    if request.reply_schema is not None or any(m.role == "tool" for m in request.messages):
        return Message(role="assistant", text='Here it is: {"place": "market", "steps": 3}')
    return Message(
        role="assistant",
        tool_uses=(ToolUse(id="a", name="read_sign", arguments="{}"),),
    )


def mending(request: ChatRequest) -> str:
    """Answers in words; told of the schema by a request of its own, it answers as asked."""
    if request.reply_schema is None:
        return "The market, I think."
    return json.dumps({"place": "market", "steps": 1})


def stubborn(request: ChatRequest) -> str:
    """Never answers in the form."""
    del request
    return "The market, I think."


def succeeding(request: ChatRequest) -> str:
    """Does nothing and says that it is done."""
    del request
    return "done"


def sleeping(request: ChatRequest) -> str:
    """Takes its time, in the thread that asks."""
    del request
    time.sleep(0.05)
    return "done"
