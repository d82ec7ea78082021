"""Sites on loopback that answer as told, and remember what they were asked."""

from __future__ import annotations

import http.server
import ssl
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

HTML = (("Content-Type", "text/html; charset=utf-8"),)

JSON = (("Content-Type", "application/json"),)


class Reply(NamedTuple):
    """What a site answers."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = HTML
    wait: float = 0.0
    """Seconds before anything is sent."""


class Site:
    """A site on loopback: path to reply, or to what makes one; remembers what was asked.

    Args:
        secure: with a certificate, for a site of https.
    """

    def __init__(self, *, secure: ssl.SSLContext | None = None) -> None:
        self.replies: dict[str, Reply | Callable[[str], Reply]] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _serve(self) -> None:
                path = self.path.partition("?")[0]
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size) if size else b""
                headers = {k.lower(): v for k, v in self.headers.items()}
                site.asked.append((self.command, self.path, headers, body))
                found = site.replies.get(path, Reply(b"<title>None</title>Nothing here.", 404))
                reply = found(self.path) if callable(found) else found
                time.sleep(reply.wait)
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers:
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                except OSError:
                    pass  # the browser gave up

            do_GET = do_POST = _serve

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if secure is not None:
            self._server.socket = secure.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def page(self, path: str, html: str) -> None:
        """Answer a path with a page."""
        self.replies[path] = Reply(f"<!doctype html><title>{path}</title>{html}".encode())

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [path for _, path, _, _ in self.asked]

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
