"""Reads tool calls in the form that Hermes made common and many open models are trained on.

`<tool_call>{"name": …, "arguments": {…}}</tool_call>`, any number of times, with or without text
around it. Nothing but the standard library is imported: the local model server reads replies with
this too, under a Python that has none of agentlab's dependencies.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, cast

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_CALL = re.compile(rf"(?s){OPEN}(.*?)(?:{CLOSE}|\Z)")


class WrittenCall(NamedTuple):
    """A call as a model wrote it."""

    name: str
    """Empty where what was written is no call: whoever carries it out refuses it."""
    arguments: str
    """JSON text, unchecked; all that was written where it is no call."""


class Written(NamedTuple):
    """A reply's text without its calls, and its calls in order."""

    text: str
    calls: tuple[WrittenCall, ...]


def read_written(text: str) -> Written:
    """What a reply says and what it calls."""
    if OPEN not in text:
        return Written(text, ())
    calls = tuple(_call(cast("str", written).strip()) for written in _CALL.findall(text))
    return Written(_CALL.sub("", text).strip(), calls)


def _call(written: str) -> WrittenCall:
    try:
        value: object = json.loads(written)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return WrittenCall("", written)
    found = cast("dict[str, object]", value)
    given = found.get("arguments")
    arguments = given if isinstance(given, str) else json.dumps(given or {})
    return WrittenCall(str(found.get("name") or ""), arguments)
