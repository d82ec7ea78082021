"""Who has shown no cookie holds no place at the page, and only HTTP is spoken there."""

from __future__ import annotations

import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from agentlab.records import Records, Workspace
from agentlab.serve import connections
from agentlab.serve.mcp.guard import Guard as McpGuard
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.tokens import Tokens
from agentlab.view.guard import Guard, Keys
from agentlab.view.starting import configured
from tests.unit.view.serving import served

Message = MutableMapping[str, Any]
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def empty(path: Path) -> Path:
    with Records.open(Workspace.open(path)):
        return path


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other side ends it."""
    parts = b""
    while part := connection.recv(65536):
        parts += part
    return parts


def test_half_requests_make_room_and_go_when_their_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(connections.Connection, "most_idle", 4)
    with served(empty(tmp_path)) as page:
        port = urlsplit(page.base).port
        held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(20)]
        for connection in held:
            connection.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert httpx.get(page.link).status_code == 200
        for connection in held:
            with connection:
                assert rest(connection) == b""


def test_an_upgrade_is_answered_by_the_guard(tmp_path: Path) -> None:
    with served(empty(tmp_path)) as page:
        port = urlsplit(page.base).port
        for host, status in (("evil", b"421"), (f"127.0.0.1:{port}", b"403")):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}".encode())
                assert connection.recv(12) == b"HTTP/1.1 " + status


async def never(scope: Message, receive: object, send: object) -> None:
    raise AssertionError(f"{scope['type']} came through")


def test_guards_let_no_web_socket_through() -> None:
    guards = (
        Guard(never, Keys(8123)),
        McpGuard(
            Tokens([("a-token-0123456789abcdef", "")]),
            {},
            hosts=frozenset({"testserver"}),
            limits=ServeLimits(),
        ),
    )
    for guard in guards:
        with (
            pytest.raises(WebSocketDisconnect) as closed,
            TestClient(guard).websocket_connect("/mcp"),
        ):
            pass
        assert closed.value.code == 1008
        assert configured(guard).ws == "none"
