"""Where each page is: permanent links, whose filters are in the address.

The server's addresses are paths. In a file that holds everything they are places within it, and
what the file leaves out has none. Every part is quoted: an id from elsewhere is never a path.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol
from urllib.parse import quote, urlencode

Part = str | int
Filters = Mapping[str, str | int | None]


class Addresses(Protocol):
    """From a page to its address."""

    def to(self, page: str, *parts: Part, **filters: str | int | None) -> str | None:
        """The address of a page, or None where there is no such page here."""
        ...

    def blob(self, digest: str) -> str | None:
        """The address of a blob's bytes."""
        ...


PATHS: dict[str, str] = {
    "runs": "/runs",
    "overview": "/runs/{}",
    "tasks": "/runs/{}/tasks",
    "task": "/runs/{}/tasks/{}",
    "attempts": "/runs/{}/attempts",
    "attempt": "/runs/{}/attempts/{}",
    "skills": "/skills",
    "skill": "/skills/{}/{}",
    "insights": "/insights",
    "insight": "/insights/{}",
    "packs": "/packs",
    "pack": "/packs/{}",
    "outputs": "/outputs",
    "gate": "/outputs/gates/{}",
    "waiting": "/waiting",
}
"""Pages by name, with a place for each part of their address."""


def path_of(page: str, *parts: Part, **filters: str | int | None) -> str:
    """The server's path of a page; filters that are None or empty are left out."""
    path = PATHS[page].format(*(quote(str(part), safe="") for part in parts))
    query = {key: value for key, value in filters.items() if value not in (None, "")}
    return f"{path}?{urlencode(query)}" if query else path


class Paths:
    """Addresses on the server."""

    def to(self, page: str, *parts: Part, **filters: str | int | None) -> str | None:
        """The path and query."""
        return path_of(page, *parts, **filters)

    def blob(self, digest: str) -> str | None:
        """The path under which its bytes are given out."""
        return f"/blobs/{quote(digest, safe='')}"


class Places:
    """Addresses within one file: `#p3` for the third page that it holds."""

    def __init__(self, pages: Collection[str], images: Mapping[str, str]) -> None:
        self._places = {path: f"p{number}" for number, path in enumerate(pages)}
        self._images = images

    def place(self, path: str) -> str:
        """The id of the page that the server has at this path."""
        return self._places[path]

    def to(self, page: str, *parts: Part, **filters: str | int | None) -> str | None:
        """The page's place; a filter is left out, for the file shows what it has.

        All but the scope: what is one tenant's is not what another has under that name.
        """
        exact = self._places.get(path_of(page, *parts, **filters))
        found = exact or self._places.get(path_of(page, *parts, scope=filters.get("scope")))
        return None if found is None else f"#{found}"

    def blob(self, digest: str) -> str | None:
        """The bytes themselves, where the file holds them."""
        return self._images.get(digest)
