"""A chat model whose replies are written down, for tests and for examples without a model.

A rule is asked with the request alone: it sees what a model would see and knows no answer. A
file gives replies in the order of the calls of one conversation, keyed by how many assistant
messages the request holds, so that the same request gets the same reply in whatever order
attempts run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from agentlab.errors import ConfigError
from agentlab.types import ChatReply, ChatRequest, Message

Rule = Callable[[ChatRequest], ChatReply | Message | str]


class ScriptedModel:
    """Implements `protocols.ChatModel` with a rule.

    Args:
        rule: gives the reply to a request; text and messages are made into one.
        name: as records show it.
    """

    def __init__(self, rule: Rule, name: str = "scripted") -> None:
        self._rule = rule
        self._name = name
        self.requests: list[ChatRequest] = []

    @property
    def name(self) -> str:
        """As configured."""
        return self._name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The rule's reply; tokens are counted as four characters each."""
        self.requests.append(request)
        said = self._rule(request)
        if isinstance(said, str):
            said = Message(role="assistant", text=said)
        if isinstance(said, ChatReply):
            return said
        return ChatReply(
            message=said,
            stop_reason="tool_calls" if said.tool_uses else "stop",
            model=self._name,
            prompt_tokens=sum(len(m.text) for m in request.messages) // 4 + 1,
            output_tokens=(len(said.text) + sum(len(u.arguments) for u in said.tool_uses)) // 4 + 1,
        )


def load_script(path: Path) -> ScriptedModel:
    """A model that replies from a JSON file.

    The file is an object from a text to a list of replies: the first text that occurs in the
    request's messages gives the list, and the number of assistant messages so far the place in
    it; past its end the last reply is repeated.

    Raises:
        ConfigError: the file cannot be read or is no such object.
    """
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it must be an object from a text to a list of replies")
        script = {
            str(key): [Message.model_validate({"role": "assistant", **reply}) for reply in replies]
            for key, replies in cast("Mapping[str, list[dict[str, object]]]", found).items()
        }
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise ConfigError(f"The script {str(path)!r} cannot be read: {error}.") from None

    def rule(request: ChatRequest) -> Message:
        said = "\n".join(message.text for message in request.messages)
        place = sum(message.role == "assistant" for message in request.messages)
        for key, replies in script.items():
            if key in said and replies:
                return replies[min(place, len(replies) - 1)]
        return Message(role="assistant", text="")

    return ScriptedModel(rule, f"scripted:{path.name}")
