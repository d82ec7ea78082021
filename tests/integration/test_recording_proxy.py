"""The recording proxy between the official client and an endpoint: what is passed on and kept."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast
from urllib.parse import urlsplit

import openai
import pytest

from agentlab.errors import UsageError
from agentlab.models.openai_client import ChatEndpoint, find_address
from agentlab.records import Records, Workspace
from agentlab.serve import recording as serving
from agentlab.serve.recorded_runs import Place, RecordedRun
from agentlab.serve.recording import RecordingProxy
from agentlab.testing.model_server.server import ModelServer
from agentlab.training.exporting import ExportRequest, export
from agentlab.types import ChatReply, ChatRequest, Message, ToolUse

KEY = "sk-the-agent-s-own-key-0123456789"
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "go",
            "description": "Go.",
            "parameters": {"type": "object", "properties": {"to": {"type": "string"}}},
        },
    }
]


def rule(request: ChatRequest) -> ChatReply:
    """Goes once, and then says that it is there."""
    if request.messages[-1].role == "tool":
        return ChatReply(message=Message(role="assistant", text="I am there, at last."))
    use = ToolUse(id="call_1", name="go", arguments='{"to": "the shed"}')
    message = Message(role="assistant", tool_uses=(use,))
    return ChatReply(message=message, stop_reason="tool_calls")


class Talk(NamedTuple):
    """A proxy at work, driven from this thread."""

    base: str
    key: str
    run: RecordedRun
    loop: asyncio.AbstractEventLoop

    def client(self, rollout: str, attempt: str) -> openai.OpenAI:
        url = f"{self.base}/r/{rollout}/a/{attempt}/v1"
        return openai.OpenAI(base_url=url, api_key=KEY, max_retries=0)

    def end(self, rollout: str, attempt: str, **body: object) -> dict[str, Any]:
        return cast(
            "dict[str, Any]",
            post(f"{self.base}/r/{rollout}/a/{attempt}/end", body, key=self.key),
        )


def post(url: str, body: object, key: str = "") -> object:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"x-end-key": key} if key else {})
    with opener.open(request, timeout=30) as answer:
        return json.loads(answer.read())


@contextmanager
def recording(records: Records, upstream: str, **options: Any) -> Generator[Talk]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    run = RecordedRun(records, "recorded", upstream)

    async def start() -> tuple[RecordingProxy, int]:
        proxy = RecordingProxy(
            run, ChatEndpoint(find_address(upstream, "upstream-key-0123456789")), **options
        )
        return proxy, await proxy.start()

    proxy, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield Talk(f"http://127.0.0.1:{port}", proxy.end_key, run, loop)
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def play(client: Any, **more: Any) -> list[Any]:
    """An agent of somebody else's: two calls, the first answered by a tool."""
    messages: list[Any] = [
        {"role": "system", "content": "Act."},
        {"role": "user", "content": "Go to the shed."},
    ]
    said: list[Any] = []
    for _ in range(2):
        reply = client.chat.completions.create(
            model="rules", messages=messages, tools=TOOLS, **more
        )
        said.append(reply)
        message = reply.choices[0].message
        for call in message.tool_calls or ():
            messages += [
                message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": call.id, "content": "You are at the shed."},
            ]
    return said


@pytest.fixture
def records(tmp_path: Path) -> Generator[Records]:
    with Records.open(Workspace.open(tmp_path / "ws")) as found:
        yield found


