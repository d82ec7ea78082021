"""The routes: what vLLM answers to the same request, in the same shapes.

The server is for this machine. It answers requests that name this machine as their host, so that a
page in a browser cannot reach it by a name of its own, and takes JSON alone; bound to anything but
loopback it asks for a key.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from agentlab.serve.local_server.asked import Refusal, read_body, read_chat, read_text
from agentlab.serve.local_server.desk import Desk
from agentlab.serve.local_server.engine import Engine

log = logging.getLogger(__name__)

MOST_BYTES = 8 * 1024 * 1024
"""Of a request's body."""
BODY_SECONDS = 30.0
"""That a request's body may take to arrive."""
LONGEST = 4096
"""Characters of a name or a folder."""
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
Handler = Callable[[Request], Awaitable[Response]]


def make_app(desk: Desk, engine: Engine, *, key: str | None) -> FastAPI:
    """The application.

    Args:
        desk: answers.
        engine: tells its load and its context.
        key: that requests must bring; None where the server is bound to loopback.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    routes = _Routes(desk, engine)
    table: tuple[tuple[str, str, Handler], ...] = (
        ("GET", "/health", routes.health),
        ("GET", "/load", routes.load),
        ("GET", "/v1/models", routes.models),
        ("POST", "/v1/chat/completions", routes.chat),
        ("POST", "/v1/completions", routes.text),
        ("POST", "/v1/load_lora_adapter", routes.load_adapter),
        ("POST", "/v1/unload_lora_adapter", routes.unload_adapter),
    )
    for method, path, handler in table:
        app.router.add_route(path, _guarded(handler, key), methods=[method])
    return app


class _Routes:
    def __init__(self, desk: Desk, engine: Engine) -> None:
        self._desk = desk
        self._engine = engine

    async def health(self, _: Request) -> Response:
        if why := self._engine.fault:
            raise Refusal(why, status=503, kind="ServiceUnavailable")
        return Response(status_code=200)

    async def load(self, _: Request) -> Response:
        running, waiting = self._engine.load
        return JSONResponse({"running": running, "waiting": waiting})

    async def models(self, _: Request) -> Response:
        listed = [
            {
                "id": served.name,
                "object": "model",
                "created": 0,
                "owned_by": "agentlab",
                "root": served.root,
                "parent": served.parent,
                "max_model_len": self._engine.context,
                "weights_sha256": served.sha256,
            }
            for served in self._desk.served
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def chat(self, request: Request) -> Response:
        asked = read_chat(read_body(await _received(request)))
        if asked.asked.stream:
            return _streamed(self._desk.chat_parts(asked))
        return JSONResponse(await self._desk.chat(asked, request.is_disconnected))

    async def text(self, request: Request) -> Response:
        asked = read_text(read_body(await _received(request)))
        if asked.asked.stream:
            return _streamed(self._desk.text_parts(asked))
        return JSONResponse(await self._desk.text(asked, request.is_disconnected))

    async def load_adapter(self, request: Request) -> Response:
        body = read_body(await _received(request))
        name, folder = _named(body, "lora_name"), _named(body, "lora_path")
        if body.get("load_inplace"):
            raise Refusal(
                "Weights are not replaced in place here; load them under a new name.",
                kind="InvalidUserInput",
                param="load_inplace",
            )
        await self._desk.load(name, Path(folder))
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def unload_adapter(self, request: Request) -> Response:
        name = _named(read_body(await _received(request)), "lora_name")
        await self._desk.unload(name)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")


def _named(body: dict[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST or "\0" in value:
        raise Refusal(f"{field!r} must be a name.", kind="InvalidUserInput", param=field)
    return value


def _guarded(handler: Handler, key: str | None) -> Handler:
    """The handler behind what every request must be, with errors in the protocol's shape."""

    async def guarded(request: Request) -> Response:
        try:
            _check(request, key)
            return await handler(request)
        except Refusal as refusal:
            again = {"Retry-After": "1"} if refusal.status in (429, 503) else None
            return JSONResponse(refusal.body(), status_code=refusal.status, headers=again)
        except Exception as error:
            log.exception("A request failed.")
            told = Refusal(
                f"The server failed: {type(error).__name__}", status=500, kind="InternalServerError"
            )
            return JSONResponse(told.body(), status_code=500)

    return guarded


def _check(request: Request, key: str | None) -> None:
    if key is None:
        host = re.sub(r":\d*$", "", request.headers.get("host", "")).strip("[]").lower()
        if host not in LOCAL:
            raise Refusal(f"This server is not {host[:100]!r}.", status=403, kind="Forbidden")
    else:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            raise Refusal("The key is missing or wrong.", status=401, kind="Unauthorized")
    if request.method == "POST":
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal("Send JSON, with the content type 'application/json'.", status=415)


async def _received(request: Request) -> bytes:
    """The body, as long as it may be and may take."""
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                data += part
                if len(data) > MOST_BYTES:
                    raise Refusal(f"The request has more than {MOST_BYTES} bytes.", status=413)
    except TimeoutError:
        raise Refusal(
            f"The request's body did not arrive within {BODY_SECONDS:g} s.",
            status=408,
            kind="RequestTimeout",
        ) from None
    return bytes(data)


def _streamed(parts: AsyncGenerator[dict[str, Any]]) -> Response:
    async def lines() -> AsyncGenerator[str]:
        try:
            # Closed with the connection, so that what its client has left is given up at once.
            async with aclosing(parts):
                async for part in parts:
                    yield f"data: {json.dumps(part)}\n\n"
        except Refusal as refusal:
            yield f"data: {json.dumps(refusal.body())}\n\n"
        except Exception as error:
            log.exception("A request failed.")
            told = Refusal(
                f"The server failed: {type(error).__name__}", status=500, kind="InternalServerError"
            )
            yield f"data: {json.dumps(told.body())}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")
