"""The proxy alone, without a browser: what it passes on, refuses and cuts off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agentlab.environments.web.origins import AllowList
from agentlab.environments.web.proxy import Proxy, Refusal

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _answering(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes = b"hello"
) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: keep-alive\r\n"
        b"X-Head: " + head.partition(b"\r\n")[0] + b"\r\n\r\n" + body
    )
    await writer.drain()
    writer.close()


class Between:
    """A server, a proxy before it, and what the proxy told."""

    def __init__(
        self, handler: Handler = _answering, most_bytes: int = 10_000, *, looks: bool = False
    ) -> None:
        self._handler = handler
        self._most = most_bytes
        self._looks = looks
        self.stopped: list[tuple[str, str]] = []
        self.told: list[Refusal] = []

    def _stop(self, method: str, url: str) -> None:
        self.stopped.append((method, url))

    async def __aenter__(self) -> Between:
        self._server = await asyncio.start_server(self._handler, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.proxy = Proxy(
            AllowList(
                [f"http://127.0.0.1:{self.port}", "http://shop.localhost", "https://own.localhost"]
            ),
            aliases={"http://shop.localhost": self.port, "https://own.localhost": self.port},
            most_bytes=self._most,
            tell=self.told.append,
            stopped=self._stop if self._looks else None,
        )
        await self.proxy.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.close()
        self._server.close()

    async def say(self, request: str) -> bytes:
        """What comes back for some bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        writer.write(request.encode())
        try:
            return await asyncio.wait_for(reader.read(), 10)
        except ConnectionError:
            return b""
        finally:
            writer.close()


def test_what_is_allowed_passes_by_its_own_name_and_one_answer_at_a_time() -> None:
    async def passed() -> None:
        async with Between() as between:
            answer = await between.say(
                f"GET http://127.0.0.1:{between.port}/a?b=c HTTP/1.1\r\nHost: x\r\n"
                "Proxy-Connection: keep-alive\r\n\r\n"
            )
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"X-Head: GET /a?b=c HTTP/1.1\r\n" in answer
            assert b"keep-alive" not in answer and b"Connection: close\r\n" in answer
            assert answer.endswith(b"\r\n\r\nhello")
            answer = await between.say("GET http://shop.localhost/ HTTP/1.1\r\n\r\n")
            assert answer.endswith(b"hello")
            assert between.told == []

    asyncio.run(passed())


@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://127.0.0.1:1/ HTTP/1.1",
        "GET http://evil.example/ HTTP/1.1",
        "GET https://evil.example/ HTTP/1.1",
        "GET ftp://evil.example/ HTTP/1.1",
        "GET / HTTP/1.1",
        "POST http://127.0.0.1:PORT@evil.example/ HTTP/1.1",
        "CONNECT evil.example:443 HTTP/1.1",
        "CONNECT 127.0.0.1:22 HTTP/1.1",
        "CONNECT 127.1:PORT HTTP/1.1",
        "CONNECT nonsense HTTP/1.1",
    ],
)
def test_the_rest_is_refused_and_told(request_line: str) -> None:
    async def refused() -> None:
        async with Between() as between:
            line = request_line.replace("PORT", str(between.port))
            answer = await between.say(f"{line}\r\nHost: 127.0.0.1:{between.port}\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 403 "), answer
            assert len(between.told) == 1

    asyncio.run(refused())


def test_a_tunnel_to_what_is_allowed_carries_bytes() -> None:
    async def carried() -> None:
        async with Between() as between:
            answer = await between.say(
                f"CONNECT 127.0.0.1:{between.port} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"
            )
            assert answer.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 100")
            assert answer.endswith(b"hello")

    asyncio.run(carried())


def test_a_long_answer_is_cut_off_and_told() -> None:
    async def long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answering(reader, writer, b"x" * 200_000)

    async def cut() -> None:
        async with Between(long) as between:
            answer = await between.say(f"GET http://127.0.0.1:{between.port}/ HTTP/1.1\r\n\r\n")
            assert len(answer) < 100_000
            assert "more than 10,000 bytes" in between.told[0].why

    asyncio.run(cut())


