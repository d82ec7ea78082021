"""What a person is told where an endpoint does not serve: its address, what is wrong, the fix."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agentlab.errors import ModelFaultError
from agentlab.models.openai_chat import OpenAIChat
from agentlab.models.openai_client import ChatEndpoint, find_address
from agentlab.testing.model_server import ModelServer
from agentlab.types import ChatRequest, Message

CANARY = "sk-canary-1234567890abcdef"


def told(url: str, *, key: str | None = None, variable: str = "OPENAI_API_KEY") -> str:
    """The sentence of the failure that one request to this address ends with."""

    async def run() -> str:
        endpoint = ChatEndpoint(find_address(url, key, variable=variable), timeout=10.0)
        chat = OpenAIChat("openai:m", model="m", endpoint=endpoint)
        try:
            with pytest.raises(ModelFaultError) as caught:
                await chat.chat(ChatRequest(messages=(Message(role="user", text="hi"),)))
        finally:
            await endpoint.close()
        return str(caught.value)

    return asyncio.run(run())


@contextmanager
def without_model(*served: str) -> Generator[str]:
    """An endpoint that lists these models and knows none that it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            models = [{"id": name, "object": "model"} for name in served]
            self._answer(200, {"object": "list", "data": models})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(404, {"error": {"message": "The model `m` does not exist."}})

        def _answer(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_wrong_key_names_the_variable_and_never_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ModelServer(lambda _: "hi", key="the right one") as server:
        said = told(server.base_url, key=CANARY, variable="MY_KEY")
        assert "it refuses the key in MY_KEY: set that to a key for it" in said
        assert server.base_url in said and CANARY not in said
        none = told(server.base_url)
        assert "a request without a key, as none is set in OPENAI_API_KEY" in none
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
        # The variable that was named holds nothing, so the usual one was read.
        usual = told(server.base_url, variable="MY_KEY")
        assert "the key in OPENAI_API_KEY" in usual and CANARY not in usual


def test_an_unknown_model_is_told_with_those_that_are_served() -> None:
    with without_model("small", "large") as url:
        assert "it serves 'small', 'large': name one that it serves" in told(url)
    with without_model() as url:
        assert "it serves no model: name one" in told(url)
    with without_model("m") as url:
        assert "it lists that model, so it may not be one for chat" in told(url)
    with without_model(*(f"model-{number}" for number in range(20))) as url:
        assert told(url).endswith("'model-11' and 8 more: name one that it serves")


def test_an_address_without_its_path_is_told_with_it() -> None:
    with ModelServer(lambda _: "hi") as server:
        said = told(server.address)
        assert said.endswith(f"so its address is likely wrong: try '{server.base_url}'")
        assert told(f"{server.address}/other/v1").endswith("so its address is likely wrong")


def test_where_nothing_listens_the_sentence_says_what_to_start_or_name() -> None:
    with ModelServer(lambda _: "hi") as server:
        url = server.base_url
    said = told(url)
    assert url in said and "start the server, or name another with --base-url" in said
