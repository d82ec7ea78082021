"""How many tokens a call takes: expected before it, counted after it.

What an endpoint says of its usage is taken where it can be true. Where it is missing, or too
small or too large for what was sent and received, the text is counted instead: false figures
never make spending smaller than what can be counted, and do not end a run early either.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from agentlab.types import ChatReply, ChatRequest, Message, canonical_json

BYTES_A_TOKEN = 4
"""Of UTF-8; taken where nothing better is known."""
CHARACTERS_A_TOKEN = 6
"""Of text without runs of white space: more than tokenizers pack on average in prose, code or
JSON (3 to 5), so that a true figure is not doubted."""
PICTURE_TOKENS = 1_100
"""Of one picture of a page: what large models charge for about 1280 by 800 pixels."""
UNSEEN = 10
"""Times the text's bytes, or the limit on a reply, that a figure may be: an endpoint adds
instructions of its own to a prompt, and thought that it does not show to a reply."""
UNSEEN_TOKENS = 10_000
"""The same where there is hardly any text."""


class Tokens(NamedTuple):
    """Tokens of one call."""

    prompt: int
    cached: int
    """Of the prompt's, those that cost less."""
    output: int

    @property
    def total(self) -> int:
        """Prompt and output."""
        return self.prompt + self.output


def expected(request: ChatRequest) -> Tokens:
    """What a call may take: its prompt, as estimated from the text, and all of its output."""
    return Tokens(_estimate(_sent(request)) + _pictured(request), 0, request.sampling.max_tokens)


def counted(request: ChatRequest, reply: ChatReply) -> Tokens:
    """What a call took.

    Args:
        request: as it was sent.
        reply: with the endpoint's figures, which may be missing (0) or false.
    """
    shown = 0 if reply.pictures_unseen else _pictured(request)
    prompt = _credible(reply.prompt_tokens, _sent(request), beside=shown)
    limit = request.sampling.max_tokens
    output = _credible(reply.output_tokens, [_said(reply.message)], limit)
    spoken = max(len(reply.output_token_ids or ()), len(reply.log_probabilities or ()))
    prompt = max(prompt, len(reply.prompt_token_ids or ()))
    return Tokens(prompt, min(reply.cached_tokens, prompt), max(output, spoken))


def _credible(figure: int, texts: list[str], limit: int = 0, beside: int = 0) -> int:
    least = sum(len(re.sub(r"\s+", " ", text)) for text in texts) // CHARACTERS_A_TOKEN
    estimate = _estimate(texts) + beside
    most = UNSEEN * max(estimate * BYTES_A_TOKEN, limit) + UNSEEN_TOKENS
    return figure if figure > 0 and least <= figure <= most else estimate


def _pictured(request: ChatRequest) -> int:
    return PICTURE_TOKENS * sum(len(message.pictures) for message in request.messages)


def _estimate(texts: list[str]) -> int:
    return sum(-(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN) for text in texts)


def _sent(request: ChatRequest) -> list[str]:
    """The texts of a request; what the template adds is not counted."""
    tools = [f"{tool.name} {tool.description}" for tool in request.tools]
    shapes = [canonical_json(tool.parameters) for tool in request.tools]
    return [*(_said(message) for message in request.messages), *tools, *shapes]


def _said(message: Message) -> str:
    return " ".join([message.text, *(f"{use.name} {use.arguments}" for use in message.tool_uses)])
