"""The one way out of a page: a forward proxy on loopback that refuses what is not on the list.

Chromium is started so that everything goes through a proxy, loopback included, and each attempt
has a proxy of its own; redirects, sockets, workers and whatever else a page may think of end
here. Names are resolved here alone, and once: the address that was looked at is the one that is
connected to. A name may stand for a server of this process (`aliases`), so that observations do
not tell which port it has. What passes is not looked into, only counted.

While somebody only looks around, nothing passes that may change something: no request but such as
read, and no socket. What goes through a tunnel of TLS cannot be seen here, and passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from agentlab.environments.web.origins import (
    AllowList,
    Origin,
    is_inside,
    is_own_name,
    origin_of,
)

MOST_HEAD = 64 * 1024
CONNECT_SECONDS = 10.0
IDLE_SECONDS = 120.0
CHUNK = 64 * 1024
MOST_DIGITS = 16
HOP = frozenset(
    {"connection", "proxy-connection", "keep-alive", "proxy-authorization", "proxy-authenticate"}
)
"""Headers for the next machine alone; an `Upgrade` comes through a tunnel, never here."""
READS = ("GET", "HEAD", "OPTIONS")
"""Methods that ask for no change (RFC 9110, section 9.2.1)."""
REFUSED = "403 Refused"
MARK = "x-agentlab-proxy"
"""The header of answers that are the proxy's own."""


class Refusal(NamedTuple):
    """Something that a page wanted and did not get."""

    where: str
    host: str
    why: str


class _Target(NamedTuple):
    host: str
    port: int
    own: bool
    """Whether it may lie on this machine."""


class _Count:
    """Bytes of the answer that is coming; in a tunnel, since something was last asked there.

    What passes a tunnel is not read, but the browser speaks HTTP/1.1 (see `chromium.ARGUMENTS`):
    what it sends begins another request, of which the answer is another one too.
    """

    def __init__(self) -> None:
        self.came = 0

    def begin(self) -> None:
        """Begin at nothing again."""
        self.came = 0


class Proxy:
    """A proxy for one attempt. Lives in the loop in which it was opened.

    Args:
        allowed: where one may go.
        aliases: origin to the loopback port behind it.
        most_bytes: of one answer; what is longer is cut off, and told.
        tell: is called for everything that was refused or cut off.
        stopped: where nothing may be changed, is called with the method and the address of what
            was refused for that.
    """

    def __init__(
        self,
        allowed: AllowList,
        *,
        aliases: Mapping[str, int] | None = None,
        most_bytes: int,
        tell: Callable[[Refusal], None],
        stopped: Callable[[str, str], None] | None = None,
    ) -> None:
        self._allowed = allowed
        self._stopped = stopped
        self._aliases = {
            origin: port
            for name, port in (aliases or {}).items()
            if (origin := origin_of(name)) is not None
        }
        self._most = most_bytes
        self._tell = tell
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def address(self) -> str:
        """What the browser is told."""
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Begin to listen, on a port that the system chooses."""
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", 0, limit=MOST_HEAD, backlog=256
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut what is open. Safe to call twice."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=2)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            more = True
            while more:
                async with asyncio.timeout(IDLE_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                line, _, rest = head.partition(b"\r\n")
                words = line.decode("latin-1").split(" ")
                more = False
                if len(words) != 3:
                    await _answer(writer, "400 Bad Request", "That is no request.")
                elif words[0] == "CONNECT":
                    await self._tunnel(words[1], reader, writer)
                else:
                    more = await self._forward(words, rest, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # whoever hangs up early, on either side, gets no more
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _tunnel(
        self, where: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = where.rpartition(":")
        host = host.strip("[]")
        if not port.isdecimal() or not self._allowed.allows_tunnel(host, int(port)):
            await self._refuse(writer, f"{where[:200]} (a secure or socket connection)", host)
            return
        if self._stopped is not None and not self._allowed.allows(origin_of(f"https://{where}")):
            # Where nothing but plain pages is served, only a socket asks for a tunnel.
            await self._stop(writer, "WebSocket", f"ws://{where}/")
            return
        known = (Origin(scheme, host, int(port)) for scheme in ("http", "https"))
        alias = next((self._aliases[each] for each in known if each in self._aliases), None)
        target = (
            _Target("127.0.0.1", alias, own=True)
            if alias is not None
            else _Target(host, int(port), own=is_own_name(host))
        )
        there = await self._connected(target, writer)
        if there is None:
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self._relay(reader, writer, there, host)

    async def _forward(
        self,
        words: list[str],
        rest: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Carry out one request; whether another may follow it, to be looked at like the first."""
        method, url, _ = words
        origin = origin_of(url)
        if not self._allowed.allows(origin) or origin is None or origin.scheme != "http":
            await self._refuse(writer, url.partition("?")[0][:200], origin.host if origin else "")
            return False
        if self._stopped is not None and (method not in READS or _upgrades(rest)):
            await self._stop(writer, method, url)
            return False
        alias = self._aliases.get(origin)
        target = (
            _Target("127.0.0.1", alias, own=True)
            if alias is not None
            else _Target(origin.host, origin.port, own=is_own_name(origin.host))
        )
        there = await self._connected(target, writer)
        if there is None:
            return False
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        upstream_reader, upstream = there
        upstream.write(
            f"{method} {path} HTTP/1.1\r\n".encode("latin-1")
            + _without_hops(rest)
            + b"Connection: close\r\n\r\n"
        )
        sent = _length(rest, otherwise=0)
        up = asyncio.ensure_future(_pump(reader, upstream, sent))
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                head = await _final_head(upstream_reader)
            line, _, rest = head.partition(b"\r\n")
            empty = method == "HEAD" or line.split(b" ", 2)[1:2] in ([b"204"], [b"304"])
            size = 0 if empty else _length(rest, otherwise=None)
            # Only where both lengths are told is it known where the next request begins.
            more = sent is not None and size is not None
            kept = b"keep-alive" if more else b"close"
            writer.write(
                line + b"\r\n" + _without_hops(rest) + b"Connection: " + kept + b"\r\n\r\n"
            )
            came = await self._down(upstream_reader, writer, str(origin), origin.host, size)
            return more and came == size and up.done() and up.exception() is None
        finally:
            await _ended(up, upstream)

    async def _connected(
        self, target: _Target, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                address = await self._resolved(target)
                if address is None:
                    await self._refuse(
                        writer, target.host, target.host, "its name leads to this machine"
                    )
                    return None
                return await asyncio.open_connection(address, target.port, limit=MOST_HEAD)
        except (OSError, TimeoutError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else "no connection"
            await _answer(writer, "502 Bad Gateway", f"{target.host}: {why}.")
            return None

    async def _resolved(self, target: _Target) -> str | None:
        """The address to connect to; None where a foreign name leads to this machine."""
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(target.host))
        if target.own:
            return "127.0.0.1"
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port)
        addresses = [str(each[4][0]) for each in found]
        if not addresses or any(map(is_inside, addresses)):
            return None
        return addresses[0]

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        host: str,
    ) -> None:
        upstream_reader, upstream = there
        count = _Count()
        up = asyncio.ensure_future(_pump(reader, upstream, sending=count.begin))
        try:
            await self._down(upstream_reader, writer, host, host, count=count)
        finally:
            await _ended(up, upstream)

    async def _down(
        self,
        upstream: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        where: str,
        host: str,
        size: int | None = None,
        count: _Count | None = None,
    ) -> int:
        """Pass on what the server sends, up to its length or to the limit; how much came."""
        came, count = 0, count or _Count()
        while size is None or came < size:
            data = await upstream.read(CHUNK if size is None else min(CHUNK, size - came))
            if not data:
                break
            came += len(data)
            count.came += len(data)
            if count.came > self._most:
                why = f"it sent more than {self._most:,} bytes and was cut off"
                self._tell(Refusal(where, host, why))
                writer.transport.abort()
                break
            writer.write(data)
            await writer.drain()
        return came

    async def _stop(self, writer: asyncio.StreamWriter, method: str, url: str) -> None:
        """Refuse what may change something."""
        assert self._stopped is not None
        self._stopped(method, url)
        await _answer(writer, REFUSED, "Refused: nothing is changed while looking around.")

    async def _refuse(
        self, writer: asyncio.StreamWriter, shown: str, host: str, why: str = ""
    ) -> None:
        why = why or f"it is not on the list of origins allowed here ({self._allowed})"
        self._tell(Refusal(shown, host.lower(), why))
        await _answer(writer, REFUSED, f"Refused: {why}.")


