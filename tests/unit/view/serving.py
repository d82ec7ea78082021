"""The page served by this process, on loopback, for as long as a test needs it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import uvicorn

from agentlab.records import Records, Workspace
from agentlab.view.guard import Keys
from agentlab.view.server import Site, make_app
from agentlab.view.starting import configured, listening_at


class Served(NamedTuple):
    """Where it is."""

    base: str
    """Without a slash in the end."""
    link: str
    """As it is printed, with the token."""
    site: Site


@contextmanager
def served(workspace: Path, *, only: Sequence[str] = ()) -> Generator[Served]:
    """Serve a workspace."""
    with Records.open(Workspace.open(workspace, create=False)) as records, listening_at(0) as at:
        port = at.getsockname()[1]
        keys = Keys(port)
        site = Site(records, keys, only=only)
        server = uvicorn.Server(configured(make_app(site)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
        thread.start()
        base = f"http://127.0.0.1:{port}"
        try:
            yield Served(base, f"{base}/?token={keys.token}", site)
        finally:
            site.stopping.set()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
