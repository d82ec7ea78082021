"""The transport over streamable HTTP: each token has a server and sessions of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from agentlab.errors import UsageError
from agentlab.serve.connections import LARGEST_HEAD, MOST_IDLE, Connection
from agentlab.serve.mcp.guard import PATH, Application, Guard
from agentlab.serve.mcp.service import Service
from agentlab.serve.mcp.tokens import Tokens

EVERYWHERE = ("", "0.0.0.0", "::")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UsageError: it cannot.
    """
    with contextlib.ExitStack() as stack:
        try:
            found = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, kind, protocol, _, address = found[0]
            listening = stack.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except OSError as error:
            raise UsageError(
                f"The server cannot listen on {host!r}, port {port}: {error.strerror}; name "
                "another with --host or --port."
            ) from None
        stack.pop_all()
        return listening


def names_of(host: str, port: int, others: Sequence[str] = ()) -> frozenset[str]:
    """What a `Host` header may say of a server that listens there."""
    plain = f"[{host}]" if ":" in host else host
    own = LOOPBACK if is_loopback(host) or host in EVERYWHERE else (plain,)
    return frozenset({*(f"{name}:{port}" for name in own), *others})


async def serve_http(
    service: Service,
    tokens: Tokens,
    listening: socket.socket,
    *,
    hosts: frozenset[str],
    ready: Callable[[], None],
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until the process is told to end, or `stop` is set.

    Args:
        service: what is served; entered already.
        tokens: that open it.
        listening: where.
        hosts: see `names_of`.
        ready: called once requests are answered.
        stop: ends it from the same loop, for who serves within a program of their own.
    """
    limits = service.limits
    async with contextlib.AsyncExitStack() as stack:
        applications: dict[str, Application] = {}
        for name, served in service.served.items():
            manager = StreamableHTTPSessionManager(
                served.server,
                max_request_body_size=limits.message_bytes,
                session_idle_timeout=limits.idle_seconds,
                max_sessions=limits.sessions,
            )
            await stack.enter_async_context(_running(manager))
            applications[name] = manager.handle_request
        config = uvicorn.Config(
            Guard(tokens, applications, hosts=hosts, limits=limits),
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            date_header=False,
            # Room for every request that a token may have under way, beside those without one.
            limit_concurrency=limits.at_once * len(applications) + 2 * MOST_IDLE,
            # Named, because another parser that is installed would not bound the head.
            http=Connection,
            ws="none",
            h11_max_incomplete_event_size=LARGEST_HEAD,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=2,
        )
        server = _Server(config, ready)
        waiting = asyncio.create_task(_ended(server, stop)) if stop is not None else None
        try:
            await server.serve(sockets=[listening])
        finally:
            if waiting is not None:
                waiting.cancel()


async def _ended(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


@contextlib.asynccontextmanager
async def _running(manager: StreamableHTTPSessionManager) -> AsyncGenerator[None]:
    async with manager.run():
        yield


class _Server(uvicorn.Server):
    """Uvicorn, which says when it is ready and leaves the exit code to us."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets=sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """End on the usual signals, and raise none of them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def address_of(listening: socket.socket) -> str:
    """The URL that clients are given."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"
