"""What a model server must do so that policies can be served from it: run it on yours.

    check_server(base_url, adapter)     # raises AssertionError, which says what is wrong

It asks over the network alone and believes nothing else, so it holds for vLLM, for `agentlab
serve-local` and for the server of `testing.adapter_server` alike. The adapter is a folder that
`agentlab train` left, of the base that the server serves; nothing of it may be loaded yet.
"""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from agentlab.training.adapters import Adapter, read_adapter
from agentlab.training.serving.client import ModelServerClient
from agentlab.training.serving.liveness import TOLERANCE, prove_live
from agentlab.types import JsonObject

TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": "walk",
        "description": "Walk somewhere.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    body: JsonObject


def check_server(base_url: str, folder: Path, *, tolerance: float = TOLERANCE) -> None:
    """Run the whole suite; it leaves the server as it found it.

    Args:
        base_url: such as `http://127.0.0.1:8000/v1`.
        folder: a trained adapter that is not loaded.
        tolerance: as for `prove_live`.

    Raises:
        AssertionError: the server does something else.
        AdapterRefusedError: the adapter is none, or what is served is not what was trained.
    """
    adapter = read_adapter(folder)
    server = ModelServerClient(base_url)
    base = server.base().name
    check_models(server, base)
    check_chat(base_url, base)
    check_errors(base_url, adapter)
    check_adapter(base_url, server, adapter, base, tolerance=tolerance)
    check_swap(base_url, server, adapter, base)


def check_models(server: ModelServerClient, base: str) -> None:
    """It is up, lists its base model, and answers it."""
    assert server.healthy(), "GET /health must answer with a status of success"
    assert base, "GET /v1/models must list the base model"
    server.answers(base)


def check_chat(base_url: str, model: str) -> None:
    """Chat with tools, ids and log-probabilities, whole and in parts, says one and the same."""
    body = _asking(model)
    whole = ask(base_url, "/chat/completions", body)
    assert whole.status == 200, f"chat was answered with {whole.status}: {whole.body}"
    assert whole.body.get("model") == model, "an answer must name the model that was asked"
    choice = _first(whole.body)
    ids, prompt = choice.get("token_ids"), whole.body.get("prompt_token_ids")
    assert isinstance(prompt, list) and prompt, "return_token_ids must give prompt_token_ids"
    assert isinstance(ids, list) and ids, "return_token_ids must give token_ids in each choice"
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    assert isinstance(content, list), "logprobs must be given where they are asked for"
    assert len(content) == len(ids), "there must be one log-probability for each output token"
    again = _first(ask(base_url, "/chat/completions", body).body)
    assert again.get("token_ids") == ids, "the same request with the same seed gets the same tokens"
    streamed = stream(base_url, "/chat/completions", {**body, "stream": True})
    parts = [x for chunk in streamed for x in _list(_choice(chunk).get("token_ids"))]
    assert parts == ids, "a stream must add up to what is given whole"


def check_errors(base_url: str, adapter: Adapter) -> None:
    """Unknown models and wrong loads are refused as vLLM refuses them."""
    unknown = ask(base_url, "/chat/completions", _asking("no-such-model"))
    assert unknown.status == 404, f"an unknown model must be refused with 404, not {unknown.status}"
    missing = ask(base_url, "/unload_lora_adapter", {"lora_name": adapter.name})
    assert missing.status == 404, "unloading what is not loaded must be refused with 404"
    nameless = ask(base_url, "/load_lora_adapter", {"lora_path": str(adapter.folder)})
    assert nameless.status in (400, 422), "loading without a name must be refused with 400 or 422"
    nowhere = ask(
        base_url, "/load_lora_adapter", {"lora_name": "lab-x", "lora_path": "/nowhere/at/all"}
    )
    assert 400 <= nowhere.status < 600, "loading from nowhere must be refused"
    listed = {each.name for each in ModelServerClient(base_url).models()}
    assert "lab-x" not in listed, "what could not be loaded must not be listed"


def check_adapter(
    base_url: str, server: ModelServerClient, adapter: Adapter, base: str, *, tolerance: float
) -> None:
    """An adapter is loaded under its name, once, is live, and is gone when it is unloaded."""
    assert server.load(adapter.name, adapter.folder), "the adapter was loaded before"
    try:
        listed = {each.name: each for each in server.models()}
        assert listed[adapter.name].parent == base, "an adapter's parent must be the base model"
        body: JsonObject = {"lora_name": adapter.name, "lora_path": str(adapter.folder)}
        twice = ask(base_url, "/load_lora_adapter", body)
        assert twice.status == 400, "loading under a name that is taken must be refused with 400"
        assert not server.load(adapter.name, adapter.folder), "the client must see that it is there"
        prove_live(server, adapter, base, tolerance=tolerance)
        answer = ask(base_url, "/chat/completions", _asking(adapter.name))
        assert answer.body.get("model") == adapter.name, "an answer must name the adapter"
    finally:
        server.unload(adapter.name)
    gone = ask(base_url, "/chat/completions", _asking(adapter.name))
    assert gone.status == 404, "an adapter that is unloaded must not be answered"


def check_swap(base_url: str, server: ModelServerClient, adapter: Adapter, base: str) -> None:
    """While an adapter is loaded beside it and unloaded again, the base answers every request."""
    statuses: list[int] = []
    stop = threading.Event()

    def asking() -> None:
        while not stop.is_set():
            statuses.append(ask(base_url, "/chat/completions", _asking(base)).status)

    threads = [threading.Thread(target=asking, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            server.load(adapter.name, adapter.folder)
            answer = ask(base_url, "/chat/completions", _asking(adapter.name))
            assert answer.status == 200, "a loaded adapter must answer at once"
            server.unload(adapter.name)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert statuses, "nothing was asked meanwhile"
    assert set(statuses) == {200}, f"requests failed during a swap: {sorted(set(statuses))}"


def ask(base_url: str, path: str, body: JsonObject) -> Answer:
    """One request, and its answer whatever the status is."""
    status, received = _send(base_url, path, body)
    try:
        told: object = json.loads(received)
    except ValueError:
        told = None
    return Answer(status, cast("JsonObject", told) if isinstance(told, dict) else {})


def stream(base_url: str, path: str, body: JsonObject) -> list[JsonObject]:
    """The chunks of a stream."""
    _, received = _send(base_url, path, body)
    lines = [line[5:].strip() for line in received.splitlines() if line.startswith(b"data:")]
    assert lines and lines[-1] == b"[DONE]", "a stream must end with [DONE]"
    return [cast("JsonObject", json.loads(line)) for line in lines[:-1]]


def _send(base_url: str, path: str, body: JsonObject) -> tuple[int, bytes]:
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    try:
        connection.request(
            "POST",
            f"{parts.path.rstrip('/')}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _asking(model: str) -> JsonObject:
    return {
        "model": model,
        "messages": [{"role": "user", "content": "Go to the mill."}],
        "tools": [TOOL],
        "max_tokens": 12,
        "temperature": 0.7,
        "seed": 7,
        "logprobs": True,
        "return_token_ids": True,
        "cache_salt": model,
    }


def _first(body: JsonObject) -> JsonObject:
    choices = body.get("choices")
    assert isinstance(choices, list) and choices, "an answer must hold a choice"
    return cast("JsonObject", choices[0])


def _choice(chunk: JsonObject) -> JsonObject:
    choices = _list(chunk.get("choices"))
    return cast("JsonObject", choices[0]) if choices else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