def test_a_foreign_name_never_leads_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async def led() -> None:
        proxy_told: list[Refusal] = []
        proxy = Proxy(
            AllowList(["http://rebound.example"]), most_bytes=1_000, tell=proxy_told.append
        )
        await proxy.open()

        async def inside(*_: object, **__: object) -> list[object]:
            return [(0, 0, 0, "", ("127.0.0.1", 80))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", inside)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"GET http://rebound.example/ HTTP/1.1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
        writer.close()
        assert "leads to this machine" in proxy_told[0].why
        await proxy.close()

    asyncio.run(led())


def test_nonsense_ends_the_connection_alone() -> None:
    async def ended() -> None:
        async with Between() as between:
            assert (await between.say("what is this\r\n\r\n")).startswith(b"HTTP/1.1 4")
            answer = await between.say("GET http://shop.localhost/ HTTP/1.1\r\n\r\n")
            assert answer.endswith(b"hello")

    asyncio.run(ended())


async def _telling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with a body of a told length: the request line, and what came behind the head."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    size = next((int(x.split(":")[1]) for x in head.splitlines() if "Length" in x), 0)
    body = (head.split("\r\n")[0] + "|").encode() + await reader.readexactly(size)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


async def _whole(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    size = next(int(x.split(b":")[1]) for x in head.splitlines() if b"Length" in x)
    return head, await reader.readexactly(size)


def test_each_request_of_a_connection_is_looked_at() -> None:
    async def asked() -> None:
        async with Between(_telling) as between:
            reader, writer = await asyncio.open_connection("127.0.0.1", between.proxy.port)
            # Two at once: the second begins where the first's body ends, wherever that lies.
            writer.write(
                b"POST http://shop.localhost/a HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET "
                b"GET http://shop.localhost/b HTTP/1.1\r\n\r\n"
            )
            head, body = await _whole(reader)
            assert b"Connection: keep-alive\r\n" in head and body == b"POST /a HTTP/1.1|GET "
            assert (await _whole(reader))[1] == b"GET /b HTTP/1.1|"
            writer.write(b"GET http://evil.example/ HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
            assert [each.host for each in between.told] == ["evil.example"]
            writer.close()

    asyncio.run(asked())


@pytest.mark.parametrize(
    "lengths",
    [
        "Transfer-Encoding: chunked",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: -4",
        "Content-Length: 4, 4",
        f"Content-Length: {'9' * 5000}",
    ],
)
def test_where_a_request_ends_is_never_guessed(lengths: str) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async def asked() -> None:
        async with Between(plain) as between:
            answer = await between.say(
                f"POST http://shop.localhost/ HTTP/1.1\r\n{lengths}\r\n\r\nabcd"
                "GET http://shop.localhost/next HTTP/1.1\r\n\r\n"
            )
            assert b"Connection: close\r\n" in answer
            assert answer.count(b"HTTP/1.1 200 OK") == 1

    asyncio.run(asked())


def test_an_answer_that_is_shorter_than_it_says_ends_the_connection() -> None:
    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nshort")
        writer.close()

    async def asked() -> None:
        async with Between(short) as between:
            answer = await between.say("GET http://shop.localhost/ HTTP/1.1\r\n\r\n" * 2)
            assert answer.count(b"HTTP/1.1 200 OK") == 1 and answer.endswith(b"short")

    asyncio.run(asked())


def test_the_limit_of_a_tunnel_is_of_each_answer_and_not_of_all() -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for size in (8_000, 8_000, 200_000):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            await writer.drain()
        writer.close()

    async def asked() -> None:
        async with Between(answers) as between:
            reader, writer = await asyncio.open_connection("127.0.0.1", between.proxy.port)
            writer.write(f"CONNECT 127.0.0.1:{between.port} HTTP/1.1\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(2):
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                assert len((await _whole(reader))[1]) == 8_000
            assert between.told == []
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await _whole(reader)
            assert "more than 10,000 bytes" in between.told[0].why
            writer.close()

    asyncio.run(asked())


def test_while_somebody_only_looks_nothing_passes_that_may_change_something() -> None:
    async def passed() -> None:
        async with Between(looks=True) as between:
            shop = "http://shop.localhost/buy"
            for method in ("GET", "OPTIONS"):
                assert b" 200 OK" in await between.say(f"{method} {shop} HTTP/1.1\r\n\r\n")
            refused = [("POST", ""), ("DELETE", ""), ("post", ""), ("X", "")]
            for method, more in (*refused, ("GET", "Upgrade: websocket\r\n")):
                said = f"{method} {shop} HTTP/1.1\r\n{more}\r\n"
                assert (await between.say(said)).startswith(b"HTTP/1.1 403 Refused")
            tunnel = "CONNECT shop.localhost:80 HTTP/1.1\r\n\r\n"
            assert (await between.say(tunnel)).startswith(b"HTTP/1.1 403 Refused")
            assert between.stopped == [
                *((method, shop) for method, _ in refused),
                ("GET", shop),
                ("WebSocket", "ws://shop.localhost:80/"),
            ]
            # What a tunnel of TLS carries is not to be seen, so it is not refused.
            secure = "CONNECT own.localhost:443 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"
            assert b"200 Connection established" in await between.say(secure)
            assert between.told == []
        async with Between() as between:
            assert b" 200 OK" in await between.say("POST http://shop.localhost/ HTTP/1.1\r\n\r\n")

    asyncio.run(passed())
