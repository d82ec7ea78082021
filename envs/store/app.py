"""The shop as a web application: skins, worlds, routes, and what holds for every answer.

Nothing is loaded from elsewhere, no script stands in a page, and no page may be framed: the
content security policy says so to the browser.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from agentlab.envs.store.episodes import Worlds
from agentlab.envs.store.forms import Form
from agentlab.envs.store.labels import Skin
from agentlab.envs.store.pages import FOLDER, Pages
from agentlab.envs.store.routes import (
    addresses,
    basket,
    browsing,
    checkout,
    control,
    managing,
    people,
    purchases,
)
from agentlab.envs.store.visits import Refusal, SignInNeeded, open_visit
from agentlab.errors import ConfigError

HOSTS = ["127.0.0.1", "localhost"]
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def create_app(
    *,
    skin: Skin = "a",
    seed: int = 0,
    today: date | None = None,
    database: Path | None = None,
    control_token: str | None = None,
) -> FastAPI:
    """The application.

    Args:
        skin: which words, order and structure the pages have.
        seed: of the world that a person sees, which lasts.
        today: the day in every world, or None for the one that each seed gives.
        database: the file in which the lasting world is kept, or None for memory.
        control_token: lets a host make worlds for episodes; None leaves those routes out.

    Raises:
        ConfigError: the token is empty.
    """
    if control_token is not None and not control_token.strip():
        raise ConfigError(
            "The shop's control token is empty, so that anybody could make worlds; set one, or "
            "leave it out."
        )
    worlds = Worlds(seed=seed, today=today, database=database)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        worlds.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.worlds = worlds
    app.state.pages = Pages(skin)
    app.state.key = secrets.token_bytes(32)
    app.state.control_token = control_token
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
    app.middleware("http")(_add_headers)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"))
    parts = (browsing, basket, checkout, people, addresses, purchases, managing)
    for part in parts if control_token is None else (control, *parts):
        app.include_router(part.router)
    app.exception_handler(Refusal)(_refused)
    app.exception_handler(SignInNeeded)(_sign_in)
    app.exception_handler(HTTPException)(_failed)
    app.exception_handler(RequestValidationError)(_failed)
    return app


async def _add_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    try:
        visit = await open_visit(request)
    except Refusal:  # the world itself is gone: there is no page of it to show
        return Response(error.text, status_code=error.status, media_type="text/plain")
    return visit.page(
        "refused.html", status=error.status, form=Form({}), heading=error.title, text=error.text
    )


async def _sign_in(request: Request, error: Exception) -> Response:
    wanted = request.url.path if request.method == "GET" else "/account"
    if request.method == "GET" and request.url.query:
        wanted += f"?{request.url.query}"
    return RedirectResponse(f"/sign-in?next={quote(wanted)}", status_code=303)


async def _failed(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    if request.url.path.startswith("/_episode/") and request.app.state.control_token is not None:
        if isinstance(error, RequestValidationError):
            return JSONResponse({"detail": "Send {seed: int, setup: object}."}, status_code=422)
        detail = error.detail if isinstance(error, HTTPException) else ""
        return JSONResponse({"detail": detail}, status_code=status)
    if status == 404:
        return await _refused(
            request, Refusal(404, "Page not found", "There is nothing at this address.")
        )
    return await _refused(request, Refusal(status, "Not possible", "This cannot be done here."))
