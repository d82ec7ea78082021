"""Dialogues: an attempt's model calls joined into conversations, for trainers that read messages.

The counterpart of `rows` for endpoints that give no token ids. A call continues a dialogue when
its request begins with all that the dialogue holds, the replies before included; otherwise it
begins one of its own (a folded history, another prompt). Ids of tool calls are ours to choose and
are not compared. What is trained on is the replies as the model wrote them, by `weights`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.models.wire import message_body, tool_body, wire_names
from agentlab.types import ChatRequest, JsonObject, Message, ModelCall, ToolSpec


class Turn(NamedTuple):
    """A reply in a dialogue: where it stands, and whose call it was."""

    at: int
    """Its place among the messages."""
    call: int
    """The call's place in the attempt."""


class Dialogue(NamedTuple):
    """Messages with the replies among them that a model drew."""

    messages: tuple[Message, ...]
    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...]

    @property
    def weights(self) -> tuple[float, ...]:
        """1 for each message that was drawn, else 0."""
        drawn = {turn.at for turn in self.turns}
        return tuple(float(at in drawn) for at in range(len(self.messages)))

    def until(self, call: int) -> Dialogue:
        """The dialogue as it stood when the attempt's call was made, its reply included."""
        turns = tuple(turn for turn in self.turns if turn.call <= call)
        end = turns[-1].at + 1 if turns else 0
        return Dialogue(self.messages[:end], turns, self.tools)


def request_of(call: ModelCall) -> ChatRequest:
    """What was asked, without sampling, which the record keeps apart."""
    return ChatRequest.model_validate(call.request)


def reply_of(call: ModelCall) -> Message:
    """What was answered."""
    return Message.model_validate(call.response["message"])


def dialogues(calls: Sequence[ModelCall]) -> tuple[Dialogue, ...]:
    """The calls of one attempt as dialogues, in the order in which those begin.

    Args:
        calls: in order.
    """
    found: list[_Open] = []
    for place, call in enumerate(calls):
        asked = cast("list[JsonObject]", call.request.get("messages") or [])
        best: _Open | None = None
        for each in found:
            longer = best is None or len(each.messages) > len(best.messages)
            if longer and each.continued_by(call, asked):
                best = each
        if best is None:
            best = _Open(call.request.get("tools"))
            found.append(best)
        best.take(place, asked, reply_of(call))
    return tuple(d.dialogue() for d in found)


def openai_messages(dialogue: Dialogue) -> list[JsonObject]:
    """The messages as an endpoint is sent them; arguments of tool calls are JSON text."""
    names = wire_names(dialogue.tools)
    return [message_body(message, names) for message in dialogue.messages]


def with_objects(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """The same with arguments of tool calls as objects, as TRL wants them."""
    found: list[JsonObject] = []
    for message in messages:
        calls = [dict(call) for call in cast("list[JsonObject]", message.get("tool_calls") or [])]
        for call in calls:
            function = cast("JsonObject", call["function"])
            arguments = json.loads(cast("str", function["arguments"]))
            call["function"] = {**function, "arguments": arguments}
        found.append({**message, "tool_calls": [*calls]} if calls else message)
    return found


def openai_tools(dialogue: Dialogue) -> list[JsonObject]:
    """The tools in the shape of chat completions."""
    names = wire_names(dialogue.tools)
    return [tool_body(tool, names[tool.name]) for tool in dialogue.tools]


def _same(one: Message, other: Message) -> bool:
    """Whether two messages say the same to a model that sees no ids."""
    if one.role != other.role or one.text != other.text:
        return False
    if len(one.tool_uses) != len(other.tool_uses):
        return False
    return all(
        a.name == b.name and (a.arguments or "{}") == (b.arguments or "{}")
        for a, b in zip(one.tool_uses, other.tool_uses, strict=True)
    )


class _Open:
    """A dialogue that further calls may continue.

    What a call repeats of the one before is compared as it was recorded, and not read again: an
    attempt of many calls is read in the time that its messages take, and not their square.
    """

    def __init__(self, tools: JsonValue) -> None:
        self.tools = tools
        self.asked: list[JsonObject] = []
        """Of the last call, as recorded."""
        self.messages: list[Message] = []
        """Those, and its reply."""
        self.turns: list[Turn] = []

    def continued_by(self, call: ModelCall, asked: list[JsonObject]) -> bool:
        held = len(self.asked)
        if len(asked) <= held or call.request.get("tools") != self.tools:
            return False
        if asked[:held] != self.asked and not all(
            _same(mine, Message.model_validate(theirs))
            for mine, theirs in zip(self.messages, asked[:held], strict=False)
        ):
            return False
        return _same(self.messages[held], Message.model_validate(asked[held]))

    def take(self, place: int, asked: list[JsonObject], reply: Message) -> None:
        held = len(self.asked)
        if asked[:held] == self.asked:
            # The reply comes anew: its ids are those that its tool messages answer.
            fresh = [Message.model_validate(each) for each in asked[held:]]
            self.messages = [*self.messages[:held], *fresh, reply]
        else:
            self.messages = [*(Message.model_validate(each) for each in asked), reply]
        self.asked = asked
        self.turns.append(Turn(len(asked), place))

    def dialogue(self) -> Dialogue:
        """What it holds now."""
        tools = cast("list[JsonObject]", self.tools or [])
        return Dialogue(
            tuple(self.messages),
            tuple(self.turns),
            tuple(ToolSpec.model_validate(each) for each in tools),
        )
