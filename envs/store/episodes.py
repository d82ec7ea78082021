"""The worlds that one server keeps: one that lasts for a person, and one for each episode.

An episode's world is an in-memory database, deserialized from an image of its seed and setup, so
that a reset costs a copy of some hundred kilobytes. No world sees another.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from agentlab.envs.store.schema import build, connect
from agentlab.envs.store.state import read_state
from agentlab.envs.store.world import SETUPS, Setup, make_world
from agentlab.types import JsonObject

MOST_EPISODES = 1024
"""Worlds kept at a time; the one that was reset longest ago goes first."""
MOST_IMAGES = 64
FIRST_SESSION = 1
"""The session that every start state brings; see `schema`."""


@dataclass
class Served:
    """One world that is being served."""

    connection: sqlite3.Connection
    current: int | None = None
    """The session that was last used in it, which the state is read for."""

    def state(self) -> JsonObject:
        """The state now."""
        return read_state(self.connection, self.current)


class Worlds:
    """Implements what `app` and its `_episode` routes need of worlds.

    Args:
        seed: of the world that lasts.
        today: its day, or None for the day that the seed gives.
        database: the file that it is kept in, or None for memory.
    """

    def __init__(
        self, *, seed: int = 0, today: date | None = None, database: Path | None = None
    ) -> None:
        self._today = today
        self._images: OrderedDict[tuple[int, Setup], bytes] = OrderedDict()
        self._episodes: OrderedDict[str, Served] = OrderedDict()
        self.lasting = Served(self._open_lasting(seed, database))

    def _open_lasting(self, seed: int, database: Path | None) -> sqlite3.Connection:
        if database is None:
            return self._copy(seed, "visitor")
        connection = connect(str(database))
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            build(make_world(seed, today=self._today), "visitor", connection)
        # Cookies are signed with a key of this process alone: earlier sessions have ended.
        connection.execute("DELETE FROM sessions")
        connection.execute("DELETE FROM cart_lines WHERE owner LIKE 'session:%'")
        connection.execute("DELETE FROM carts WHERE owner LIKE 'session:%'")
        return connection

    def _copy(self, seed: int, setup: Setup) -> sqlite3.Connection:
        key = (seed, setup)
        image = self._images.get(key)
        if image is None:
            made = connect()
            build(make_world(seed, today=self._today), setup, made)
            image = made.serialize()
            made.close()
            self._images[key] = image
            while len(self._images) > MOST_IMAGES:
                self._images.popitem(last=False)
        connection = connect()
        connection.deserialize(image)
        return connection

    def reset(self, episode: str, seed: int, setup: Setup) -> Served:
        """A fresh world for an episode, whether or not it had one."""
        assert setup in SETUPS, setup
        self.drop(episode)
        served = Served(self._copy(seed, setup), current=FIRST_SESSION)
        self._episodes[episode] = served
        while len(self._episodes) > MOST_EPISODES:
            self.drop(next(iter(self._episodes)))
        return served

    def get(self, episode: str | None) -> Served | None:
        """The world of an episode, the lasting one for None; None where there is none."""
        return self.lasting if episode is None else self._episodes.get(episode)

    def drop(self, episode: str) -> bool:
        """Forget an episode's world; whether there was one."""
        served = self._episodes.pop(episode, None)
        if served is not None:
            served.connection.close()
        return served is not None

    def close(self) -> None:
        """Close all databases."""
        for episode in list(self._episodes):
            self.drop(episode)
        self.lasting.connection.close()
