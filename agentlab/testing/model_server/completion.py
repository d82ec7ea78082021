"""A reply as the OpenAI protocol sends it: whole, or as the chunks of a stream.

Both come from the same `Completion`, so what a client puts together from a stream is what it
would have got whole: text, calls, reason to stop, usage, log probabilities, token ids. Fields that
only vLLM knows (`prompt_token_ids`, `token_ids`) stand where vLLM puts them: in a stream, those of
the prompt in the first chunk and the others as differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from agentlab.testing.model_server.tokens import (
    call_text,
    cut,
    log_probability,
    pieces,
    prompt_pieces,
    token_ids,
)
from agentlab.testing.model_server.wire import Asked
from agentlab.types import ChatReply, JsonObject, Message, StopReason, ToolUse

CREATED = 1_750_000_000
"""When every reply says that it was made: the same request gets the same bytes."""
FINGERPRINT = "fp_rules"
Reply = ChatReply | Message | str
"""What a rule gives; its figures of usage are not used, since the server counts itself."""
PER_CHUNK = 4
"""Tokens in a chunk of a stream."""


@dataclass(frozen=True)
class Completion:
    """What is answered to a request, before it is put into bytes."""

    asked: Asked
    id: str
    text: str
    tool_uses: tuple[ToolUse, ...]
    stop_reason: StopReason
    prompt: tuple[str, ...]
    """Tokens of the request."""
    output: tuple[str, ...]
    """Tokens of the reply."""
    usage: JsonObject | None
    """As told, which a fault may have changed; None where it is not told."""


def complete(asked: Asked, said: Reply, identity: str) -> Completion:
    """The rule's reply under the request's own limits: stop texts, tokens, one call at a time."""
    reply = as_reply(said)
    request = asked.request
    text, uses, reason = reply.message.text, reply.message.tool_uses, reply.stop_reason
    if not request.parallel_tool_calls:
        uses = uses[:1]
    ends = [text.find(stop) for stop in request.sampling.stop if stop and stop in text]
    if ends:
        text, uses, reason = text[: min(ends)], (), "stop"
    text, uses, short = cut(text, uses, request.sampling.max_tokens)
    if short:
        reason = "length"
    prompt = prompt_pieces(request)
    output = pieces(text) + [piece for use in uses for piece in pieces(call_text(use))]
    usage: JsonObject = {
        "prompt_tokens": len(prompt),
        "completion_tokens": len(output),
        "total_tokens": len(prompt) + len(output),
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
    }
    return Completion(
        asked, f"chatcmpl-{identity}", text, uses, reason, tuple(prompt), tuple(output), usage
    )


def as_reply(said: Reply) -> ChatReply:
    """What a rule gave, as a reply."""
    if isinstance(said, str):
        said = Message(role="assistant", text=said)
    if isinstance(said, ChatReply):
        return said
    return ChatReply(message=said, stop_reason="tool_calls" if said.tool_uses else "stop")


def whole(completion: Completion) -> JsonObject:
    """The body of an answer that is not streamed."""
    sampling = completion.asked.request.sampling
    message: JsonObject = {
        "role": "assistant",
        "content": completion.text if completion.text or not completion.tool_uses else None,
        "refusal": None,
    }
    if completion.tool_uses:
        message["tool_calls"] = [_call(use) for use in completion.tool_uses]
    choice: JsonObject = {
        "index": 0,
        "message": message,
        "finish_reason": completion.stop_reason,
        "logprobs": _logprobs(completion.output) if sampling.logprobs else None,
    }
    body = _head(completion, "chat.completion")
    body["choices"] = [choice]
    if completion.usage is not None:
        body["usage"] = completion.usage
    if sampling.token_ids:
        choice["token_ids"] = cast("list[JsonValue]", token_ids(completion.output))
        body["prompt_token_ids"] = cast("list[JsonValue]", token_ids(completion.prompt))
    return body


def chunks(completion: Completion) -> Iterator[JsonObject]:
    """The bodies of a stream's chunks, without the last line that says that it is done."""
    sampling = completion.asked.request.sampling
    stream_usage = completion.asked.stream_usage

    def chunk(
        delta: JsonObject, drawn: Sequence[str] = (), reason: str | None = None
    ) -> JsonObject:
        choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": reason}
        choice["logprobs"] = _logprobs(drawn) if sampling.logprobs and drawn else None
        if sampling.token_ids:
            choice["token_ids"] = cast("list[JsonValue]", token_ids(drawn))
        body = _head(completion, "chat.completion.chunk")
        body["choices"] = [choice]
        if stream_usage:
            body["usage"] = None
        return body

    first = chunk({"role": "assistant", "content": ""})
    if sampling.token_ids:
        first["prompt_token_ids"] = cast("list[JsonValue]", token_ids(completion.prompt))
    yield first
    spoken = pieces(completion.text)
    for start in range(0, len(spoken), PER_CHUNK):
        some = spoken[start : start + PER_CHUNK]
        yield chunk({"content": "".join(some)}, some)
    for index, use in enumerate(completion.tool_uses):
        opening: JsonObject = {"index": index, **_call(use.model_copy(update={"arguments": ""}))}
        yield chunk({"tool_calls": [opening]}, pieces(call_text(use)))
        written = pieces(use.arguments)
        for start in range(0, len(written), PER_CHUNK):
            part: JsonObject = {"arguments": "".join(written[start : start + PER_CHUNK])}
            yield chunk({"tool_calls": [{"index": index, "function": part}]})
    yield chunk({}, reason=completion.stop_reason)
    if stream_usage and completion.usage is not None:
        last = _head(completion, "chat.completion.chunk")
        yield {**last, "choices": [], "usage": completion.usage}


def _head(completion: Completion, kind: str) -> JsonObject:
    return {
        "id": completion.id,
        "object": kind,
        "created": CREATED,
        "model": completion.asked.model,
        "system_fingerprint": FINGERPRINT,
    }


def _call(use: ToolUse) -> JsonObject:
    return {
        "id": use.id,
        "type": "function",
        "function": {"name": use.name, "arguments": use.arguments},
    }


def _logprobs(drawn: Sequence[str]) -> JsonObject:
    content: list[JsonValue] = [
        {
            "token": piece,
            "logprob": log_probability(piece),
            "bytes": cast("list[JsonValue]", list(piece.encode("utf-8", "surrogatepass"))),
            "top_logprobs": [],
        }
        for piece in drawn
    ]
    return {"content": content, "refusal": None}
