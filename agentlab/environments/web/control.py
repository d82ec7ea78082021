"""What the host itself asks a site: to reset, to let the browser in, to tell its state.

These requests never pass the page, so a page cannot make them and does not see the token. The
state is JSON of an object; whatever else comes back is a fault of the site and is told as one.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import math
import os
import re
import ssl
import time
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple, NoReturn, cast
from urllib.parse import quote, urlsplit

from agentlab.environments.web.options import Options
from agentlab.environments.web.origins import joined, origin_of
from agentlab.environments.web.state_reader import StateReader
from agentlab.errors import ConfigError, EnvironmentFaultError
from agentlab.types import JsonObject

SECONDS = 15.0
"""That a site may be silent, and that it may take to send the whole of an answer."""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
MOST_BYTES = 4_000_000


class Answer(NamedTuple):
    """What a site answered."""

    status: int
    body: bytes
    cookies: dict[str, str]


class Control:
    """The host's side of one site.

    Args:
        options: of the site.
        episode: the name of the attempt's world there.

    Raises:
        ConfigError: the variable of the token is not set, or the reader cannot be found.
    """

    def __init__(self, options: Options, episode: str) -> None:
        self._options = options
        self._episode = episode
        self._token = ""
        self._made = False
        if options.token_variable:
            self._token = os.environ.get(options.token_variable, "")
            if not self._token:
                raise ConfigError(
                    f"web: the variable {options.token_variable!r} is to hold the site's control "
                    "token, and is not set."
                )
            # Told here, since what sends headers repeats one that it refuses.
            if not self._token.isascii() or not self._token.isprintable():
                raise ConfigError(
                    f"web: the variable {options.token_variable!r} holds what no header can carry "
                    "(a line's end, a letter beyond ASCII); set it to the token alone."
                )
        if not _HEADER.fullmatch(options.token_header):
            raise ConfigError(f"web: {options.token_header[:80]!r} is no name of a header.")
        for name in options.aliases:
            if origin_of(name) is None:
                raise ConfigError(
                    f"web: the alias {name[:80]!r} is no origin; write one such as "
                    "'http://store.localhost', with the port on loopback that is behind it."
                )
        self._reader = StateReader(options.reader) if options.reader else None

    @property
    def has_state(self) -> bool:
        """Whether the site's own state can be read."""
        return bool(self._options.state_url or self._reader)

    async def reset(self, seed: int, setup: object) -> None:
        """Have the site make the world of this episode anew, where it can."""
        if self._options.reset_url:
            self._made = True
            body = json.dumps({"seed": seed, "setup": setup}).encode()
            await self._ask("POST", self._options.reset_url, body)

    async def drop(self) -> None:
        """Have the site forget the world of this episode; one that is gone already is none."""
        if self._options.drop_url and self._made:
            self._made = False
            # At the end of the process there is no thread left to ask in.
            with contextlib.suppress(EnvironmentFaultError, RuntimeError):
                await self._ask("DELETE", self._options.drop_url)

    async def enter(self) -> dict[str, str]:
        """The cookies by which a browser is in this episode's world."""
        if not self._options.enter_url:
            return {}
        return (await self._ask("GET", self._options.enter_url, moved=True)).cookies

    async def state(self) -> JsonObject:
        """The site's state; empty where it tells none."""
        if self._reader is not None:
            return await asyncio.to_thread(self._reader.read, self._options.url)
        if not self._options.state_url:
            return {}
        answer = await self._ask("GET", self._options.state_url)
        try:
            told = json.loads(answer.body, parse_constant=_refused, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise EnvironmentFaultError("web: the state of the site is no JSON.") from error
        return _object(told, "the state's address")

    @property
    def can_save(self) -> bool:
        """Whether the site can keep this episode's world and give it again."""
        return bool(self._options.save_url and self._options.load_url)

    async def save(self) -> str:
        """A name for the world as it is now."""
        answer = await self._ask("POST", self._options.save_url)
        try:
            name = _object(json.loads(answer.body), "the address that saves").get("saved")
        except (ValueError, RecursionError):
            name = None
        if not isinstance(name, str) or not name:
            raise EnvironmentFaultError('web: the address that saves must answer {"saved": name}.')
        return name

    async def load(self, name: str) -> bool:
        """Make the world what it was when it got that name; whether the site still knows it."""
        body = json.dumps({"saved": name}).encode()
        return (await self._ask("POST", self._options.load_url, body, but=410)).status != 410

    async def _ask(
        self,
        method: str,
        template: str,
        body: bytes | None = None,
        *,
        but: int = 0,
        moved: bool = False,
    ) -> Answer:
        url = joined(self._options.url, template.replace("{episode}", quote(self._episode)))
        try:
            answer = await asyncio.to_thread(self._sent, method, url, body)
        except (OSError, http.client.HTTPException) as error:
            raise EnvironmentFaultError(
                f"web: the site gave no answer to {method} {_bare(url)}: {error}"
            ) from error
        # Whoever is sent elsewhere, to sign in say, has not been given what was asked for.
        if not 200 <= answer.status < (400 if moved else 300) and answer.status != but:
            said = answer.body[:200].decode(errors="replace")
            raise EnvironmentFaultError(
                f"web: the site answered {method} {_bare(url)} with {answer.status}: {said}"
            )
        return answer

    def _sent(self, method: str, url: str, body: bytes | None) -> Answer:
        origin = origin_of(url)
        if origin is None:
            raise EnvironmentFaultError(f"web: {_bare(url)!r} is no address to ask.")
        aliases = {origin_of(name): port for name, port in self._options.aliases.items()}
        host, port = origin.host, origin.port
        if origin in aliases:
            host, port = "127.0.0.1", aliases[origin]
        connection = (
            http.client.HTTPSConnection(host, port, timeout=SECONDS, context=self._secure())
            if origin.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=SECONDS)
        )
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Host": str(origin).partition("://")[2], "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers[self._options.token_header] = self._token
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            data, limit = bytearray(), time.monotonic() + SECONDS
            while part := response.read1(MOST_BYTES):
                data += part
                if len(data) > MOST_BYTES:
                    raise EnvironmentFaultError(
                        f"web: {_bare(url)} sent more than {MOST_BYTES:,} B."
                    )
                if time.monotonic() > limit:
                    raise TimeoutError(f"it was not at its end within {SECONDS:g} s")
            return Answer(
                response.status, bytes(data), _cookies(response.headers.get_all("Set-Cookie"))
            )
        finally:
            connection.close()

    def _secure(self) -> ssl.SSLContext:
        secure = ssl.create_default_context()
        if self._options.own_certificates:
            secure.check_hostname, secure.verify_mode = False, ssl.CERT_NONE
        return secure


def _cookies(headers: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for header in headers or ():
        try:
            parsed = SimpleCookie(header)
        except CookieError:
            continue
        found.update({name: morsel.value for name, morsel in parsed.items()})
    return found


def _bare(url: str) -> str:
    return url.partition("?")[0][:200]


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _refused(number)


def _object(value: object, what: str) -> JsonObject:
    if not isinstance(value, dict):
        raise EnvironmentFaultError(f"web: {what} must give an object of facts.")
    return cast("JsonObject", value)
