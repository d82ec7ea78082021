"""Replies from JSON, in the shape of chat completions.

What comes back is believed in nothing: a field of the wrong type is as good as missing, and an
answer without a message is a fault and never a crash. Token ids and log-probabilities are kept as
they were given, or not at all; they are never worked out from the text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import JsonValue

from agentlab.models.faults import PassingFaultError
from agentlab.models.wire import wire_names
from agentlab.types import ChatReply, ChatRequest, JsonObject, Message, StopReason, ToolUse

_STOPS: dict[str, StopReason] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}
_MOST = 10**9
"""Tokens of one call; a larger figure is no figure."""


def read_reply(received: bytes, request: ChatRequest, what: str) -> ChatReply:
    """The reply that an answer holds.

    Args:
        received: the whole body.
        request: what was asked, for the names of its tools.
        what: names the endpoint in errors.

    Raises:
        PassingFaultError: it is no JSON, tells an error, or holds no message.
    """
    return reply_of(_object(received, what), request, what)


def read_stream(received: bytes, request: ChatRequest, what: str) -> ChatReply:
    """The reply that a stream of server-sent events adds up to.

    Raises:
        PassingFaultError: as for `read_reply`, or the stream does not end with `[DONE]`.
    """
    whole: JsonObject = {}
    choice: JsonObject = {}
    text: list[str] = []
    calls: dict[int, dict[str, str]] = {}
    ids: list[JsonValue] = []
    content: list[JsonValue] = []
    for line in received.splitlines():
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            break
        part = _object(data, what)
        whole |= {name: value for name, value in part.items() if value is not None}
        choices = part.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            continue
        found = choices[0]
        choice |= {name: value for name, value in found.items() if value is not None}
        delta = found.get("delta")
        if isinstance(delta, dict):
            text.append(_text(delta.get("content")))
            _add_calls(calls, delta.get("tool_calls"))
        ids += _list(found.get("token_ids"))
        spoken = found.get("logprobs")
        content += _list(spoken.get("content")) if isinstance(spoken, dict) else []
    else:
        raise PassingFaultError(f"{what}: its stream was cut off")
    choice["message"] = {
        "content": "".join(text),
        "tool_calls": [
            {"id": call["id"], "function": {"name": call["name"], "arguments": call["arguments"]}}
            for _, call in sorted(calls.items())
        ],
    }
    choice |= {"token_ids": ids or None, "logprobs": {"content": content} if content else None}
    whole["choices"] = [choice]
    return reply_of(whole, request, what)


def _add_calls(calls: dict[int, dict[str, str]], deltas: JsonValue) -> None:
    for position, delta in enumerate(_list(deltas)):
        if not isinstance(delta, dict):
            continue
        index = delta.get("index")
        place = index if isinstance(index, int) else position
        call = calls.setdefault(place, {"id": "", "name": "", "arguments": ""})
        function = delta.get("function")
        call["id"] = call["id"] or _text(delta.get("id"))
        if isinstance(function, dict):
            call["name"] += _text(function.get("name"))
            call["arguments"] += _arguments(function.get("arguments"))


def _object(received: bytes, what: str) -> JsonObject:
    try:
        # What is no UTF-8 is kept apart as halves of surrogate pairs, and replaced below.
        value: object = json.loads(received.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        raise PassingFaultError(f"{what}: its answer is no JSON") from None
    if not isinstance(value, dict):
        raise PassingFaultError(f"{what}: its answer is no JSON object")
    found = cast("JsonObject", value)
    error = found.get("error")
    if error:
        raise PassingFaultError(f"{what}: it says {_clean(str(error))[:500]!r}")
    return found


def reply_of(answer: JsonObject, request: ChatRequest, what: str) -> ChatReply:
    """The reply that an answer's JSON holds; see `read_reply`."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise PassingFaultError(f"{what}: its answer holds no message")
    real = {wire: name for name, wire in wire_names(request.tools).items()}
    uses = _tool_uses(message.get("tool_calls"), real)
    refusal = _clean(_text(message.get("refusal")))
    text = _clean(_text(message.get("content"))) or refusal
    usage = answer.get("usage")
    figures = usage if isinstance(usage, dict) else {}
    details = figures.get("prompt_tokens_details")
    prompt = _count(figures.get("prompt_tokens"))
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    output, spoken = _ids(choice.get("token_ids")), choice.get("logprobs")
    drawn = _log_probabilities(spoken)
    reason = _STOPS.get(_text(choice.get("finish_reason")), "tool_calls" if uses else "stop")
    return ChatReply(
        message=Message(role="assistant", text=text, tool_uses=uses),
        stop_reason="content_filter" if refusal and not uses else reason,
        model=_clean(_text(answer.get("model")))[:200],
        prompt_tokens=prompt,
        output_tokens=_count(figures.get("completion_tokens")),
        cached_tokens=cached if cached <= prompt else 0,
        prompt_token_ids=_ids(answer.get("prompt_token_ids")),
        output_token_ids=output,
        log_probabilities=drawn,
        ids_verified=_verified(output, drawn, _spelt(spoken), text, message.get("tool_calls")),
    )


