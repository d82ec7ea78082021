"""Structured replies: a frozen model from a chat model's text, or nothing.

The schema goes with the request, so that an endpoint that can will hold the model to it. None is
trusted to: the text is parsed and validated here in every case, and a reply that does not fit is
sent back with what is wrong with it, at most twice. What a model wrote is data in that message too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from agentlab.models.prompts import DATA, quoted
from agentlab.protocols import ChatModel
from agentlab.types import ChatRequest, JsonObject, Message

REPAIRS = 2
"""How often a reply that does not fit is sent back."""
LONGEST = 1_000_000
"""Characters of a reply that are looked at; a longer one is unusable."""
_SHOWN = 2_000
"""Characters of an unusable reply that are sent back with what is wrong with it."""
_STARTS = 20
"""Places in a reply at which an object is looked for."""
_FAULTS = 8
"""Faults that a repair names."""

Shape = TypeVar("Shape", bound=BaseModel)


class UnusableReplyError(ValueError):
    """Raised by `parse`; the text says what is wrong, for the model that wrote it."""


async def ask(
    model: ChatModel,
    request: ChatRequest,
    shape: type[Shape],
    *,
    unusable: Callable[[str], None] | None = None,
) -> Shape | None:
    """The model's reply as a value of a type.

    Args:
        model: asked once, and once more for each of at most two repairs.
        request: without tools and schema; the schema of `shape` is added.
        shape: what the reply must fit.
        unusable: told what was wrong with the last reply, in a sentence, where none could be used.

    Returns:
        None when no reply could be used, which is an answer and no error.

    Raises:
        ModelFaultError: the endpoint failed for good.
        BudgetSpentError: a budget did not allow the call, or a repair.
    """
    request = request.model_copy(
        update={
            "schema_name": request.schema_name or shape.__name__,
            "reply_schema": schema_of(shape),
        }
    )
    for turn in range(REPAIRS + 1):
        reply = await model.chat(request)
        try:
            return parse(reply.message.text, shape)
        except UnusableReplyError as error:
            why = str(error)
            if reply.stop_reason == "length":
                why = f"It was cut off, because it was too long. {why}"
            if turn == REPAIRS:
                if unusable is not None:
                    unusable(why)
                break
            request = request.model_copy(
                update={"messages": (*request.messages, *_sent_back(reply.message.text, why))}
            )
    return None


def schema_of(shape: type[BaseModel]) -> JsonObject:
    """The JSON schema of a type, as endpoints are given it."""
    return shape.model_json_schema()


def parse(text: str, shape: type[Shape]) -> Shape:
    """The value that a reply spells: bare, in a code fence, or after words of thought.

    Of several objects in the text the first that fits is taken.

    Raises:
        UnusableReplyError: there is none that fits.
    """
    if len(text) > LONGEST:
        raise UnusableReplyError(f"It has more than {LONGEST} characters.")
    why = "It holds no JSON object."
    told = False
    for value in _objects(text):
        try:
            return shape.model_validate(value)
        except ValidationError as error:
            # The first object is the likeliest to be the one that was meant.
            if not told:
                why, told = _faults(error), True
        except (RecursionError, UnicodeError):
            why = "It is nested too deeply, or holds text that UTF-8 cannot spell."
    raise UnusableReplyError(why)


def _objects(text: str) -> Iterator[JsonValue]:
    """JSON values in a text, likeliest first; what is inside of a found one is not looked at."""
    spoken = re.sub(r"(?s)\A\s*<think>.*?</think>", "", text)
    whole = _decoded(spoken.strip(), 0)
    if whole is not None and not spoken.strip()[whole[1] :].strip():
        yield whole[0]
        return
    place = 0
    for _ in range(_STARTS):
        place = spoken.find("{", place)
        if place < 0:
            return
        found = _decoded(spoken, place)
        if found is None:
            place += 1
            continue
        yield found[0]
        place = found[1]


def _decoded(text: str, place: int) -> tuple[JsonValue, int] | None:
    try:
        value, end = _DECODER.raw_decode(text, place)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair can be written
    except (ValueError, RecursionError):
        return None
    return value, end


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number.")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def _faults(error: ValidationError) -> str:
    told = [
        f"{'.'.join(str(part) for part in fault['loc']) or 'the object'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = f"; and {len(told) - _FAULTS} more" if len(told) > _FAULTS else ""
    return "It does not fit the schema: " + "; ".join(told[:_FAULTS]) + more + "."


def _sent_back(text: str, why: str) -> tuple[Message, Message]:
    """The reply, cut if need be, and what is wrong with it."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… (cut; {len(text)} characters)"
    return (
        Message(role="assistant", text=shown or "(nothing)"),
        Message(
            role="user",
            text=(
                f"That reply cannot be used: {quoted(why)}\n{DATA}\n"
                "Reply again with one JSON object that fits the schema, and nothing else."
            ),
        ),
    )
