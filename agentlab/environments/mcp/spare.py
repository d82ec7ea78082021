"""Servers that wait for their next use, where the user said that one may serve many attempts.

Each attempt makes an environment of its own, and a server in Python takes a second to start. What
an environment hands back here the next one with the same options takes; what nobody takes for
`IDLE_SECONDS` is ended. A server waits only in the process that started it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import NamedTuple

from agentlab.environments.mcp.running import Options, Running
from agentlab.environments.mcp.session import run_soon

IDLE_SECONDS = 20.0
MOST_WAITING = 8


class Waiting(NamedTuple):
    """One server that nobody uses."""

    owner: int
    """The process that started it."""
    options: Options
    running: Running


_waiting: list[Waiting] = []
_lock = threading.Lock()


def taken(options: Options) -> Running:
    """A server that waits, or a new one, which starts when it is first needed."""
    with _lock:
        for place, each in enumerate(_waiting):
            if each.owner == os.getpid() and each.options == options and each.running.alive:
                del _waiting[place]
                return each.running
    return Running(options)


async def handed_back(options: Options, running: Running) -> None:
    """Let a server wait where it may serve others, else end it; its giver must not use it again."""
    waiting = Waiting(os.getpid(), options, running)
    with _lock:
        room = options.reuse and running.alive and len(_waiting) < MOST_WAITING
        if room:
            _waiting.append(waiting)
    if room:
        run_soon(_expired(waiting))
    else:
        await running.close()


async def _expired(waiting: Waiting) -> None:
    """End a server that nobody took."""
    await asyncio.sleep(IDLE_SECONDS)
    with _lock:
        place = next((n for n, each in enumerate(_waiting) if each is waiting), None)
        if place is None:
            return
        del _waiting[place]
    await waiting.running.close()
