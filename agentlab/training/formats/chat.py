"""Conversations to imitate: OpenAI's shape, TRL's, ms-swift's and LLaMA-Factory's.

They differ in whether a single reply can be left out of the loss. Where it cannot, a
demonstration that leaves one out is refused: trained on as a whole it would teach the step that
it was meant to hide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

from agentlab.training.dialogues import (
    Dialogue,
    dialogues,
    openai_messages,
    openai_tools,
    with_objects,
)
from agentlab.training.formats.format import Body, JsonLines
from agentlab.training.refusals import RefusedError
from agentlab.training.samples import Composed, Demonstration, Kind, Sample
from agentlab.types import JsonObject

DEMONSTRATIONS: frozenset[Kind] = frozenset(("demonstration", "composed"))


def demonstrated(sample: Sample) -> Iterator[tuple[Dialogue, tuple[float, ...]]]:
    """The dialogues of a demonstration with a weight for each message.

    Raises:
        RefusedError: it has no calls, or no reply counts.
    """
    if isinstance(sample, Composed):
        yield sample.dialogue, sample.weights
        return
    assert isinstance(sample, Demonstration)
    if not sample.rollout.calls:
        raise RefusedError("no model call", "the executor asked no model")
    if not any(sample.weights):
        raise RefusedError("all-zero mask", "no reply of it counts in the loss")
    for dialogue in dialogues(sample.rollout.calls):
        weights = [0.0] * len(dialogue.messages)
        for turn in dialogue.turns:
            weights[turn.at] = sample.weights[turn.call]
        if any(weights):
            yield dialogue, tuple(weights)


class OpenAIChat(JsonLines):
    """JSONL for chat fine-tuning: `messages` with `weight` on replies, `tools`.

    OpenAI's shape, which others read. Weights are 0 or 1 there.
    """

    name = "chat"
    takes = DEMONSTRATIONS

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each dialogue. See `Format`."""
        for dialogue, weights in demonstrated(sample):
            messages = openai_messages(dialogue)
            for message, weight in zip(messages, weights, strict=True):
                if message["role"] == "assistant":
                    message["weight"] = int(weight > 0)
            yield _with_tools(messages, dialogue)


class TrlChat(JsonLines):
    """JSONL for TRL's SFTTrainer: `messages` and `tools`, arguments of calls as objects.

    With `assistant_only_loss` every reply is trained on, so a demonstration that masks one is
    refused. Load it with `datasets`' `on_mixed_types="use_json"`: otherwise arguments that one
    row lacks come out as null.
    """

    name = "trl-chat"
    takes = DEMONSTRATIONS

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each dialogue. See `Format`."""
        for dialogue, weights in demonstrated(sample):
            refuse_masks(dialogue, weights, "trl-chat", "trl-sft")
            yield _with_tools(with_objects(openai_messages(dialogue)), dialogue)


class MsSwift(JsonLines):
    """JSONL for ms-swift: `messages` with `loss` on replies, `tools` as JSON text.

    Calls and answers have roles of their own there, `tool_call` and `tool_response`. Of calls in
    one reply only the first one's `loss` counts, which is right: they are one reply.
    """

    name = "ms-swift"
    takes = DEMONSTRATIONS

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each dialogue. See `Format`."""
        for dialogue, weights in demonstrated(sample):
            messages: list[JsonObject] = []
            for body, weight in zip(openai_messages(dialogue), weights, strict=True):
                counts = weight > 0
                calls = cast("list[JsonObject]", body.get("tool_calls") or [])
                if body["role"] == "tool":
                    messages.append({"role": "tool_response", "content": body["content"]})
                    continue
                if body["role"] != "assistant":
                    messages.append({"role": body["role"], "content": body["content"]})
                    continue
                if body["content"] or not calls:
                    messages.append(
                        {"role": "assistant", "content": body["content"], "loss": counts}
                    )
                for call in calls:
                    function = cast("JsonObject", call["function"])
                    spelt = {
                        "name": function["name"],
                        "arguments": json.loads(cast("str", function["arguments"])),
                    }
                    messages.append(
                        {"role": "tool_call", "content": json.dumps(spelt), "loss": counts}
                    )
            row: Body = {"messages": messages}
            if dialogue.tools:
                row["tools"] = json.dumps(openai_tools(dialogue))
            yield row


def _with_tools(messages: list[JsonObject], dialogue: Dialogue) -> Body:
    row: Body = {"messages": messages}
    if dialogue.tools:
        row["tools"] = openai_tools(dialogue)
    return row


def refuse_masks(dialogue: Dialogue, weights: tuple[float, ...], name: str, instead: str) -> None:
    """Return, unless a reply is left out of the loss.

    Raises:
        RefusedError: one is, which the format cannot say.
    """
    if any(weights[turn.at] == 0 for turn in dialogue.turns):
        raise RefusedError(
            "a mask that the format cannot hold",
            f"{name} trains on every reply; take {instead}, which masks tokens",
        )
