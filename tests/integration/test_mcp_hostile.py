"""Malformed and hostile requests get the protocol's errors, and the server lives on."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from agentlab.records import Records, Workspace
from agentlab.serve import connections
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.testing.hostile_messages import Hostile, hostile_messages, request
from tests.integration.mcp_episode import told, words
from tests.integration.mcp_http import ANN, BOB, Place, client, serving
from tests.integration.mcp_library import make_library, slow_skill, walk

OVER_HTTP, OVER_STDIO = 600, 400
FINE = range(200, 500)
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


def headers_for(hostile: Hostile) -> dict[str, str]:
    """The headers that repeat the body, where it says what they need."""
    found = {**HEADERS, "mcp-protocol-version": "2026-07-28"}
    try:
        message: Any = json.loads(hostile.data)
        named = {"mcp-method": message["method"]}
        params = message["params"]
        if "name" in params or "uri" in params:
            named["mcp-name"] = params.get("name", params.get("uri"))
        return found | {
            k: v for k, v in named.items() if v.isascii() and v.isprintable() and v == v.strip()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return found


def judge(hostile: Hostile, answer: Any) -> str:
    """What an answer is; fails where it is none."""
    assert isinstance(answer, dict), (hostile, answer)
    body = cast("dict[str, Any]", answer)
    if "error" in body:
        error = body["error"]
        assert isinstance(error["code"], int), (hostile, body)
        assert error["code"] != -32603, (hostile.kind, hostile.data[:300], error)
        assert len(error["message"]) < 2000
        return "error"
    assert not hostile.must_fail, (hostile.kind, hostile.data[:300], body)
    return "told" if body["result"].get("isError") else "result"


def test_over_http(tmp_path: Path) -> None:
    library = make_library(tmp_path, "courier")
    seen: Counter[str] = Counter()

    async def work() -> None:
        async with serving(library) as place, httpx2.AsyncClient(timeout=30) as http:
            for number, hostile in enumerate(hostile_messages(OVER_HTTP, seed=1)):
                # Half of them as if there were no newest protocol: then there is no session.
                modern = number % 4 != 3
                headers = headers_for(hostile) if modern else HEADERS
                answer = await http.post(
                    place.url,
                    content=hostile.data,
                    headers={**headers, "authorization": f"Bearer {ANN}"},
                )
                assert answer.status_code in FINE, (hostile, answer.text)
                if answer.status_code == 202:
                    assert hostile.notification
                    seen["dropped"] += 1
                    continue
                if not answer.content:  # of the SDK's own, such as 406
                    assert answer.status_code >= 400
                    seen["status"] += 1
                    continue
                if answer.headers["content-type"].startswith("text/event-stream"):
                    # A session was asked for, and given.
                    assert not hostile.must_fail, (hostile, answer.text)
                    seen["stream"] += 1
                    continue
                if answer.headers["content-type"].startswith("application/json"):
                    seen[judge(hostile, answer.json())] += 1
                else:
                    assert answer.status_code >= 400, (hostile, answer.text)
                    seen["status"] += 1
            async with client(place.url) as found:
                assert "at" in {tool.name for tool in (await found.list_tools()).tools}

    asyncio.run(work())
    assert sum(seen.values()) == OVER_HTTP
    assert seen["error"] > OVER_HTTP * 0.6, seen


class Spoken:
    """The command over its pipes, a line at a time."""

    def __init__(self, library: Path) -> None:
        words = ["-m", "agentlab", "mcp", "serve", "--environment", "courier"]
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, *words, "--library", str(library)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root)},
        )  # fmt: skip

    def ask(self, data: bytes) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(data + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(20)


def test_over_stdio(tmp_path: Path) -> None:
    spoken = Spoken(make_library(tmp_path, "courier"))
    seen: Counter[str] = Counter()
    try:
        spoken.ask(json.dumps(request(0, "server/discover")).encode())
        # Without those that may be notifications: each line is then answered by one.
        several = [each for each in hostile_messages(450, seed=2) if not each.notification]
        for hostile in several[:OVER_STDIO]:
            data = hostile.data.replace(b"\n", b" ").replace(b"\r", b" ")
            seen[judge(hostile, spoken.ask(data))] += 1
        huge = b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * (3 << 20) + b'"}'
        assert spoken.ask(huge)["error"]["code"] == -32600
        tools = spoken.ask(json.dumps(request(9, "tools/list")).encode())["result"]["tools"]
        assert "at" in {tool["name"] for tool in tools}
    finally:
        code = spoken.end()
    assert code == 0
    assert sum(seen.values()) == OVER_STDIO
    assert seen["error"] > OVER_STDIO * 0.6, seen


# --- who may ask, and how much --------------------------------------------------------------


async def post(place: Place, **changes: Any) -> httpx2.Response:
    headers = {
        **HEADERS, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list",
        "authorization": f"Bearer {ANN}",
    }  # fmt: skip
    headers |= changes.pop("headers", {})
    body = changes.pop("content", json.dumps(request(1, "tools/list")).encode())
    async with httpx2.AsyncClient(timeout=30) as http:
        return await http.request(
            changes.pop("method", "POST"),
            changes.pop("url", place.url),
            content=body,
            headers={k: v for k, v in headers.items() if v is not None},
        )


def test_only_the_right_may_ask(tmp_path: Path) -> None:
    library = make_library(tmp_path, "courier")

    async def work() -> None:
        async with serving(library) as place:
            assert (await post(place)).status_code == 200
            for token in (None, "Bearer", "Bearer x", f"Basic {ANN}", f"Bearer {ANN}x", ANN):
                answer = await post(place, headers={"authorization": token})
                assert answer.status_code == 401, token
                assert "Bearer" in answer.headers["www-authenticate"]
                assert ANN not in answer.text
            for host in ("evil.example", f"evil.example:{place.port}", "127.0.0.1:1", ""):
                answer = await post(place, headers={"host": host})
                assert answer.status_code in (400, 421), host
            for origin in ("http://evil.example", "null", f"http://127.0.0.1:{place.port}.evil"):
                assert (await post(place, headers={"origin": origin})).status_code == 403, origin
            own = {"origin": f"http://127.0.0.1:{place.port}"}
            assert (await post(place, headers=own)).status_code == 200
            base = place.url.removesuffix("/mcp")
            assert (await post(place, url=f"{base}/")).status_code == 404
            assert (await post(place, method="PUT")).status_code == 405

    asyncio.run(work())


def test_size_rate_and_number_are_limited(tmp_path: Path) -> None:
    library = make_library(tmp_path, "courier")
    limits = ServeLimits(
        message_bytes=4096, rate=0.01, burst=12, sessions=2, refusals=0.01, at_once=8
    )

    async def work() -> None:
        async with serving(library, limits=limits) as place:
            large = json.dumps(request(1, "tools/list", {"cursor": "x" * 5000})).encode()
            assert (await post(place, content=large)).status_code == 413

            async def parts() -> Any:
                for _ in range(12):
                    yield b" " * 1000

            assert (await post(place, content=parts())).status_code == 413
            codes = [(await post(place)).status_code for _ in range(14)]
            assert codes == [200] * 10 + [429] * 4  # two were too large
            answer = await post(place)
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["code"] == -32010
            # Another's allowance is its own.
            other = {"authorization": f"Bearer {BOB}"}
            assert (await post(place, headers=other)).status_code == 200
            begin = json.dumps({
                "jsonrpc": "2.0", "id": 1, "method": "initialize",
                "params": {"protocolVersion": "2025-11-25", "capabilities": {},
                           "clientInfo": {"name": "x", "version": "0"}},
            }).encode()  # fmt: skip
            old = {**other, "mcp-protocol-version": None, "mcp-method": None}
            opened = [(await post(place, content=begin, headers=old)).status_code for _ in range(4)]
            assert opened == [200, 200, 503, 503]
            strangers = [
                (await post(place, headers={"authorization": "Bearer x"})).status_code
                for _ in range(12)
            ]
            assert strangers == [401] * 10 + [429] * 2

    asyncio.run(work())


def test_a_call_has_a_time_limit(tmp_path: Path) -> None:
    library = make_library(tmp_path, "courier")
    with Records.open(Workspace.open(library)) as records:
        walk(records, slow_skill())
    limits = ServeLimits(call_seconds=1.0)

    async def work() -> None:
        async with serving(library, limits=limits) as place, client(place.url) as found:
            begun = told(await found.call_tool("begin", {"seed": 1}))
            things = begun["shows"]["things"]
            where = next(thing["reference"] for thing in things if thing["type"] == "place")
            began = time.monotonic()
            late = await found.call_tool("slow", {"place": where})
            assert time.monotonic() - began < 4
            assert late.is_error
            assert "did not end within 1 s" in told(late)["reason"]
            # What was in the middle of something is not used again.
            again = await found.call_tool("at", {"place": where})
            assert "call `begin` first" in words(again)
            assert not (await found.call_tool("begin", {"seed": 1})).is_error
            assert told(await found.call_tool("at", {"place": where}))["worked"]

    asyncio.run(work())
    with Records.open(Workspace.open(library)) as records:
        (run,) = records.runs.ids()
        assert [row.success for row in records.attempts.all(run)] == [False, True]


@pytest.mark.parametrize("text", ["", "short", "has space in it and is long enough"])
def test_a_token_must_be_one(text: str) -> None:
    from agentlab.errors import ConfigError
    from agentlab.serve.mcp.tokens import Tokens

    with pytest.raises(ConfigError):
        Tokens([(text, "")])


def test_strangers_hold_no_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that ask nothing make room, and go when their time is over."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)

    async def work() -> None:
        async with serving(make_library(tmp_path, "courier")) as place:
            async with client(place.url) as before:
                assert (await before.list_tools()).tools
            held = [await asyncio.open_connection("127.0.0.1", place.port) for _ in range(200)]
            for _, out in held:
                out.write(b"POST /mcp HTTP/1.1\r\n")
            async with client(place.url) as ann:
                assert (await ann.list_tools()).tools
            for come, out in held:
                await asyncio.wait_for(come.read(), 10)
                out.close()

    asyncio.run(work())


def test_a_head_is_bounded_and_a_stranger_is_let_go(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(make_library(tmp_path, "courier")) as place:
            host = f"Host: 127.0.0.1:{place.port}\r\n"
            long = f"POST /mcp HTTP/1.1\r\n{host}x: {'x' * 100_000}"
            stranger = f"POST /mcp HTTP/1.1\r\n{host}content-length: 100000\r\n\r\n"
            upgrade = (
                "GET /mcp HTTP/1.1\r\nHost: evil\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            for sent, status in ((long, b"400"), (stranger, b"401"), (upgrade, b"421")):
                come, out = await asyncio.open_connection("127.0.0.1", place.port)
                out.write(sent.encode())
                answer = await asyncio.wait_for(come.read(), 10)  # to the end of the connection
                assert answer.startswith(b"HTTP/1.1 " + status), answer[:200]
                out.close()

    asyncio.run(work())
