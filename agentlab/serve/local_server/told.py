"""Replies as the protocol spells them, whole or in parts."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from agentlab.models.hermes import OPEN, read_written
from agentlab.serve.local_server.asked import ChatAsked, TextAsked
from agentlab.serve.local_server.drawing import Drawn

REPLACEMENT = "\ufffd"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""How SentencePiece names a byte."""


def _letters() -> dict[str, int]:
    """The letter that stands for each byte in a byte-level vocabulary, as GPT-2's was written."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    found = {chr(byte): byte for byte in plain}
    return found | {chr(256 + place): byte for place, byte in enumerate(others)}


_LETTERS = _letters()
Scored = tuple[float, tuple[tuple[int, float], ...]]


class Reply(NamedTuple):
    """What was drawn for a request."""

    prompt: Sequence[int]
    drawn: Sequence[Drawn]
    text: str
    """Without what comes from a stop on."""
    reason: str


class Speller:
    """Writes replies of one model's tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def text(self, ids: Sequence[int]) -> str:
        """What tokens spell, without special ones."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def token(self, token: int) -> str:
        """What one token spells."""
        return str(self._tokenizer.decode([token]))

    def chat(self, asked: ChatAsked, reply: Reply, name: str) -> dict[str, Any]:
        """A chat completion."""
        message, reason = self.message(asked, reply)
        choice = {
            "index": 0,
            "message": message,
            "logprobs": self.content(asked, reply.drawn),
            "finish_reason": reason,
            "stop_reason": None,
        }
        return self._whole(asked.asked.ids_too, reply, "chat.completion", name, choice)

    def message(self, asked: ChatAsked, reply: Reply) -> tuple[dict[str, Any], str]:
        """The assistant's message, its calls read where tools were offered, and why it ended."""
        if asked.tools is None or OPEN not in reply.text:
            return {"role": "assistant", "content": reply.text}, reply.reason
        written = read_written(reply.text)
        mark = _mark(reply)
        calls = [
            {
                "id": f"call_{mark}_{place}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for place, (name, arguments) in enumerate(written.calls)
        ]
        message = {"role": "assistant", "content": written.text or None, "tool_calls": calls}
        return message, "tool_calls" if reply.reason == "stop" else reply.reason

    def content(self, asked: ChatAsked, drawn: Sequence[Drawn]) -> dict[str, Any] | None:
        """Log-probabilities of drawn tokens, as chat completions tell them."""
        if asked.asked.drawing.top is None:
            return None
        return {
            "content": [
                {
                    **self._spelt(each.id, each.logprob),
                    "top_logprobs": [self._spelt(token, value) for token, value in each.top],
                }
                for each in drawn
            ]
        }

    def completion(
        self, asked: TextAsked, reply: Reply, name: str, scored: Sequence[Scored] | None
    ) -> dict[str, Any]:
        """A completion of tokens or text; `scored` is of the prompt's tokens but the first."""
        said = self.text(reply.prompt) + reply.text if asked.echo else reply.text
        choice: dict[str, Any] = {
            "index": 0,
            "text": said,
            "logprobs": self.parallel(asked, reply, scored),
            "finish_reason": reply.reason,
            "stop_reason": None,
        }
        if asked.prompt_top is not None and scored is not None:
            told = zip(reply.prompt[1:], scored, strict=True)
            choice["prompt_logprobs"] = [None, *(self._ranked(token, each) for token, each in told)]
        return self._whole(asked.asked.ids_too, reply, "text_completion", name, choice)

    def parallel(
        self, asked: TextAsked, reply: Reply, scored: Sequence[Scored] | None
    ) -> dict[str, Any] | None:
        """Log-probabilities as completions tell them: lists side by side."""
        if asked.asked.drawing.top is None:
            return None
        ids = [each.id for each in reply.drawn]
        values: list[float | None] = [each.logprob for each in reply.drawn]
        tops: list[Sequence[tuple[int, float]] | None] = [each.top for each in reply.drawn]
        if asked.echo and scored is not None:
            ids = [*reply.prompt, *ids]
            values = [None, *(value for value, _ in scored), *values]
            tops = [None, *(top for _, top in scored), *tops]
        tokens = [self.token(token) for token in ids]
        offsets, at = list[int](), 0
        for token in tokens:
            offsets.append(at)
            at += len(token)
        return {
            "tokens": tokens,
            "token_logprobs": values,
            "top_logprobs": [
                None if top is None else {self.token(token): value for token, value in top}
                for top in tops
            ],
            "text_offset": offsets,
        }

    def _ranked(self, token: int, scored: Scored) -> dict[str, Any]:
        value, top = scored
        told = {token: value, **dict(top)}
        ranks = {each: rank for rank, (each, _) in enumerate(top, start=1)}
        return {
            str(each): {
                "logprob": found,
                "rank": ranks.get(each),
                "decoded_token": self.token(each),
            }
            for each, found in told.items()
        }

    def _whole(
        self, ids_too: bool, reply: Reply, kind: str, name: str, choice: dict[str, Any]
    ) -> dict[str, Any]:
        prefix = "chatcmpl" if kind == "chat.completion" else "cmpl"
        ids = [each.id for each in reply.drawn]
        if ids_too:
            choice["token_ids"] = ids
        body: dict[str, Any] = {
            "id": f"{prefix}-{_mark(reply)}",
            "object": kind,
            "created": int(time.time()),
            "model": name,
            "choices": [choice],
            "usage": usage(reply.prompt, ids),
        }
        return body | ({"prompt_token_ids": list(reply.prompt)} if ids_too else {})

    def _spelt(self, token: int, logprob: float) -> dict[str, Any]:
        text = self.token(token)
        raw = text.encode() if REPLACEMENT not in text else self._bytes(token, text)
        return {"token": text, "logprob": logprob, "bytes": list(raw)}

    def _bytes(self, token: int, text: str) -> bytes:
        """The bytes of a token that is a part of a letter, by how vocabularies name such tokens."""
        name = str(self._tokenizer.convert_ids_to_tokens(token))
        if _BYTE.fullmatch(name):
            return bytes([int(name[3:5], 16)])
        if all(letter in _LETTERS for letter in name):
            return bytes(_LETTERS[letter] for letter in name)
        return text.encode()


def usage(prompt: Sequence[int], output: Sequence[int]) -> dict[str, int]:
    """Tokens of a call."""
    read, drawn = len(prompt), len(output)
    return {"prompt_tokens": read, "completion_tokens": drawn, "total_tokens": read + drawn}


def _mark(reply: Reply) -> str:
    """The same for the same reply: ids that are recorded must not differ from run to run."""
    spelt = f"{list(reply.prompt)} {[each.id for each in reply.drawn]}"
    return hashlib.sha256(spelt.encode()).hexdigest()[:16]


def safe_length(text: str) -> int:
    """Characters of a text in the making that will not change with the tokens to come."""
    return len(text.rstrip(REPLACEMENT))


def before_call(text: str) -> int:
    """Characters of a text that stand before a tool call, or before what may become one."""
    at = text.find(OPEN)
    if at >= 0:
        return at
    for length in range(min(len(OPEN) - 1, len(text)), 0, -1):
        if text.endswith(OPEN[:length]):
            return len(text) - length
    return len(text)


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """A text up to the first stop in it, and whether there is one."""
    places = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)
