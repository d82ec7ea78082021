"""The worlds that one server keeps: one that lasts for a person, and one for each episode.

An episode's world is an in-memory database, deserialized from an image of its seed and setup, so
that a reset costs a copy of some hundred kilobytes. No world sees another.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from agentlab.envs.store.schema import build, connect
from agentlab.envs.store.state import read_state
from agentlab.envs.store.world import SETUPS, Setup, make_world
from agentlab.types import JsonObject

MOST_EPISODES = 1024
"""Worlds kept at a time; the one that was reset longest ago goes first."""
MOST_IMAGES = 64
MOST_SAVED = 4096
"""Saved worlds kept at a time, some 10 kB each; the one that was used longest ago goes first."""
FIRST_SESSION = 1
"""The session that every start state brings; see `schema`."""


@dataclass
class Served:
    """One world that is being served."""

    connection: sqlite3.Connection
    current: int | None = None
    """The session that was last used in it, which the state is read for."""
    notice: str | None = None
    """The message on the page that was shown last, which the world itself has forgotten by then."""

    def state(self) -> JsonObject:
        """The state now."""
        return read_state(self.connection, self.current)


class Saved(NamedTuple):
    """A world at one moment, with the message that the page of that moment shows."""

    image: bytes
    """Compressed."""
    current: int | None
    notice: str | None


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
        self._saved: OrderedDict[tuple[str, str], Saved] = OrderedDict()
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

    def save(self, episode: str) -> str | None:
        """A name for an episode's world as it is now; None where there is no such episode.

        The same world has the same name. The page that was shown last can be asked for once more
        after `load`: its message is told again.
        """
        served = self._episodes.get(episode)
        if served is None:
            return None
        image = served.connection.serialize()
        mark = blake2b(image, digest_size=16)
        mark.update(repr((served.current, served.notice)).encode())
        key = (episode, mark.hexdigest())
        if key not in self._saved:
            self._saved[key] = Saved(zlib.compress(image, 1), served.current, served.notice)
            while len(self._saved) > MOST_SAVED:
                self._saved.popitem(last=False)
        self._saved.move_to_end(key)
        return key[1]

    def load(self, episode: str, name: str) -> bool:
        """Make an episode's world what it was; whether it is still known."""
        saved, served = self._saved.get((episode, name)), self._episodes.get(episode)
        if saved is None or served is None:
            return False
        self._saved.move_to_end((episode, name))
        served.connection.close()
        served.connection = connect()
        served.connection.deserialize(zlib.decompress(saved.image))
        served.current, served.notice = saved.current, None
        if saved.notice is not None:
            served.connection.execute(
                "UPDATE sessions SET notice = ? WHERE id = ?", (saved.notice, saved.current)
            )
        return True

    def drop(self, episode: str) -> bool:
        """Forget an episode's world; whether there was one."""
        served = self._episodes.pop(episode, None)
        if served is not None:
            served.connection.close()
        return served is not None

    def forget(self, episode: str) -> None:
        """Drop an episode's world and what was saved of it; nobody goes back there."""
        self.drop(episode)
        for key in [key for key in self._saved if key[0] == episode]:
            del self._saved[key]

    def close(self) -> None:
        """Close all databases."""
        for episode in list(self._episodes):
            self.drop(episode)
        self.lasting.connection.close()
