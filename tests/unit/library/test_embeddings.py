"""Embedders: the lexical one by its numbers, the endpoint one against a real local server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agentlab
from agentlab.embeddings import open_embedder, uses_model
from agentlab.embeddings.endpoint import BATCH, EndpointEmbedder
from agentlab.embeddings.lexical import LexicalEmbedder, words
from agentlab.errors import (
    ConfigError,
    MissingExtraError,
    ModelFaultError,
    UnknownNameError,
    UsageError,
)
from agentlab.records import Records, Workspace

KEY = "sk-not-to-be-seen-0123456789"
Reply = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


def vectors_of(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Length and number of blanks of each text, last text first: order is by `index`."""
    data = [
        {
            "object": "embedding",
            "index": place,
            "embedding": [float(len(text)), float(text.count(" ")), 3.0][: body.get("dimensions")],
        }
        for place, text in enumerate(body["input"])
    ]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return 200, {"object": "list", "model": body["model"], "data": data[::-1], "usage": usage}


@contextmanager
def serving(reply: Reply) -> Generator[tuple[str, list[dict[str, Any]]]]:
    """A loopback server for `POST /v1/embeddings`, and the bodies it was sent."""
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append({**body, "key": self.headers["Authorization"], "path": self.path})
            status, answer = reply(body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy stands between the client and the loopback server, and no real key is read."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def test_words() -> None:
    assert words("Open_the RED-box 2 x!") == ["open", "the", "red", "box", "2", "x"]
    assert words("\uff27o Straße") == ["go", "strasse"]
    assert words(" \n_-") == []


def test_lexical_numbers() -> None:
    # " a " has one n-gram. Its CRC-32 is 0x8084E5DC: even, so -1, in bucket
    # (0x8084E5DC >> 1) % 384 = 110.
    row = LexicalEmbedder().embed(["a"])[0]
    assert np.flatnonzero(row).tolist() == [110]
    assert row[110] == -1.0


def test_lexical_sublinear_counts() -> None:
    # One feature four times and another once: weights 1 + ln 4 and 1, then scaled to length 1.
    row = LexicalEmbedder(dimension=4096).embed(["a a a a b"])[0]
    weights = sorted(abs(row[row != 0.0]).tolist())
    assert weights[1] / weights[0] == pytest.approx(1 + np.log(4), rel=1e-6)


def test_lexical_is_lexical() -> None:
    rows = LexicalEmbedder().embed(
        ["open the locked door", "opening locked doors", "puppy", "dog", "", "???"]
    )
    assert rows.shape == (6, 384)
    assert rows.dtype == np.float32
    assert rows[0] @ rows[1] > 0.4
    assert abs(rows[2] @ rows[3]) < 0.2
    assert not rows[4:].any()


def test_lexical_same_in_another_process() -> None:
    program = (
        "from agentlab.embeddings.lexical import LexicalEmbedder as L\n"
        "print(L().embed(['put the blue ball next to a box']).tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
        text=True,
    )
    here = LexicalEmbedder().embed(["put the blue ball next to a box"]).tobytes().hex()
    assert done.stdout.strip() == here


@given(st.lists(st.text(max_size=40), max_size=6), st.integers(1, 64))
def test_lexical_contract(texts: list[str], dimension: int) -> None:
    embedder = LexicalEmbedder(dimension=dimension)
    rows = embedder.embed(texts)
    assert rows.shape == (len(texts), dimension)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert all(norm == 0.0 or abs(norm - 1.0) < 1e-5 for norm in norms)
    for text, row in zip(texts, rows, strict=True):  # neighbours in a batch change nothing
        assert (embedder.embed([text])[0] == row).all()


def test_open_by_name() -> None:
    assert open_embedder().name == "lexical-384"
    with pytest.raises(UnknownNameError, match="'lexical'"):
        open_embedder("lexicl")
    with pytest.raises(UsageError, match="takes no model"):
        open_embedder("lexical:big")
    with pytest.raises(UsageError, match="endpoint:MODEL"):
        open_embedder("endpoint")
    with pytest.raises(UsageError, match="names no model"):
        open_embedder("endpoint:")
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL"):
        open_embedder("endpoint:m")


def test_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(vectors_of) as (url, bodies):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        embedder = open_embedder("endpoint:tiny/model")
        assert bodies == []
        assert embedder.name == "endpoint:tiny/model"
        rows = embedder.embed(["abcd", "  ", "a b c d"])
        assert embedder.dimension == 3
    assert rows.dtype == np.float32
    assert rows[0].tolist() == pytest.approx([0.8, 0.0, 0.6])
    assert not rows[1].any()
    assert rows[2].tolist() == pytest.approx((np.array([7, 3, 3]) / np.sqrt(67)).tolist())
    assert bodies[0]["input"] == ["abcd", "a b c d"]
    assert bodies[0]["path"] == "/v1/embeddings"
    assert bodies[0]["key"] == f"Bearer {KEY}"
    assert len(bodies) == 1


def test_endpoint_batches_and_dimension() -> None:
    with serving(vectors_of) as (url, bodies):
        embedder = EndpointEmbedder(model="m", dimension=2, base_url=url)
        texts = ["x" * (1 + number) for number in range(BATCH + 5)]
        rows = embedder.embed(texts)
    assert [len(body["input"]) for body in bodies] == [BATCH, 5]
    assert all(body["dimensions"] == 2 for body in bodies)
    assert embedder.name == "endpoint:m@2"
    assert rows.shape == (BATCH + 5, 2)
    assert (rows[:, 0] == 1.0).all()


def test_endpoint_dimension_is_asked_once() -> None:
    with serving(vectors_of) as (url, bodies):
        embedder = EndpointEmbedder(model="m", base_url=url)
        assert embedder.dimension == 3
        assert embedder.embed([]).shape == (0, 3)
    assert len(bodies) == 1


def test_endpoint_tries_again() -> None:
    calls = iter([503, 200])

    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return (503, {"error": {"message": "busy"}}) if next(calls) == 503 else vectors_of(body)

    with serving(reply) as (url, bodies):
        rows = EndpointEmbedder(model="m", base_url=url, retries=1).embed(["abcd"])
    assert rows.shape == (1, 3)
    assert len(bodies) == 2


FAULTS: list[tuple[tuple[int, dict[str, Any]], str]] = [
    ((401, {"error": {"message": f"Bad key {KEY}."}}), r"\[key\]"),
    ((200, {"data": [], "object": "list", "model": "m"}), "0 vectors for 1 texts|No embedding"),
    (
        (200, {"data": [{"index": 0, "embedding": [1.0]}], "object": "list", "model": "m"}),
        r"vectors of length \[1\]",
    ),
]


@pytest.mark.parametrize(("answer", "told"), FAULTS)
def test_endpoint_faults(answer: tuple[int, dict[str, Any]], told: str) -> None:
    with serving(lambda body: answer) as (url, _):
        embedder = EndpointEmbedder(model="m", dimension=2, base_url=url, api_key=KEY, retries=0)
        with pytest.raises(ModelFaultError, match=told) as caught:
            embedder.embed(["text"])
    assert KEY not in str(caught.value)


def test_endpoint_that_is_not_there() -> None:
    with serving(vectors_of) as (url, _):
        pass
    embedder = EndpointEmbedder(model="m", base_url=url, retries=0, timeout=5.0)
    with pytest.raises(ModelFaultError, match=r"127\.0\.0\.1"):
        embedder.embed(["text"])


def test_endpoint_must_be_an_address() -> None:
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL"):
        EndpointEmbedder(model="m", base_url="localhost:8000")


@pytest.mark.skipif(find_spec("sentence_transformers") is not None, reason="it is installed")
def test_transformers_is_an_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"agentlab-practice\[transformers\]"):
        open_embedder("sentence-transformers")