def test_an_agent_s_calls_become_attempts_that_can_be_trained_on(
    records: Records, tmp_path: Path
) -> None:
    with ModelServer(rule) as server, recording(records, server.base_url, terms="own") as talk:
        for attempt, reward in (("0", 1.0), ("1", 0.0)):
            first, last = play(talk.client("shed", attempt))
            # The agent asked for no ids, so it is given none.
            assert "prompt_token_ids" not in first.model_dump()
            assert first.choices[0].logprobs is None
            assert last.choices[0].message.content == "I am there, at last."
            ended = talk.end("shed", attempt, reward=reward)
            assert ended["recorded"] is True
        assert all(request.sampling.logprobs for request in server.requests)
        assert {request.sampling.temperature for request in server.requests} == {1.0}
        assert talk.run.under_way == ()
        assert talk.end("shed", "0", reward=1.0)["recorded"] is False
    report = export(records, ExportRequest(("recorded",), "trl-grpo-replay"), tmp_path / "out")
    lines = (tmp_path / "out" / "data.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["reward"] for row in rows} == {0.0, 1.0}
    assert len({row["group_id"] for row in rows}) == 1
    assert report.unverified == 0
    (task,) = records.tasks.all("recorded")
    assert task.instruction == "Go to the shed."


def test_a_stream_is_made_anew_and_says_the_same(records: Records) -> None:
    with ModelServer(rule) as server, recording(records, server.base_url) as talk:
        client = talk.client("shed", "s")
        stream = client.chat.completions.create(
            model="rules",
            messages=[{"role": "user", "content": "Go."}],
            tools=TOOLS,
            stream=True,
            stream_options={"include_usage": True},
        )
        parts = list(stream)
        calls = [
            call
            for part in parts
            for choice in part.choices
            for call in choice.delta.tool_calls or ()
        ]
        assert [(c.function.name, c.function.arguments) for c in calls if c.function] == [
            ("go", '{"to": "the shed"}')
        ]
        assert [c.finish_reason for p in parts for c in p.choices][-1] == "tool_calls"
        assert parts[-1].usage is not None and parts[-1].usage.completion_tokens > 0
        # Upstream was not asked to stream: parts lose ids.
        talk.end("shed", "s")
    trajectory = next(records.trajectories.exportable("recorded")).outcome.trajectory
    assert trajectory is not None
    (call,) = trajectory.model_calls
    assert call.output_token_ids and call.ids_verified


def test_no_key_is_written(records: Records, tmp_path: Path) -> None:
    def leaky(_: ChatRequest) -> ChatReply:
        return ChatReply(message=Message(role="assistant", text=f"Your key is {KEY}."))

    with ModelServer(leaky) as server, recording(records, server.base_url) as talk:
        play(talk.client("shed", "0"))
        talk.end("shed", "0", reward=1.0)
    outcome = next(records.trajectories.exportable("recorded")).outcome
    assert outcome.trajectory is not None
    # A reply that held it has neither its text nor ids that would spell it.
    assert all(call.redacted for call in outcome.trajectory.model_calls)
    assert all(call.output_token_ids is None for call in outcome.trajectory.model_calls)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in kept and b"upstream-key-0123456789" not in kept


def test_what_is_for_evaluation_is_recorded_and_never_exported(
    records: Records, tmp_path: Path
) -> None:
    with ModelServer(rule) as server, recording(records, server.base_url, terms="own") as talk:
        play(talk.client("shed", "0"))
        talk.end("shed", "0", reward=1.0, split="heldout")
    assert [row.split for row in records.attempts.all("recorded")] == ["heldout"]
    with pytest.raises(UsageError, match="nothing to export"):
        export(records, ExportRequest(("recorded",), "chat"), tmp_path / "out")


def test_what_truncates_is_told_apart_at_export(records: Records, tmp_path: Path) -> None:
    with ModelServer(rule) as server, recording(records, server.base_url, terms="own") as talk:
        for attempt, more in (("0", {"extra_body": {"top_k": 20}}), ("1", {"top_p": 0.8})):
            play(talk.client("shed", attempt), **more)
            talk.end("shed", attempt, reward=float(attempt))
    with pytest.raises(UsageError, match="truncated sampling"):
        export(records, ExportRequest(("recorded",), "trl-grpo-replay"), tmp_path / "out")
    assert export(records, ExportRequest(("recorded",), "trl-sft"), tmp_path / "sft").rows


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", {}, 404),
        ("/r/../a/0/v1/chat/completions", {}, 404),
        ("/r/shed/a/0/v1/chat/completions", {"messages": []}, 400),
        ("/r/shed/a/0/v1/chat/completions", {"model": "m", "n": 2}, 400),
        ("/r/shed/a/0/v1/embeddings", {}, 404),
        ("/r/shed/a/0/end", {"reward": 2}, 400),
        ("/r/shed/a/0/end", {"prize": 1}, 400),
        ("/r/shed/a/0/v1/chat/completions", b"[" * 100_000, 400),
        ("/r/shed/a/0/v1/chat/completions", b'{"model": "m", "top_p": NaN}', 400),
        ("/r/shed/a/0/v1/chat/completions", b'{"model": "m", "top_p": 1e999}', 400),
        ("/r/shed/a/0/v1/chat/completions", b'{"model": "m", "user": "\\ud800"}', 400),
    ],
)
def test_what_is_asked_wrongly_is_told(
    records: Records, path: str, body: object, status: int
) -> None:
    with ModelServer(rule) as server, recording(records, server.base_url) as talk:
        with pytest.raises(urllib.request.HTTPError) as told:
            post(f"{talk.base}{path}", body, key=talk.key)
        assert told.value.code == status
        assert json.loads(told.value.read())["error"]["message"]


def test_an_agent_cannot_score_itself(records: Records, tmp_path: Path) -> None:
    with ModelServer(rule) as server, recording(records, server.base_url) as talk:
        end = f"{talk.base}/r/shed/a/0/end"
        for key in ("", "another", "\u00e9"):
            with pytest.raises(urllib.request.HTTPError) as told:
                post(end, {"reward": 1.0}, key=key)
            with told.value:
                assert told.value.code == 403
        assert not records.attempts.all("recorded")
        assert talk.end("shed", "0", reward=0.0)["recorded"] is True
        assert talk.end("shed", "0", reward=0.0)["recorded"] is False
        with pytest.raises(urllib.request.HTTPError) as told:
            talk.end("shed", "0", reward=1.0)
        with told.value:
            assert told.value.code == 409
        rewards = tmp_path / "rewards.jsonl"
        rewards.write_text(
            '{"rollout": "shed", "attempt": "0", "reward": 1.0}\n'
            '{"rollout": "shed", "attempt": "1", "reward": 1.0}\n'
        )
        with pytest.raises(UsageError, match=r"Line 1 of .* another end"):
            talk.run.end_from(rewards)
        found = {row.attempt_id: row.success for row in records.attempts.all("recorded")}
        assert [found[talk.run.attempt_id(Place("shed", n))] for n in "01"] == [False, True]


