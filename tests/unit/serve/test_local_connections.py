"""Who has not said a whole request yet holds no place at the local server for long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import uvicorn

from agentlab.serve import connections
from agentlab.serve.local_server import app as routes
from agentlab.serve.local_server import starting
from agentlab.serve.local_server.app import make_app
from agentlab.serve.local_server.desk import Desk
from agentlab.serve.local_server.engine import Engine


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(routes, "BODY_SECONDS", 1.0)
    monkeypatch.setattr(starting, "LEAST_IDLE", 8)
    engine = cast("Engine", SimpleNamespace(fault="", load=(0, 0), context=64))
    app = make_app(cast("Desk", SimpleNamespace(served=())), engine, key=None)
    server = uvicorn.Server(starting.configured(app, most=2))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def opened(port: int, said: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(said.encode())
    return connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other side ends it."""
    parts = b""
    try:
        while part := connection.recv(65536):
            parts += part
    except ConnectionResetError:
        pass  # it did not read what is still under way
    return parts


def test_slow_heads_make_room_and_go_when_their_time_is_over(port: int) -> None:
    held = [opened(port, "GET /health HTTP/1.1\r\nHost:") for _ in range(14)]
    assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    for connection in held:
        with connection:
            assert rest(connection) == b""


def test_a_head_is_bounded(port: int) -> None:
    line = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    with opened(port, f"{line}x: {'x' * 100_000}") as connection:
        assert rest(connection).startswith(b"HTTP/1.1 400")
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    with opened(port, f"{line}{upgrade}\r\n") as connection:
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_a_body_arrives_in_time_or_is_refused(port: int) -> None:
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    )
    with opened(port, head) as connection:
        assert connection.recv(12) == b"HTTP/1.1 408"