@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="needs the extra")
def test_transformers(tmp_path: Path) -> None:
    program = Path(__file__).with_name("tiny_model.py")
    subprocess.run([sys.executable, str(program), str(tmp_path / "tiny")], check=True)
    embedder = open_embedder(f"sentence-transformers:{tmp_path / 'tiny'}")
    assert embedder.name == "sentence-transformers:tiny"
    rows = embedder.embed(["open the door", "", "open the door", "red ball"])
    assert rows.shape == (4, embedder.dimension)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1).tolist() == pytest.approx([1, 0, 1, 1], abs=1e-5)
    assert (rows[0] == rows[2]).all()
    with pytest.raises(ConfigError, match="not on this machine"):
        open_embedder(f"sentence-transformers:{tmp_path / 'none'}")


def test_endpoint_tokens_are_counted() -> None:
    def silent(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, answer = vectors_of(body)
        return status, {**answer, "usage": {"prompt_tokens": 0, "total_tokens": 0}}

    with serving(vectors_of) as (url, _):
        embedder = EndpointEmbedder(model="m", dimension=2, base_url=url)
        assert embedder.tokens == 0
        embedder.embed(["x"] * (BATCH + 1))
        assert embedder.tokens == 2, "as the endpoint counts: one for each request here"
    with serving(silent) as (url, _):
        embedder = EndpointEmbedder(model="m", dimension=2, base_url=url)
        embedder.embed(["x" * 9, "y"])
        assert embedder.tokens == 3 + 1, "four characters a token, rounded up"


def test_only_an_endpoint_may_cost_something() -> None:
    assert uses_model("endpoint:m")
    assert not uses_model("lexical")


SMALL: dict[str, Any] = {
    "rounds": 3,
    "proposals": 12,
    "attempts": 8,
    "tool_calls": 60,
    "heldout": 0,
    "concurrency": 1,
    "index": "exact",
}


def test_a_budget_in_tokens_ends_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def costly(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, answer = vectors_of(body)
        return status, {**answer, "usage": {"prompt_tokens": 100, "total_tokens": 100}}

    with serving(costly) as (url, bodies):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        options: dict[str, Any] = {**SMALL, "embedder": "endpoint:m", "budget.tokens": 150}
        report = agentlab.practice("courier", workspace=tmp_path, **options)
    assert (report.status, report.reason) == ("stopped", "tokens used up")
    assert report.usage.tokens == 100 * len(bodies)
    assert report.usage.tokens >= 150


def test_dollars_are_not_capped_where_the_price_is_unknown(tmp_path: Path) -> None:
    options: dict[str, Any] = {**SMALL, "embedder": "endpoint:m", "budget.usd": 1.0}
    with pytest.raises(UsageError, match="price of the embedder 'endpoint:m' is not known"):
        agentlab.practice("courier", workspace=tmp_path, **options)
    with Records.open(Workspace.open(tmp_path)) as records:
        assert records.runs.all() == []
