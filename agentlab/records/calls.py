"""An attempt's model calls as they are kept: each by what it adds to the call before it.

A chat repeats itself. The twentieth call of an attempt sends all that the nineteen before it sent,
and its prompt holds their tokens again, so that whole calls would take the square of what was said:
to write, on the disk, and each time they are read. What a call shares with the one before is
therefore left out of its row, and where it has to be taken from stands beside the rest:

    {"model": …, "request": {"messages": [the new ones]}, "prompt_token_ids": [the new ones],
     "continues": {"request": ["messages", "tools"], "messages": 7, "tokens": 412}}

`request` names the request's keys in their order; those without a value in the row have that of the
call before. `messages` and `tokens` say how many lead: of its messages, and of its prompt's tokens
and then its output's. Rows without `continues` hold a whole call, as those before schema 0008 do.
Nothing is guessed: only what is spelt the same in JSON is left out, and what is read back equals
what was recorded.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

import orjson
from pydantic import JsonValue, ValidationError
from sqlalchemy import ColumnElement, case, func

from agentlab.records.encoding import unreadable
from agentlab.types import JsonObject, ModelCall

CONTINUES = "continues"
_TABLE = "model_calls"
_LONG = re.compile(r"(?<![.\d])\d{19}")
_EXACT = '{"exact":true,'
"""How a row begins that holds a whole number of 19 digits or more: orjson makes a float of one that
does not fit into 64 bits."""
_FREE = ("request", "response", "sampling")
"""Fields that are any JSON object: there is nothing in them to check, and much to walk through."""


def spelt_calls(calls: Sequence[ModelCall]) -> list[str]:
    """The bodies of an attempt's calls, in their order."""
    found: list[str] = []
    before: ModelCall | None = None
    for call in calls:
        values = call.model_dump(exclude_defaults=True)
        if before is not None:
            told = _left_out(before, call, values)
            if told is not None:
                values[CONTINUES] = told
        if call.log_probabilities is not None:
            values["log_probabilities"] = [_spelt_number(each) for each in call.log_probabilities]
        # Lone surrogates are ordinary, which orjson does not spell.
        text = json.dumps(values, separators=(",", ":"))
        found.append(_EXACT + text[1:] if _LONG.search(text) else text)
        before = call
    return found


def field_of(body: ColumnElement[str], name: str) -> ColumnElement[Any]:
    """A field of a kept call, for a query; NULL where it has its default.

    And where what a model was sent or said holds a NaN, which the database takes for no JSON.
    """
    return case((func.json_valid(body), func.json_extract(body, f"$.{name}")))


def read_calls(rows: Iterable[tuple[int, str]], *, attempt_id: str) -> list[ModelCall]:
    """The calls of an attempt again, from the positions and bodies of its rows in their order.

    What several calls share is one object in memory.

    Raises:
        RecordsError: a row is not what was written, or continues one that is not there.
    """
    found: list[ModelCall] = []
    for position, body in rows:
        key = f"{attempt_id}, {position}"
        try:
            values = _values(body)
            values.pop("exact", None)
            told = values.pop(CONTINUES, None)
            call = _checked(values)
            if told is not None:
                if position != len(found) or not found:
                    raise ValueError("the call that it continues is not there")
                _put_back(found[-1], call, cast("JsonObject", told))
            found.append(call)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "ModelCall"
            raise unreadable(_TABLE, key, f"{place}: {first['msg']}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise unreadable(_TABLE, key, str(error)) from error
    return found


def _left_out(before: ModelCall, call: ModelCall, values: dict[str, object]) -> JsonObject | None:
    """Take out of the values what the call before says too; None where that is nothing."""
    own: JsonObject = {}
    messages = 0
    for name, value in call.request.items():
        if name == "messages" and isinstance(value, list):
            messages = _leading(before.request.get(name), value)
            own[name] = value[messages:]
        elif name not in before.request or not _alike(before.request[name], value):
            own[name] = value
    prompt, held = call.prompt_token_ids, _ids(before)
    tokens = 0 if prompt is None else _common(held, prompt)
    if not messages and not tokens and len(own) == len(call.request):
        return None
    values["request"] = own
    if prompt is not None:
        values["prompt_token_ids"] = prompt[tokens:]
    return {"request": [*call.request], "messages": messages, "tokens": tokens}


def _put_back(before: ModelCall, call: ModelCall, told: JsonObject) -> None:
    """The reverse of `_left_out`, in a call that nobody else has yet."""
    own, held = call.request, before.request
    names = cast("list[str]", told["request"])
    request: JsonObject = {name: own[name] if name in own else held[name] for name in names}
    messages, tokens = _count(told["messages"]), _count(told["tokens"])
    if messages:
        lead = cast("list[JsonValue]", held["messages"])
        if len(lead) < messages:
            raise ValueError(f"it continues {messages} messages of {len(lead)}")
        request["messages"] = [*lead[:messages], *cast("list[JsonValue]", own["messages"])]
    whole: dict[str, object] = {"request": request}
    if tokens:
        ids = _ids(before)
        if len(ids) < tokens:
            raise ValueError(f"it continues {tokens} tokens of {len(ids)}")
        lead_ids = ids if len(ids) == tokens else ids[:tokens]
        whole["prompt_token_ids"] = lead_ids + (call.prompt_token_ids or ())
    vars(call).update(whole)


def _checked(values: dict[str, object]) -> ModelCall:
    """The call, its own fields validated and the objects in it taken as they are."""
    apart = {name: values[name] for name in _FREE if isinstance(values.get(name), dict)}
    for name in apart:
        values[name] = {}
    call = ModelCall.model_validate(values)
    # Nobody else has the call yet. `model_copy` would say the same in twice the time of checking.
    vars(call).update(apart)
    return call


def _values(body: str) -> dict[str, object]:
    found: object = None
    if not body.startswith(_EXACT):
        with contextlib.suppress(orjson.JSONDecodeError):
            found = orjson.loads(body)
    if found is None:
        found = json.loads(body)
    if not isinstance(found, dict):
        raise TypeError("it is no JSON object")
    return cast("dict[str, object]", found)


def _ids(call: ModelCall) -> tuple[int, ...]:
    """All tokens that a call's continuation begins with."""
    return (call.prompt_token_ids or ()) + (call.output_token_ids or ())


def _spelt_number(value: float) -> float | str:
    """Minus infinity, which is an ordinary log-probability, is no number of JSON's."""
    return value if math.isfinite(value) else str(value)


def _leading(before: JsonValue, after: list[JsonValue]) -> int:
    """How many elements two lists begin with alike."""
    if not isinstance(before, list):
        return 0
    found = 0
    for one, other in zip(before, after, strict=False):
        if not _alike(one, other):
            break
        found += 1
    return found


def _common(held: tuple[int, ...], prompt: tuple[int, ...]) -> int:
    """How many tokens two sequences begin with alike."""
    if prompt[: len(held)] == held:
        return len(held)
    pairs = enumerate(zip(held, prompt, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(held), len(prompt)))


def _alike(one: JsonValue, other: JsonValue) -> bool:
    """Whether both are spelt the same, which 1, 1.0 and true are not."""
    return one is other or (one == other and json.dumps(one) == json.dumps(other))


def _count(value: JsonValue) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} is no number of messages or tokens")
    return value
