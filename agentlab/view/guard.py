"""Who may ask, and what a browser may do with the answer.

The server binds this machine alone, yet every page that is open in a browser here can send it
requests, and a name on the internet can be made to mean 127.0.0.1. So a request needs our own
address as its Host, and a cookie that only the printed link brings; what changes something must
also come from a page of ours. Answers forbid inline script, framing, guessing of types, referrers
and every other origin.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
KEPT = b"no-store"
POLICY_VIOLATION = 1008
"""Of WebSockets, RFC 6455 7.4.1."""
SAFE_METHODS = frozenset({"GET", "HEAD"})
REFUSED = (
    "This page belongs to whoever started `agentlab view`. Open the whole link that it printed: "
    "the token in it is new with each start."
)


class Keys:
    """What opens the page: a random token, made when the server starts and written nowhere."""

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        self.cookie = f"agentlab-view-{port}"
        """Cookies are shared between the ports of a host, so each server has a name of its own."""
        self.hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})

    @property
    def form(self) -> str:
        """What a form of ours carries; it does not tell the token."""
        return hmac.new(self.token.encode(), b"form", "sha256").hexdigest()

    def fits(self, given: str) -> bool:
        """Whether it is the token."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def fits_form(self, given: str) -> bool:
        """Whether a form of ours sent it."""
        return hmac.compare_digest(given.encode(), self.form.encode())


class Guard:
    """Goes around the application: asks who comes, and says what a browser may do."""

    def __init__(self, app: Application, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, send it on to where its token is not in the address, or refuse."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            elif scope["type"] == "websocket":  # no page of ours opens one
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        headers = {key.lower(): value for key, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1")
        guarded = _with_headers(send)
        if host not in self._keys.hosts:
            await _answer(guarded, 421, "This server answers to its own address alone.")
            return
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = next((value for key, value in query if key == "token"), None)
        if given is not None and scope["method"] in SAFE_METHODS and self._keys.fits(given):
            await self._admit(guarded, scope, [pair for pair in query if pair[0] != "token"])
            return
        if not self._keys.fits(_cookie(headers, self._keys.cookie)):
            await _answer(guarded, 403, REFUSED)
            return
        if scope["method"] not in SAFE_METHODS and not _from_here(headers, host):
            await _answer(guarded, 403, "A change is made from a page of this server alone.")
            return
        await self._app(scope, receive, guarded)

    async def _admit(self, send: Send, scope: Scope, query: list[tuple[str, str]]) -> None:
        """Give the cookie, and have the browser ask for the same page without the token.

        A page of ours does the asking, and not a redirect: where the link was followed from
        another site, such as an editor's terminal, a redirect would be that site's request still,
        and would not carry a strict cookie.
        """
        path = "/" + quote(scope["path"].lstrip("/"))
        to = escape(f"{path}?{urlencode(query)}" if query else path)
        cookie = f"{self._keys.cookie}={self._keys.token}; Path=/; HttpOnly; SameSite=Strict"
        body = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>agentlab</title>'
            '<link rel="icon" href="/static/icon.svg">'
            f'<meta http-equiv="refresh" content="0; url={to}">'
            f'<p><a href="{to}">Open the page</a></p></html>'
        )
        kind = b"text/html; charset=utf-8"
        await _answer(send, 200, body, (b"set-cookie", cookie.encode()), kind=kind)


def _from_here(headers: dict[bytes, bytes], host: str) -> bool:
    """Whether a page of ours asks.

    Browsers say `null` for the origin of a form where no referrer is to be told, so what fetch
    metadata says is asked then; a browser always sends that to this machine.
    """
    origin = headers.get(b"origin", b"null").decode("latin-1")
    site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
    if origin != "null":
        return origin == f"http://{host}" and site in ("", "same-origin")
    return site == "same-origin"


def _cookie(headers: dict[bytes, bytes], name: str) -> str:
    for part in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [*message.get("headers", []), *HEADERS]
            if not any(key.lower() == b"cache-control" for key, _ in kept):
                kept.append((b"cache-control", KEPT))
            message = {**message, "headers": kept}
        await send(message)

    return guarded


async def _answer(
    send: Send,
    status: int,
    text: str,
    *headers: tuple[bytes, bytes],
    kind: bytes = b"text/plain; charset=utf-8",
) -> None:
    body = text.encode()
    start = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