def test_pages_in_a_browser_are_not_answered(records: Records) -> None:
    with ModelServer(rule) as server, recording(records, server.base_url) as talk:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for path in ("end", "v1/chat/completions"):
            url = f"{talk.base}/r/shed/a/0/{path}"
            body = json.dumps({"model": "rules", "messages": [{"role": "user", "content": "Go."}]})
            page = {"Origin": "http://a.page.example", "Content-Type": "text/plain"}
            request = urllib.request.Request(url, data=body.encode(), headers=page)
            with pytest.raises(urllib.request.HTTPError) as told:
                opener.open(request, timeout=30)
            with told.value:
                assert told.value.code == 403
        assert not server.requests and not records.attempts.all("recorded")


def test_a_connection_that_asks_for_nothing_is_closed(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.5)
    with recording(records, "http://127.0.0.1:9/v1") as talk:
        at = (urlsplit(talk.base).hostname or "", urlsplit(talk.base).port or 0)
        for said in (b"", b"GET /hea", b"GET /health HTTP/1.1\r\n\r\n"):
            with socket.create_connection(at, timeout=30) as idle:
                idle.sendall(said)
                told = b""
                while part := idle.recv(4096):  # until the proxy hangs up
                    told += part
                assert (b" 200 " in told) is said.endswith(b"\n")


def test_a_call_that_outlasts_its_attempt_is_no_part_of_it(records: Records) -> None:
    talks: list[Talk] = []

    def ends_first(request: ChatRequest) -> ChatReply:
        talks[0].end("shed", "0", reward=1.0)
        return rule(request)

    with ModelServer(ends_first) as server, recording(records, server.base_url) as talk:
        talks.append(talk)
        with pytest.raises(openai.ConflictError, match="ended before"):
            play(talk.client("shed", "0"))
        assert talk.run.under_way == ()


class Plain(http.server.BaseHTTPRequestHandler):
    """An endpoint that knows neither ids nor log-probabilities, and says so."""

    asked: ClassVar[list[bool]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append("return_token_ids" in body)
        known = "return_token_ids" not in body and "logprobs" not in body
        message = {"role": "assistant", "content": "There."}
        answer: object = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        if not known:
            answer = {"error": {"message": "Unrecognized argument", "type": "invalid"}}
        told = json.dumps(answer).encode()
        self.send_response(200 if known else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_an_endpoint_without_ids_is_asked_without_them(records: Records) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        with recording(records, url) as talk:
            play(talk.client("shed", "0"))
            assert talk.run.under_way == (Place("shed", "0"),)
        server.shutdown()
    # Once with, then without, and from then on without.
    assert Plain.asked == [True, False, False]


class Kept(Plain):
    """An endpoint that takes everything and remembers it."""

    bodies: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        message = {"role": "assistant", "content": "There."}
        told = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)


def test_what_a_server_would_bend_the_draw_by_is_said_to_be_off(records: Records) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kept) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with recording(records, f"http://127.0.0.1:{server.server_address[1]}/v1") as talk:
            asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            for more in ({}, {"top_k": None}, {"top_k": 20}):
                post(f"{talk.base}/r/shed/a/0/v1/chat/completions", {**asked, **more})
        server.shutdown()
    assert [body["top_k"] for body in Kept.bodies] == [-1, -1, 20]
    assert {(body["min_p"], body["repetition_penalty"]) for body in Kept.bodies} == {(0.0, 1.0)}


def test_a_killed_recorder_goes_on_where_it_was(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    rewards = tmp_path / "rewards.jsonl"
    rewards.write_text('{"rollout": "shed", "attempt": "0", "reward": 1.0}\n', encoding="utf-8")
    with ModelServer(rule) as server:
        words = [sys.executable, "-m", "agentlab", "record", "--upstream", server.base_url]
        words += ["--workspace", str(workspace), "--terms", "own", "--rewards", str(rewards)]
        environment = {**os.environ, "OPENAI_API_KEY": "upstream-key-0123456789"}

        def start() -> tuple[subprocess.Popen[str], str]:
            process = subprocess.Popen(
                [*words, "--json"],
                env=environment,
                stderr=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stderr is not None
            line = process.stderr.readline()
            assert "Recording at " in line, line
            return process, line.split("Recording at ")[1].split("/r/")[0]

        first, base = start()
        play(openai.OpenAI(base_url=f"{base}/r/shed/a/0/v1", api_key=KEY))
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=30)
        second, _ = start()
        second.send_signal(signal.SIGINT)
        out, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert json.loads(out) == {"run": "recorded", "ended_from_file": 1, "under_way": []}
    with Records.open(Workspace.open(workspace, create=False)) as records:
        outcome = next(records.trajectories.exportable("recorded")).outcome
    assert outcome.trajectory is not None
    assert len(outcome.trajectory.model_calls) == 2
    assert outcome.score.success is True
