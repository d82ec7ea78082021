"""One JSON-RPC message from bytes, or the protocol's error for what is none.

Both transports read through here before the official SDK sees anything. JSON is taken strictly:
numbers that are no numbers, halves of surrogate pairs, messages nested too deep, batches and
replies to questions that nobody asked are refused. What a message means is not decided here.
"""

from __future__ import annotations

import json
import math
from typing import NoReturn, cast

from pydantic import JsonValue

from agentlab.types import JsonObject

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
TOO_MANY = -32010
"""Ours, of those that JSON-RPC leaves to servers: a rate or a count is used up."""

LONGEST_ID = 200
LONGEST_METHOD = 200
LARGEST = 2**53
"""Whole numbers up to here are the same in every language's JSON."""

MessageId = str | int | None


class RefusedMessageError(Exception):
    """Bytes that are no message; carries what the sender is told."""

    def __init__(self, code: int, text: str, message_id: MessageId = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.message_id = message_id

    @property
    def answer(self) -> bytes:
        """The error as the protocol spells it."""
        return error_line(self.code, self.text, self.message_id)


def error_line(code: int, text: str, message_id: MessageId = None) -> bytes:
    """An error response, without a line break."""
    body = {"jsonrpc": "2.0", "id": message_id, "error": {"code": code, "message": text}}
    return json.dumps(body).encode()


def read_message(data: bytes, *, most: int, depth: int) -> JsonObject:
    """The request or notification that the bytes are.

    Args:
        data: one message.
        most: bytes that it may have.
        depth: levels of nesting that it may have.

    Raises:
        RefusedMessageError: it is none; holds its id, where that can be read.
    """
    if len(data) > most:
        raise RefusedMessageError(INVALID_REQUEST, f"A message may have {most:,} bytes at most.")
    message = _decoded(data, depth)
    if isinstance(message, list):
        raise RefusedMessageError(
            INVALID_REQUEST, "Batches are not part of this protocol; send one message at a time."
        )
    if not isinstance(message, dict):
        raise RefusedMessageError(INVALID_REQUEST, "A message is a JSON object.")
    message_id = _id_of(message)
    fault = _fault(message)
    if fault is not None:
        raise RefusedMessageError(INVALID_REQUEST, fault, message_id)
    return message


def _decoded(data: bytes, depth: int) -> JsonValue:
    if _nesting(data, depth):
        raise RefusedMessageError(PARSE_ERROR, f"It is nested more than {depth} levels deep.")
    try:
        message = cast("JsonValue", _DECODER.decode(data.decode("utf-8")))
        if b"\\u" in data:
            # Half a surrogate pair can be spelt in JSON and is no text.
            json.dumps(message, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise RefusedMessageError(PARSE_ERROR, "It is no JSON.") from None
    return message


def _nesting(data: bytes, depth: int) -> bool:
    """Whether brackets are open more than so many levels deep, those in texts apart.

    Told before anything is parsed, so that the depth of the parser's own stack decides nothing.
    """
    if data.count(b"[") + data.count(b"{") <= depth:
        return False
    level, quoted, escaped = 0, False, False
    for byte in data:
        if quoted:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                quoted = False
        elif byte == 0x22:
            quoted = True
        elif byte in b"[{":
            level += 1
            if level > depth:
                return True
        elif byte in b"]}":
            level -= 1
    return False


def _id_of(message: JsonObject) -> MessageId:
    """The id of a request; None for a notification.

    Raises:
        RefusedMessageError: it has one that is none.
    """
    if "id" not in message:
        return None
    found = message["id"]
    if isinstance(found, str) and len(found) <= LONGEST_ID:
        return found
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) <= LARGEST:
        return found
    raise RefusedMessageError(INVALID_REQUEST, "An id is a short text or a whole number.")


def _fault(message: JsonObject) -> str | None:
    """Why an object is no request and no notification."""
    if message.get("jsonrpc") != "2.0":
        return "'jsonrpc' must be '2.0'."
    if "method" not in message:
        return "It has no 'method'; this server asks nothing, so nothing can be a reply."
    method = message["method"]
    if not isinstance(method, str) or not 0 < len(method) <= LONGEST_METHOD:
        return f"'method' must be a text of up to {LONGEST_METHOD} characters."
    if "result" in message or "error" in message:
        return "A request has neither 'result' nor 'error'."
    if not isinstance(message.get("params", {}), dict):
        return "'params' must be an object."
    return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text[:20])
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
