"""Requests as they arrive, checked: what is asked of a model, or a sentence that says why not.

What would change the distribution that tokens are drawn from, and is not done here, is refused and
never ignored: a reply that was drawn in another way than was asked must not be trained on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, cast

MOST_STOPS = 16
MOST_TOP = 20
"""Alternatives of a token that can be asked for."""
MOST_NEW = 1 << 20
_NOT_DONE: Mapping[str, tuple[object, ...]] = {
    "n": (None, 1),
    "best_of": (None, 1),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "min_p": (None, 0),
    "top_k": (None, 0, -1),
    "logit_bias": (None, {}),
    "use_beam_search": (None, False),
    "response_format": (None, {"type": "text"}),
    "guided_json": (None,),
    "guided_regex": (None,),
    "guided_grammar": (None,),
    "structured_outputs": (None,),
    "bad_words": (None, []),
    "suffix": (None, ""),
    "min_tokens": (None, 0),
    "stop_token_ids": (None, []),
    "allowed_token_ids": (None,),
    "typical_p": (None, 1),
    "length_penalty": (None, 1),
    "guided_choice": (None,),
    "logits_processors": (None, []),
    "chat_template": (None,),
    "chat_template_kwargs": (None, {}),
    "continue_final_message": (None, False),
    "add_generation_prompt": (None, True),
    "functions": (None,),
    "function_call": (None,),
}
"""Fields that would change what is drawn, and their values that change nothing."""


class Refusal(Exception):
    """A request that is not carried out, as the protocol tells it."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "BadRequestError",
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param

    def body(self) -> dict[str, object]:
        """As endpoints of the protocol spell an error."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.status}
        return {"error": error}


class Drawing(NamedTuple):
    """How tokens are drawn."""

    temperature: float
    top_p: float
    most: int
    """Tokens to draw; the context may leave room for fewer."""
    seed: int | None
    stops: tuple[str, ...]
    top: int | None
    """Alternatives told with each token; None tells no log-probabilities."""
    ignore_end: bool = False


class Asked(NamedTuple):
    """What both kinds of completions have."""

    model: str
    drawing: Drawing
    stream: bool
    usage_too: bool
    """Whether a stream ends with the usage."""
    ids_too: bool
    """Whether token ids are told."""
    salt: str


class ChatAsked(NamedTuple):
    """A chat completion: what the template is given."""

    asked: Asked
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None


class TextAsked(NamedTuple):
    """A completion of tokens or text."""

    asked: Asked
    prompt: str | list[int]
    echo: bool
    prompt_top: int | None
    """Alternatives told with each of the prompt's tokens; None tells none of them."""


def read_body(data: bytes) -> dict[str, Any]:
    """A request's JSON object.

    Raises:
        Refusal: it is none.
    """
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal("The request's body is no JSON object.")
    return cast("dict[str, Any]", value)


def read_chat(body: dict[str, Any]) -> ChatAsked:
    """A chat completion.

    Raises:
        Refusal: something of it cannot be done.
    """
    wants = body.get("logprobs")
    if wants is not None and not isinstance(wants, bool):
        _wrong("logprobs", "true or false")
    top = _whole(body, "top_logprobs", 0, least=0, most=MOST_TOP)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        _wrong("messages", "a list with at least one message")
    tools = body.get("tools")
    if tools is not None and not _objects(tools):
        _wrong("tools", "a list of objects")
    choice = body.get("tool_choice")
    if choice not in (None, "auto", "none"):
        raise Refusal(
            "'tool_choice' can be 'auto' or 'none' here: calls are read and not enforced.",
            param="tool_choice",
        )
    asked = _asked(body, top=top if wants else None, most=_most_of_chat(body))
    offered = cast("list[dict[str, Any]]", tools) if tools and choice != "none" else None
    return ChatAsked(asked, [_message(each) for each in cast("list[object]", messages)], offered)


