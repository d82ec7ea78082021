"""Worlds for episodes: reset, enter, state, save, load. For the host alone, never for a page.

The routes exist only where the server was started with a control token, and every request must
carry it in a header, which no page of the shop can read or send elsewhere.
"""

from __future__ import annotations

import hmac
import re
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import JsonValue

from agentlab.envs.store.episodes import FIRST_SESSION, Worlds
from agentlab.envs.store.visits import EPISODE, SESSION, set_cookie, sign
from agentlab.envs.store.world import SETUPS
from agentlab.types import Frozen, JsonObject

TOKEN_HEADER = "X-Control-Token"
NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


def _check_token(request: Request) -> None:
    given = request.headers.get(TOKEN_HEADER, "")
    if not hmac.compare_digest(given.encode(), request.app.state.control_token.encode()):
        raise HTTPException(403, f"The header {TOKEN_HEADER} must hold the control token.")


router = APIRouter(prefix="/_episode", dependencies=[Depends(_check_token)])


class Reset(Frozen):
    """What a world starts from."""

    seed: int = 0
    setup: str | JsonObject | None = None
    """A start-state family, by its name or as a task's `{"setup": name}`; `visitor` by default."""

    @property
    def family(self) -> JsonValue:
        """The name that was given."""
        named = self.setup.get("setup") if isinstance(self.setup, dict) else self.setup
        return SETUPS[0] if named is None else named


def _worlds(request: Request, episode: str) -> Worlds:
    if NAME.fullmatch(episode) is None:
        raise HTTPException(400, "An episode's name is 1 to 80 letters, digits, - and _.")
    return request.app.state.worlds


_Kept = Annotated[Worlds, Depends(_worlds)]


@router.post("/{episode}/reset")
async def reset(episode: str, asked: Reset, worlds: _Kept) -> Response:
    """Give an episode a fresh world; its state is the answer."""
    for setup in SETUPS:
        if setup == asked.family:
            return JSONResponse(worlds.reset(episode, asked.seed, setup).state())
    raise HTTPException(422, f"There is no setup {asked.family!r}; use one of {list(SETUPS)}.")


@router.get("/{episode}/state")
async def state(episode: str, worlds: _Kept) -> Response:
    """The state of an episode's world, as JSON."""
    served = worlds.get(episode)
    if served is None:
        raise HTTPException(404, "There is no such episode; reset makes one.")
    return JSONResponse(served.state())


@router.get("/{episode}/enter")
async def enter(request: Request, episode: str, worlds: _Kept) -> Response:
    """Let a browser see the episode's world from now on: its cookies, and the first page."""
    if worlds.get(episode) is None:
        raise HTTPException(404, "There is no such episode; reset makes one.")
    key: bytes = request.app.state.key
    answer = RedirectResponse("/", status_code=303)
    set_cookie(answer, EPISODE, sign(key, EPISODE, episode))
    set_cookie(answer, SESSION, sign(key, f"{SESSION}:{episode}", str(FIRST_SESSION)))
    return answer


@router.post("/{episode}/save")
async def save(episode: str, worlds: _Kept) -> Response:
    """A name by which the episode's world can be had again as it is now."""
    name = worlds.save(episode)
    if name is None:
        raise HTTPException(404, "There is no such episode; reset makes one.")
    return JSONResponse({"saved": name})


class Load(Frozen):
    """Which world an episode is to have again."""

    saved: str


@router.post("/{episode}/load")
async def load(episode: str, asked: Load, worlds: _Kept) -> Response:
    """Give an episode a world that was saved; 410 where it is no longer known."""
    if not worlds.load(episode, asked.saved):
        raise HTTPException(410, "That world is not kept; reset makes one.")
    return Response(status_code=204)


@router.delete("/{episode}")
async def drop(episode: str, worlds: _Kept) -> Response:
    """Forget an episode's world, and what was saved of it."""
    worlds.forget(episode)
    return Response(status_code=204)