def _verified(
    ids: Sequence[int] | None,
    drawn: Sequence[float] | None,
    spelt: str | None,
    text: str,
    calls: JsonValue,
) -> bool | None:
    """Whether ids and log-probabilities are of one length, and the tokens spell the reply."""
    if ids is None or drawn is None or spelt is None:
        return None
    functions = [call.get("function") for call in _list(calls) if isinstance(call, dict)]
    names = [_text(each.get("name")) for each in functions if isinstance(each, dict)]
    written = [_arguments(each.get("arguments")) for each in functions if isinstance(each, dict)]
    return len(ids) == len(drawn) and spells(spelt, text, list(zip(names, written, strict=True)))


_UNSAID = re.compile(
    "\ufffd|" r"<\|[^<>|\s]{1,40}\|>|</?s>|<(?:bos|eos|pad|unk|start_of_turn|end_of_turn)>"
)
"""What tokens spell and a reply leaves out, a vocabulary's own marks; and what stands for bytes
that make no letter, which is not always put as often."""


def spells(spelt: str, text: str, calls: Sequence[tuple[str, str]]) -> bool:
    """Whether drawn tokens, joined, say what an endpoint made of them.

    A parser takes marks away and writes arguments anew, so what is asked is that the text, the
    names of the tools and every text among their arguments are there.

    Args:
        spelt: the tokens joined.
        text: the reply's.
        calls: names of tools as sent, and their arguments as JSON text.
    """
    parts = [text.strip(), *(name for name, _ in calls)]
    for _, written in calls:
        try:
            parts += _leaves(json.loads(written or "{}"))
        except (ValueError, RecursionError):
            parts.append(written.strip())  # what was no JSON came as it was drawn
    return all(_said(part, spelt) for part in parts)


def _said(part: str, spelt: str) -> bool:
    part, spelt = _UNSAID.sub("", part), _UNSAID.sub("", spelt)
    quoted = json.dumps(part, ensure_ascii=False)[1:-1], json.dumps(part)[1:-1]
    return part in spelt or any(each in spelt for each in quoted)


def _leaves(value: JsonValue) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for each in _list(value) for leaf in _leaves(each)]


def _spelt(value: JsonValue) -> str | None:
    """The tokens of log-probabilities, joined; None where the endpoint told none."""
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list):
        return None
    found = bytearray()
    for token in content:
        if not isinstance(token, dict):
            return None
        raw, name = token.get("bytes"), token.get("token")
        if isinstance(raw, list) and all(isinstance(b, int) and 0 <= b < 256 for b in raw):
            found += bytes(cast("list[int]", raw))
        elif isinstance(name, str) and not name.startswith("token_id:"):
            found += name.encode("utf-8", "replace")
        else:
            return None
    return found.decode("utf-8", "replace")


def _tool_uses(calls: JsonValue, real: Mapping[str, str]) -> tuple[ToolUse, ...]:
    uses: list[ToolUse] = []
    taken: set[str] = set()
    for place, call in enumerate(_list(calls)):
        if not isinstance(call, dict):
            call = {}
        function = call.get("function")
        if not isinstance(function, dict):
            function = {}
        # Calls are answered by their ids, so a missing or doubled one gets its own.
        id_ = _clean(_text(call.get("id")))[:200]
        while not id_ or id_ in taken:
            id_ = f"call_{place}" if not id_ else f"{id_}_{place}"
        taken.add(id_)
        name = _clean(_text(function.get("name")))
        uses.append(
            ToolUse(
                id=id_,
                name=real.get(name, name),
                arguments=_spelled(_arguments(function.get("arguments"))),
            )
        )
    return tuple(uses)


def _arguments(value: JsonValue) -> str:
    """As the model wrote them; some servers give the object itself."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _text(value: JsonValue) -> str:
    """A text, or the texts among a list's parts; empty where it is neither."""
    if isinstance(value, str):
        return value
    parts = [part.get("text") for part in _list(value) if isinstance(part, dict)]
    return "".join(part for part in parts if isinstance(part, str))


def _clean(text: str) -> str:
    """Text that UTF-8 can spell: what it cannot becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _spelled(arguments: str) -> str:
    r"""Arguments that UTF-8 can spell: what it cannot is spelled `\xdc80`, which is no JSON.

    So a call that was damaged on its way is refused, and not carried out with another value.
    """
    if arguments.isascii():
        return arguments
    joined = arguments.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return re.sub(r"[\ud800-\udfff]", lambda found: f"\\x{ord(found[0]):04x}", joined)


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _count(value: JsonValue) -> int:
    """A figure of tokens; 0 where it can be none, which counts as missing."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= _MOST else 0


def _ids(value: JsonValue) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    ids = tuple(each for each in value if isinstance(each, int) and not isinstance(each, bool))
    return ids if len(ids) == len(value) and all(0 <= each < 2**31 for each in ids) else None


def _log_probabilities(value: JsonValue) -> tuple[float, ...] | None:
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list):
        return None
    found: list[float] = []
    for token in content:
        number = token.get("logprob") if isinstance(token, dict) else None
        if isinstance(number, bool) or not isinstance(number, int | float):
            return None
        # One that is no number spoils them all: they are worth something only together.
        if not abs(number) < math.inf:
            return None
        found.append(float(number))
    return tuple(found)
