"""What stands before the protocol over HTTP: who asks, from where, how much and how often.

Every request passes here first, in this order: the address that it was sent to and the page that
sent it (a page in a browser must not reach a server on its user's machine by a name of its own,
"DNS rebinding"), its token, its rate, how many are under way, its size, and whether its body is a
message. Only then is the caller's own application asked. Tokens are neither kept nor logged.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.rates import Allowance
from agentlab.serve.mcp.tokens import Principal, Tokens
from agentlab.serve.mcp.wire import (
    INVALID_REQUEST,
    TOO_MANY,
    RefusedMessageError,
    error_line,
    read_message,
)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PATH = "/mcp"
METHODS = ("POST", "GET", "DELETE")
UNAUTHORIZED = -32011
FORBIDDEN = -32012
STRANGERS = 10
"""Requests without a known token that are answered at once."""
DRAINED = 4
"""Times a message's size that is read before a body is refused as too large."""
CLOSE = (b"connection", b"close")
POLICY_VIOLATION = 1008
"""Of WebSockets, RFC 6455 7.4.1."""
BODY_SECONDS = 15.0
"""That the body of a request may take to arrive."""


class Refusal(NamedTuple):
    """Why a request goes no further."""

    status: int
    code: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _Guest:
    """What is counted of one token."""

    def __init__(self, limits: ServeLimits) -> None:
        self.allowance = Allowance(limits.rate, limits.burst)
        self.under_way = 0


class Guard:
    """An ASGI application before those of the callers.

    Args:
        tokens: that open it.
        applications: by the principal's name.
        hosts: what the `Host` header may say, port included.
        limits: of size, rate and count.
    """

    def __init__(
        self,
        tokens: Tokens,
        applications: Mapping[str, Application],
        *,
        hosts: frozenset[str],
        limits: ServeLimits,
    ) -> None:
        self._tokens = tokens
        self._applications = applications
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(f"{s}://{h}" for s in ("http", "https") for h in self._hosts)
        self._limits = limits
        self._guests = {each.name: _Guest(limits) for each in tokens.principals}
        self._strangers = Allowance(limits.refusals, STRANGERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await _refuse_other(scope, send)
        headers = _headers(scope)
        if (refusal := self._misplaced(scope, headers)) is not None:
            return await _refuse(send, refusal, leave=True)
        principal = self._principal(headers)
        if principal is None:
            return await _refuse(send, self._stranger(), leave=True)
        guest = self._guests[principal.name]
        if (wait := guest.allowance.take()) > 0:
            return await _refuse(send, _too_many("Too many requests; slow down.", wait))
        if guest.under_way >= self._limits.at_once:
            return await _refuse(send, _too_many("Too many requests are under way.", 1.0))
        guest.under_way += 1
        try:
            await self._let_in(principal, scope, receive, send)
        finally:
            guest.under_way -= 1

    async def _let_in(
        self, principal: Principal, scope: Scope, receive: Receive, send: Send
    ) -> None:
        replay = receive
        if scope["method"] == "POST":
            try:
                body = await _body(receive, self._limits.message_bytes)
            except RefusedMessageError as error:
                return await _refuse(send, Refusal(413, error.code, error.text))
            except TimeoutError:
                refusal = Refusal(408, INVALID_REQUEST, "The body did not arrive in time.")
                return await _refuse(send, refusal)
            if body is None:  # the client has gone
                return
            try:
                read_message(body, most=self._limits.message_bytes, depth=self._limits.depth)
            except RefusedMessageError as error:
                return await _answer(send, 400, error.answer)
            replay = _replayed(body, receive)
        known = AccessToken(token="", client_id=principal.name, scopes=[])
        inner: Scope = {**scope, "user": AuthenticatedUser(known)}
        # What is behind this needs no token, and so can leak none.
        inner["headers"] = [(k, v) for k, v in scope["headers"] if k != b"authorization"]
        await self._applications[principal.name](inner, replay, send)

    def _misplaced(self, scope: Scope, headers: Mapping[str, list[str]]) -> Refusal | None:
        hosts = headers.get("host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return Refusal(421, FORBIDDEN, "This server does not go by that name.")
        if any(origin.lower() not in self._origins for origin in headers.get("origin", [])):
            return Refusal(403, FORBIDDEN, "Pages of that origin may not ask here.")
        if scope["path"] != PATH:
            return Refusal(404, INVALID_REQUEST, f"There is nothing here; ask {PATH}.")
        if scope["method"] not in METHODS:
            allow = ", ".join(METHODS).encode()
            return Refusal(405, INVALID_REQUEST, "Ask with POST.", ((b"allow", allow),))
        return None

    def _principal(self, headers: Mapping[str, list[str]]) -> Principal | None:
        given = headers.get("authorization", [])
        if len(given) != 1:
            return None
        kind, _, token = given[0].partition(" ")
        return self._tokens.whose(token.strip()) if kind.lower() == "bearer" else None

    def _stranger(self) -> Refusal:
        if (wait := self._strangers.take()) > 0:
            return _too_many("Too many requests without a token that is known.", wait)
        return Refusal(
            401,
            UNAUTHORIZED,
            "A bearer token is needed, and this is none that is known.",
            ((b"www-authenticate", b'Bearer error="invalid_token"'),),
        )


async def _refuse_other(scope: Scope, send: Send) -> None:
    """Close what is no request over HTTP, such as a WebSocket: nothing here speaks it."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _too_many(text: str, wait: float) -> Refusal:
    return Refusal(429, TOO_MANY, text, ((b"retry-after", str(math.ceil(wait)).encode()),))


async def _body(receive: Receive, most: int) -> bytes | None:
    """The body of a request; None where the client went before it was all there.

    Raises:
        RefusedMessageError: it is too large; of the rest only so much is read, and dropped, as
            lets most clients get to the answer.
        TimeoutError: it took too long.
    """
    parts = bytearray()
    seen = 0
    async with asyncio.timeout(BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            part = message.get("body", b"")
            seen += len(part)
            if seen <= most:
                parts += part
            if message.get("more_body", False) and seen <= DRAINED * most:
                continue
            if seen > most:
                raise RefusedMessageError(
                    INVALID_REQUEST, f"A message may have {most:,} bytes at most."
                )
            return bytes(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(send: Send, refusal: Refusal, *, leave: bool = False) -> None:
    """Say why; who has shown no token keeps no connection, either."""
    leave = leave or refusal.status in (408, 413)
    headers = (*refusal.headers, CLOSE) if leave else refusal.headers
    await _answer(send, refusal.status, error_line(refusal.code, refusal.text), headers)


async def _answer(
    send: Send, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    length = str(len(body)).encode()
    about = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": about})
    await send({"type": "http.response.body", "body": body})
