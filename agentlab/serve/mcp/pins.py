"""What each tool was when it was first served: names, descriptions and schemas, by hash.

A client approves a tool by what it says. Were that to change under the same name and version, the
approval would stand for something else (a "rug pull"). So the digest of each version is written
down when it is first served; one that later differs is withheld, and it is said. A new version
is a new tool: it is pinned in turn, and clients are told that the list changed.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from agentlab.errors import ConfigError
from agentlab.records.files import replace_text
from agentlab.types import JsonObject, digest

FORMAT = "agentlab.mcp-pins/1"
FILE = "mcp-pins.json"
MOST_FILE = 32 << 20


def pin_of(name: str, description: str, schema: JsonObject) -> str:
    """The digest that a tool is known by: 64 hexadecimal digits."""
    return digest(FORMAT, name, description, schema)


class Pins:
    """The pins of one file.

    Args:
        path: where they are; made when the first tool is pinned.

    Raises:
        ConfigError: there is a file, and it holds no pins.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)
        self._changed = False

    def hold(self, place: str, name: str, version: str, pin: str) -> bool:
        """Whether the tool is what it was; one that was never seen is written down by `keep`.

        Args:
            place: environment and scope, within which names are unique.
            name: of the tool.
            version: of what is behind it.
            pin: see `pin_of`.
        """
        tools = self._known.setdefault(place, {})
        key = f"{name}@{version}"
        if key not in tools:
            tools[key] = pin
            self._changed = True
        return tools[key] == pin

    def keep(self) -> None:
        """Write the file, where there is anything new.

        Raises:
            ConfigError: it cannot be written.
        """
        if not self._changed:
            return
        try:
            with _alone(self._path.parent):
                for place, tools in _read(self._path).items():  # what other servers have pinned
                    self._known[place] = {**self._known.get(place, {}), **tools}
                found = {"format": FORMAT, "pins": self._known}
                replace_text(self._path, json.dumps(found, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            raise ConfigError(
                f"The pins {str(self._path)!r} cannot be written ({error.strerror}); name another "
                "file with --pin."
            ) from None
        self._changed = False


@contextmanager
def _alone(directory: Path) -> Generator[None]:
    # The directory itself is the lock, so that nothing is left behind.
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        about = path.lstat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"The pins {str(path)!r} cannot be read: {error.strerror}.") from None
    wrong = ConfigError(
        f"The file {str(path)!r} holds no pins; put it back, name another with --pin, or remove it "
        "to trust what is served now."
    )
    if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_FILE:
        raise wrong
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise wrong from None
    if not isinstance(found, dict):
        raise wrong
    told = cast("dict[str, object]", found)
    places = told.get("pins")
    if told.get("format") != FORMAT or not isinstance(places, dict):
        raise wrong
    pins: dict[str, dict[str, str]] = {}
    for place, tools in cast("dict[str, object]", places).items():
        if not isinstance(tools, dict):
            raise wrong
        named = cast("dict[str, object]", tools)
        if not all(isinstance(pin, str) for pin in named.values()):
            raise wrong
        pins[place] = {name: str(pin) for name, pin in named.items()}
    return pins
