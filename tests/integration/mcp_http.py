"""A library served over HTTP within a test: real sockets, real requests, the official client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from agentlab.serve.mcp.http import address_of, bound, names_of, serve_http
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.service import Service, Serving
from agentlab.serve.mcp.tokens import Tokens
from agentlab.types import EnvironmentRef

ANN = "ann-token-0123456789abcdef"
BOB = "bob-token-0123456789abcdef"


class Place(NamedTuple):
    """Where a server is, and what it serves."""

    url: str
    service: Service

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1].partition("/")[0])


@asynccontextmanager
async def serving(
    library: Path,
    environment: str = "courier",
    *,
    tokens: Mapping[str, str] | None = None,
    limits: ServeLimits | None = None,
    options: dict[str, Any] | None = None,
    pin: Path | None = None,
) -> AsyncGenerator[Place]:
    """Serve, for as long as this is entered."""
    known = Tokens(list((tokens or {ANN: "", BOB: ""}).items()))
    what = Serving(
        workspace=library,
        environment=EnvironmentRef(name=environment, options=options or {}),
        limits=limits or ServeLimits(rate=10_000, burst=10_000, refusals=10_000),
        pin=pin,
    )
    listening = bound("127.0.0.1", 0)
    url = address_of(listening)
    up, stop = asyncio.Event(), asyncio.Event()
    hosts = names_of("127.0.0.1", listening.getsockname()[1])
    with listening:
        async with Service(what, known.principals) as service:
            work = asyncio.create_task(
                serve_http(service, known, listening, hosts=hosts, ready=up.set, stop=stop)
            )
            await asyncio.wait_for(up.wait(), 20)
            try:
                yield Place(url, service)
            finally:
                stop.set()
                await work


@asynccontextmanager
async def client(
    url: str, token: str = ANN, *, mode: str = "auto", **options: Any
) -> AsyncGenerator[Client]:
    """The official client, with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=60)) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, **options) as found,
    ):
        yield found