async def _final_head(reader: asyncio.StreamReader) -> bytes:
    """The head of the answer itself; those that announce it (1xx) are dropped."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if not status or not status[0].startswith(b"1"):
            return head


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    size: int | None = None,
    *,
    sending: Callable[[], None] | None = None,
) -> None:
    """Pass on so many bytes; without a number, all until the end, and the end."""
    left = size
    with contextlib.suppress(OSError):
        while left is None or left > 0:
            data = await reader.read(CHUNK if left is None else min(CHUNK, left))
            if not data:
                break
            left = None if left is None else left - len(data)
            if sending is not None:
                sending()
            writer.write(data)
            await writer.drain()
        if size is None and writer.can_write_eof():
            writer.write_eof()


def _length(headers: bytes, *, otherwise: int | None) -> int | None:
    """How long a body is, by its header; None where it is told in another way, or in two."""
    told: list[bytes] = []
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        match name.strip().lower():
            case b"transfer-encoding":
                return None
            case b"content-length":
                told.append(value.strip())
            case _:
                pass
    if not told:
        return otherwise
    plain = len(told) == 1 and told[0].isdigit() and len(told[0]) < MOST_DIGITS
    return int(told[0]) if plain else None


def _upgrades(headers: bytes) -> bool:
    """Whether a request asks to go on in another way than HTTP's."""
    return any(line.partition(b":")[0].lower() == b"upgrade" for line in headers.split(b"\r\n"))


async def _ended(pump: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
    pump.cancel()
    await asyncio.wait((pump,), timeout=1)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _without_hops(headers: bytes) -> bytes:
    """Header lines without those that concern one connection, and without the last blank line."""
    kept = [
        line
        for line in headers.split(b"\r\n")
        if line and line.partition(b":")[0].decode("latin-1").strip().lower() not in HOP
    ]
    return b"".join(line + b"\r\n" for line in kept)


async def _answer(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n{MARK}: {status[:3]}\r\nConnection: close\r\n\r\n"
    )
    with contextlib.suppress(OSError):
        writer.write(head.encode() + body)
        await writer.drain()
