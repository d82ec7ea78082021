"""Starts the local page: on this machine alone, at a free port, with a token of its own."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from agentlab.errors import MissingExtraError, UsageError
from agentlab.records import Records

if TYPE_CHECKING:
    import uvicorn

    from agentlab.view.guard import Application

ADDRESS = "127.0.0.1"
NEEDED = ("fastapi", "jinja2", "pygments", "uvicorn")


def check_extra() -> None:
    """See that what the page needs is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if any(find_spec(name) is None for name in NEEDED):
        raise MissingExtraError("The page that shows runs", "view")


def serve(
    records: Records,
    *,
    only: Sequence[str] = (),
    port: int = 0,
    open_browser: bool = False,
    say: Callable[[str], None],
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        records: open.
        only: ids of the runs to show; none is all.
        port: of 127.0.0.1; 0 takes a free one.
        open_browser: whether to show it in a browser, where this is a desktop.
        say: is told the link, which holds the token; nobody else is.

    Raises:
        MissingExtraError: the extra `view` is not installed.
        UsageError: the port is taken.
    """
    check_extra()
    import uvicorn

    from agentlab.view.guard import Keys
    from agentlab.view.server import Site, make_app

    with listening_at(port) as listening:
        keys = Keys(listening.getsockname()[1])
        site = Site(records, keys, only=only)
        server = uvicorn.Server(configured(make_app(site)))
        handle = server.handle_exit

        def leave(sig: int, frame: FrameType | None) -> None:
            site.stopping.set()  # streams end by themselves, and need not be cut off
            handle(sig, frame)

        server.handle_exit = leave
        link = f"http://{ADDRESS}:{listening.getsockname()[1]}/?token={keys.token}"
        say(link)
        folder = _open(link) if open_browser and _is_desktop() else None
        try:
            server.run(sockets=[listening])
        finally:
            site.stopping.set()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def configured(app: Application) -> uvicorn.Config:
    """How the page is served: who has not shown the cookie yet holds no place that others need."""
    import uvicorn

    from agentlab.serve.connections import Connection

    return uvicorn.Config(
        app,
        # Named, because another parser that is installed would not bound what comes before a body.
        http=Connection,
        ws="none",
        log_level="error",
        access_log=False,  # it would write the token down
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )


def listening_at(port: int) -> socket.socket:
    """A socket that listens on this machine alone; 0 takes a free port.

    Raises:
        UsageError: the port cannot be used.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
        listening.listen(128)  # who follows the link at once is not refused
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(
            f"The port {port} of {ADDRESS} cannot be used ({error}); leave --port out, and a "
            "free one is taken."
        ) from error
    return listening


def _is_desktop() -> bool:
    """Whether there is somewhere to show a browser: a terminal's would take the terminal over."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open(link: str) -> Path:
    """Show the link in a browser, through a file that only its owner can read.

    On a command line, everybody on this machine could read the token.
    """
    folder = Path(tempfile.mkdtemp(prefix="agentlab-view-"))
    page = folder / "open.html"
    to = escape(link)
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={to}">'
        f'<a href="{to}">Open agentlab</a>',
        encoding="utf-8",
    )
    webbrowser.open(page.as_uri())
    return folder
