"""Tokens for a server without a tokenizer: pieces of text with numbers and probabilities.

What matters of them is that they are the same for the same text, that the pieces joined are the
text, and that usage, log probabilities and token ids agree with each other. They are no model's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from zlib import crc32

from agentlab.types import ChatRequest, ToolUse

PIECE = re.compile(r"\s?\w{1,5}|\s?[^\w\s]|\s")
VOCABULARY = 50_000
FIRST_ID = 100
"""Smaller numbers are left to what a tokenizer would keep for marks."""


def pieces(text: str) -> list[str]:
    """The text cut into tokens; joined, they are the text again."""
    return PIECE.findall(text)


def _number(piece: str) -> int:
    return crc32(piece.encode("utf-8", "surrogatepass"))


def token_ids(parts: Iterable[str]) -> list[int]:
    """The number of each token."""
    return [FIRST_ID + _number(part) % VOCABULARY for part in parts]


def log_probability(piece: str) -> float:
    """A number in [-2, 0), the same for the same token."""
    return -2.0 * ((_number(piece) & 0xFFFF) + 1) / 0x10000


def call_text(use: ToolUse) -> str:
    """A tool call as a model that writes Hermes' form would have drawn it."""
    return (
        f'<tool_call>{{"name": {json.dumps(use.name)}, "arguments": {use.arguments}}}</tool_call>'
    )


def prompt_pieces(request: ChatRequest) -> list[str]:
    """The tokens of a request: its tools and its messages, under their roles."""
    found: list[str] = []
    for tool in request.tools:
        found += pieces(f"{tool.name}: {tool.description} {json.dumps(tool.parameters)}")
    for message in request.messages:
        found += pieces(f"<{message.role}>{message.text}")
        for use in message.tool_uses:
            found += pieces(call_text(use))
    return found


def cut(text: str, uses: Sequence[ToolUse], most: int) -> tuple[str, tuple[ToolUse, ...], bool]:
    """What is left of a reply when it may have so many tokens, and whether anything was cut.

    A call that is reached by the limit ends in the middle of its arguments, as real ones do.
    """
    spoken = pieces(text)
    if len(spoken) > most:
        return "".join(spoken[:most]), (), True
    room = most - len(spoken)
    kept: list[ToolUse] = []
    for use in uses:
        need = len(pieces(call_text(use)))
        if need > room:
            short = pieces(use.arguments)[: max(0, room - (need - len(pieces(use.arguments))))]
            if short:
                kept.append(use.model_copy(update={"arguments": "".join(short)}))
            return text, tuple(kept), True
        room -= need
        kept.append(use)
    return text, tuple(kept), False
