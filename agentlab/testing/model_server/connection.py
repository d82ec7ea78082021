"""HTTP/1.1 as far as a test server needs it, over asyncio's streams: keep-alive, chunks, cuts.

A framework would hide the very thing that is wanted here: to close a connection in the middle of
a body, or never to answer. Only what clients of chat endpoints send is understood; anything else
is refused with a status and the connection is closed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple

from agentlab.types import JsonObject

MAX_BODY = 64 * 1024 * 1024
MAX_HEADERS = 64 * 1024


class HttpError(Exception):
    """Raised for bytes that are no request this server understands."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HttpRequest(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to go on over this connection."""
        return self.headers.get("connection", "").lower() != "close"


@dataclass(frozen=True)
class Whole:
    """An answer with a body of known length."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: bool = False
    """Close the connection after half of the body."""


@dataclass(frozen=True)
class Events:
    """An answer of server-sent events, one for each element, in chunks."""

    events: tuple[bytes, ...]
    cut: bool = False
    """Close the connection in the middle of the event in the middle."""


@dataclass(frozen=True)
class Silence:
    """No answer: the connection is closed after so many seconds, or when the client goes."""

    seconds: float


Answer = Whole | Events | Silence


def json_answer(body: JsonObject, status: int = 200, **headers: str) -> Whole:
    """An answer whose body is JSON; `_` in a header's name stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Whole(json.dumps(body).encode(), status, named)


async def read_request(reader: asyncio.StreamReader) -> HttpRequest | None:
    """The next request, or None where the client has closed the connection.

    Raises:
        HttpError: it is not understood, or too large.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except asyncio.LimitOverrunError:
        raise HttpError(431, "The headers are too long.") from None
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise HttpError(400, "The request line is not HTTP/1.1.")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    if "chunked" in headers.get("transfer-encoding", "").lower():
        raise HttpError(411, "Send a Content-Length; chunked requests are not read here.")
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise HttpError(400, "The Content-Length is no number.")
    if int(length) > MAX_BODY:
        raise HttpError(413, f"A body has at most {MAX_BODY} bytes.")
    try:
        body = await reader.readexactly(int(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return HttpRequest(words[0], words[1].partition("?")[0], headers, body)


async def write_answer(
    answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Send an answer; False when the connection is to be closed after it."""
    if isinstance(answer, Silence):
        # Whatever comes meanwhile is the client's end: none of ours sends ahead of an answer.
        try:
            await asyncio.wait_for(reader.read(1), answer.seconds)
        except TimeoutError:
            pass
        return False
    if isinstance(answer, Whole):
        body = answer.body[: len(answer.body) // 2] if answer.cut else answer.body
        headers = {"Content-Type": "application/json", **answer.headers}
        headers["Content-Length"] = str(len(answer.body))
        writer.write(_head(answer.status, headers) + body)
        await writer.drain()
        return not answer.cut
    events = answer.events
    if answer.cut:
        middle = len(events) // 2
        events = (*events[:middle], events[middle][: len(events[middle]) // 2])
    headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
    writer.write(_head(200, headers))
    for event in events:
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
    if answer.cut:
        return False
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
