"""A server that answers with the bytes it is given, for what no proper server says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, NamedTuple, Self, cast


class Answer(NamedTuple):
    status: int
    content: bytes
    headers: Mapping[str, str] = {}


class Got(NamedTuple):
    headers: dict[str, str]
    """By names in small letters."""
    body: dict[str, Any]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers: ClassVar[Iterator[Answer]]
    got: ClassVar[list[Got]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.got.append(Got(headers, json.loads(body)))
        answer = next(self.answers)
        self.send_response(answer.status)
        usual = {"Content-Length": str(len(answer.content)), "Connection": "close"}
        for name, value in {**usual, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Raw:
    """Gives these answers in turn, the last one forever."""

    def __init__(self, *answers: bytes | Answer) -> None:
        whole = [a if isinstance(a, Answer) else Answer(200, a) for a in answers]

        def turns() -> Iterator[Answer]:
            yield from whole
            while True:
                yield whole[-1]

        self.got: list[Got] = []
        handler = type("Handler", (_Handler,), {"answers": turns(), "got": self.got})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), cast("type[_Handler]", handler))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def good(text: str = "fine") -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()