def read_text(body: dict[str, Any]) -> TextAsked:
    """A completion of a prompt in tokens or text.

    Raises:
        Refusal: something of it cannot be done.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        ids = cast("list[object]", prompt)
        if not ids or not all(type(each) is int and each >= 0 for each in ids):
            _wrong("prompt", "a text, or a list of token ids")
    elif not isinstance(prompt, str):
        _wrong("prompt", "a text, or a list of token ids")
    echo = body.get("echo")
    if echo not in (None, True, False):
        _wrong("echo", "true or false")
    wants = body.get("logprobs")
    top = None if wants is None else _whole(body, "logprobs", 0, least=0, most=MOST_TOP)
    prompt_top = None
    if body.get("prompt_logprobs") is not None:
        prompt_top = _whole(body, "prompt_logprobs", 0, least=0, most=MOST_TOP)
    most = _whole(body, "max_tokens", 16, least=0, most=MOST_NEW)
    if most == 0 and not echo and prompt_top is None:
        raise Refusal(
            "With 'max_tokens' 0 there is nothing to tell; ask for 'echo' or 'prompt_logprobs'.",
            param="max_tokens",
        )
    asked = _asked(body, top=top, most=most)
    if asked.stream and (echo or prompt_top is not None):
        raise Refusal("'echo' and 'prompt_logprobs' are not streamed here.", param="stream")
    return TextAsked(asked, cast("str | list[int]", prompt), bool(echo), prompt_top)


def _asked(body: dict[str, Any], *, top: int | None, most: int) -> Asked:
    for name, harmless in _NOT_DONE.items():
        if body.get(name) not in harmless:
            raise Refusal(f"{name!r} is not done by this server; leave it out.", param=name)
    if body.get("truncate_prompt_tokens") is not None:
        raise Refusal(
            "'truncate_prompt_tokens' is not done here; send less.", param="truncate_prompt_tokens"
        )
    model = body.get("model")
    if not isinstance(model, str) or not model:
        _wrong("model", "the name of a served model")
    options = body.get("stream_options")
    salt = body.get("cache_salt") or ""
    if not isinstance(salt, str):
        _wrong("cache_salt", "a text")
    for name in ("stream", "return_token_ids", "ignore_eos"):
        if body.get(name) not in (None, True, False):
            _wrong(name, "true or false")
    drawing = Drawing(
        temperature=_number(body, "temperature", 1.0, least=0.0, most=2.0),
        top_p=_number(body, "top_p", 1.0, least=1e-6, most=1.0),
        most=most,
        seed=None if body.get("seed") is None else _whole(body, "seed", 0, least=-(2**63)),
        stops=_stops(body.get("stop")),
        top=top,
        ignore_end=bool(body.get("ignore_eos")),
    )
    return Asked(
        model=model,
        drawing=drawing,
        stream=bool(body.get("stream")),
        usage_too=isinstance(options, dict)
        and bool(cast("dict[str, object]", options).get("include_usage")),
        ids_too=bool(body.get("return_token_ids")),
        salt=salt,
    )


def _most_of_chat(body: dict[str, Any]) -> int:
    name = "max_tokens" if body.get("max_completion_tokens") is None else "max_completion_tokens"
    return _whole(body, name, MOST_NEW, least=1, most=MOST_NEW)


def _message(message: object) -> dict[str, Any]:
    if not isinstance(message, dict):
        _wrong("messages", "a list of objects")
    found = cast("dict[str, Any]", message)
    role = found.get("role")
    if role not in ("system", "developer", "user", "assistant", "tool"):
        _wrong("messages", "messages with a known 'role'")
    made: dict[str, Any] = {
        "role": "system" if role == "developer" else role,
        "content": _text(found.get("content")),
    }
    if isinstance(found.get("tool_call_id"), str):
        made["tool_call_id"] = found["tool_call_id"]
    calls = found.get("tool_calls")
    if calls:
        if not _objects(calls):
            _wrong("messages", "tool calls that are objects")
        made["tool_calls"] = [_call(call) for call in cast("list[dict[str, Any]]", calls)]
    return made


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """A call with its arguments as an object, as templates take them."""
    function = call.get("function")
    if not isinstance(function, dict):
        _wrong("messages", "tool calls with a 'function'")
    named = cast("dict[str, Any]", function)
    arguments = named.get("arguments") or "{}"
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict) or not isinstance(named.get("name"), str):
        _wrong("messages", "tool calls with a name and arguments that are a JSON object")
    spelt = cast("dict[str, Any]", arguments)
    made = {"name": named["name"], "arguments": spelt}
    return {"id": str(call.get("id") or ""), "type": "function", "function": made}


def _text(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for part in cast("list[object]", content) if isinstance(content, list) else [None]:
        text = cast("dict[str, object]", part).get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            raise Refusal("This model takes text and nothing else.", param="messages")
        texts.append(text)
    return "".join(texts)


def _stops(value: object) -> tuple[str, ...]:
    found: Sequence[object] = ()
    if isinstance(value, str):
        found = (value,)
    elif isinstance(value, list):
        found = cast("list[object]", value)
    texts = tuple(each for each in found if isinstance(each, str) and each)
    if (value is not None and not isinstance(value, str | list)) or len(texts) != len(found):
        _wrong("stop", "a text or a list of texts")
    if len(texts) > MOST_STOPS:
        _wrong("stop", f"at most {MOST_STOPS} texts")
    return texts


def _objects(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) for each in cast("list[object]", value)
    )


def _whole(body: dict[str, Any], name: str, default: int, *, least: int, most: int = 2**63) -> int:
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int or not least <= value <= most:
        _wrong(name, f"a whole number from {least} to {most}")
    return value


def _number(body: dict[str, Any], name: str, default: float, *, least: float, most: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        _wrong(name, f"a number from {least:g} to {most:g}")
    # A whole number may be too long for a float, and NaN is in no range.
    if not least <= value <= most or not math.isfinite(value):
        _wrong(name, f"a number from {least:g} to {most:g}")
    return float(value)


def _wrong(name: str, wanted: str) -> NoReturn:
    raise Refusal(f"{name!r} must be {wanted}.", param=name)
