"""Chat over HTTP against a real server: what arrives there and what comes back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from agentlab.errors import ConfigError, ModelFaultError
from agentlab.models.faults import ContextFullError, PassingFaultError, RefusedRequestError
from agentlab.models.openai_chat import OpenAIChat
from agentlab.models.openai_client import ChatEndpoint, find_address
from agentlab.models.opening import Endpoints, open_model
from agentlab.models.structured import ask
from agentlab.testing.model_server import FaultPlan, ModelServer
from agentlab.types import (
    ChatReply,
    ChatRequest,
    Frozen,
    Message,
    Sampling,
    ToolSpec,
    ToolUse,
)
from tests.unit.models.raw_server import Answer, Raw, good

CANARY = "sk-canary-1234567890abcdef"
LOOK = ToolSpec(
    name="look",
    description="Looks.",
    parameters={"type": "object", "properties": {"at": {"type": "string"}}},
)
T = TypeVar("T")


def request(text: str = "hi", **rest: Any) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", text=text),), **rest)


def with_chat(
    url: str,
    work: Callable[[OpenAIChat], Awaitable[T]],
    *,
    key: str | None = None,
    timeout: float = 10.0,
    largest: int = 1_000_000,
    stream: bool = False,
) -> T:
    """Do something with a chat model at an address, without retries, and close it."""

    async def run() -> T:
        endpoint = ChatEndpoint(find_address(url, key), timeout=timeout, largest=largest)
        try:
            return await work(OpenAIChat("openai:m", model="m", endpoint=endpoint, stream=stream))
        finally:
            await endpoint.close()

    return asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_with_parallel_tool_calls(stream: bool) -> None:
    def rule(asked: ChatRequest) -> Message | str:
        if asked.messages[-1].role == "tool":
            return "done: " + ", ".join(m.text for m in asked.messages if m.role == "tool")
        uses = (
            ToolUse(id="a", name="look", arguments='{"at": "küche"}'),
            ToolUse(id="b", name="look", arguments='{"at": "hall"}'),
        )
        return Message(role="assistant", text="Both.", tool_uses=uses)

    async def talk(chat: OpenAIChat) -> tuple[ChatReply, ChatReply]:
        asked = request(tools=(LOOK,))
        first = await chat.chat(asked)
        answers = tuple(
            Message(role="tool", text=f"saw {use.id}", tool_use_id=use.id)
            for use in first.message.tool_uses
        )
        messages = (*asked.messages, first.message, *answers)
        return first, await chat.chat(asked.model_copy(update={"messages": messages}))

    with ModelServer(rule) as server:
        first, second = with_chat(server.base_url, talk, stream=stream)
        seen = server.requests
    assert first.stop_reason == "tool_calls"
    assert first.message.text == "Both."
    assert [json.loads(use.arguments)["at"] for use in first.message.tool_uses] == ["küche", "hall"]
    assert second.message.text == "done: saw a, saw b"
    assert second.prompt_tokens > first.prompt_tokens > 0 < second.output_tokens
    assert seen[0].tools == (LOOK,)
    assert seen[1].messages[1] == first.message


@pytest.mark.parametrize("stream", [False, True])
def test_sampling_arrives_and_ids_and_probabilities_come_back_as_given(stream: bool) -> None:
    sampling = Sampling(
        temperature=0.25, top_p=0.5, max_tokens=7, seed=11, stop=("END",), logprobs=True
    )
    asked = request(sampling=sampling)
    with ModelServer(lambda _: "one two END three") as server:
        plain = with_chat(server.base_url, lambda chat: chat.chat(asked), stream=stream)
        ids = sampling.model_copy(update={"token_ids": True})
        both = request(sampling=ids)
        full = with_chat(server.base_url, lambda chat: chat.chat(both), stream=stream)
        seen = server.requests
    assert seen[0].sampling == sampling
    assert seen[1].sampling == ids
    assert plain.output_token_ids is None is plain.prompt_token_ids
    assert full.message.text == "one two "
    assert full.output_token_ids and full.prompt_token_ids and full.log_probabilities
    assert len(full.output_token_ids) == len(full.log_probabilities) == full.output_tokens
    assert len(full.prompt_token_ids) == full.prompt_tokens


def test_a_reply_is_the_same_in_parts_and_whole() -> None:
    uses = (ToolUse(id="a", name="look", arguments=json.dumps({"at": "x" * 300})),)
    said = Message(role="assistant", text="Let me see 😀. " * 9, tool_uses=uses)
    with ModelServer(lambda _: said) as server:
        replies = [
            with_chat(
                server.base_url,
                lambda chat: chat.chat(
                    request(tools=(LOOK,), sampling=Sampling(token_ids=True, logprobs=True))
                ),
                stream=stream,
            )
            for stream in (False, True)
        ]
    assert replies[0] == replies[1]
    assert replies[0].message == said


class Number(Frozen):
    number: int


@pytest.mark.parametrize("schemas", [True, False])
def test_a_schema_goes_to_endpoints_that_take_it_and_into_words_for_others(schemas: bool) -> None:
    async def twice(chat: OpenAIChat) -> list[Number | None]:
        return [await ask(chat, request(text), Number) for text in ("one", "two")]

    with ModelServer(lambda _: '{"number": 4}', schemas=schemas) as server:
        assert with_chat(server.base_url, twice) == [Number(number=4)] * 2
        seen, counters = server.requests, server.counters()
    if schemas:
        assert [r.reply_schema is not None for r in seen] == [True, True]
    else:
        # Refused once, and remembered.
        assert counters.refused == 1
        assert all('"number"' in r.messages[0].text for r in seen[-2:])
        assert all(r.reply_schema is None for r in seen[-2:])


# --- what no proper server says -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "outage", "told"),
    [
        (b"", PassingFaultError, "no", "no JSON"),
        (b"\xff\xfe\x00", PassingFaultError, "no", "no JSON"),
        (b'{"choices": []}', PassingFaultError, "no", "no message"),
        (good("x" * 2_000_000), PassingFaultError, "no", "more than 1000000 bytes"),
        (Answer(200, good(), {"Content-Length": "999"}), PassingFaultError, "no", "failed at chat"),
        (Answer(429, b"slow down", {"Retry-After": "3"}), PassingFaultError, "yes", "slow down"),
        (Answer(500, b'{"error": {"message": "oops"}}'), PassingFaultError, "perhaps", "oops"),
        (Answer(503, b"\xff" * 9), PassingFaultError, "yes", "failed at chat"),
        (Answer(409, b""), PassingFaultError, "no", "409"),
        (Answer(401, b'{"error": "no such key"}'), RefusedRequestError, "", "no such key"),
        (
            Answer(429, b'{"error": {"code": "insufficient_quota", "message": "pay"}}'),
            RefusedRequestError,
            "",
            "pay",
        ),
        (
            Answer(307, b"", {"Location": "http://127.0.0.1:1/"}),
            RefusedRequestError,
            "",
            "elsewhere",
        ),
    ],
)
def test_failures_say_whether_they_may_pass(
    answer: Answer | bytes, kind: type[ModelFaultError], outage: str, told: str
) -> None:
    with Raw(answer) as server:
        with pytest.raises(kind, match=told) as caught:
            with_chat(server.url, lambda chat: chat.chat(request()))
        assert len(server.got) == 1, "the client must not try again by itself"
    assert len(str(caught.value)) < 1000
    if isinstance(caught.value, PassingFaultError):
        assert caught.value.outage == outage
        assert caught.value.retry_after == ("3" if "slow" in told else None)


def test_a_stream_that_ends_early_is_a_fault() -> None:
    part = b'data: {"choices": [{"delta": {"content": "half"}, "finish_reason": "stop"}]}\n\n'
    with Raw(part, part + b"data: [DONE]\n\n") as server:
        with pytest.raises(PassingFaultError, match="cut off"):
            with_chat(server.url, lambda chat: chat.chat(request()), stream=True)
        whole = with_chat(server.url, lambda chat: chat.chat(request()), stream=True)
    assert whole.message.text == "half"


def test_silence_and_absence_are_outages() -> None:
    with ModelServer(
        lambda _: "hi", faults=FaultPlan(rate=1, failures=("timeout",), hang=5)
    ) as server:
        with pytest.raises(PassingFaultError, match=r"no answer within 0\.2 s") as caught:
            with_chat(server.base_url, lambda chat: chat.chat(request()), timeout=0.2)
        url = server.base_url
    assert caught.value.outage == "yes"
    with pytest.raises(PassingFaultError, match="ConnectError") as gone:
        with_chat(url, lambda chat: chat.chat(request()))
    assert gone.value.outage == "yes"


@pytest.mark.parametrize(
    "refused",
    [
        b'{"error": {"message": "Too long.", "code": "context_length_exceeded"}}',
        b'{"error": {"message": "The maximum context length is 1024 tokens.", "code": 400}}',
    ],
)
def test_a_conversation_that_is_too_long_is_told_from_other_refusals(refused: bytes) -> None:
    with Raw(Answer(400, refused)) as server, pytest.raises(ContextFullError):
        with_chat(server.url, lambda chat: chat.chat(request()))


def test_the_limit_on_tokens_goes_by_the_name_that_the_endpoint_knows() -> None:
    refused = b'{"error": {"message": "Use \'max_completion_tokens\' instead."}}'
    with Raw(Answer(400, refused), good(), good()) as server:

        async def twice(chat: OpenAIChat) -> None:
            await chat.chat(request())
            await chat.chat(request())

        with_chat(server.url, twice)
        sent = [
            sorted(name for name in body if "tokens" in name)
            for body in (got.body for got in server.got)
        ]
    assert sent == [["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]
    with Raw(Answer(400, refused)) as server:
        with pytest.raises(RefusedRequestError):
            with_chat(server.url, lambda chat: chat.chat(request()))
        assert len(server.got) == 2


def test_a_refusal_that_is_not_about_the_schema_is_told_and_not_remembered() -> None:
    long = Answer(400, b'{"error": "the prompt is too long"}')
    with Raw(long, long, b'{"choices": [{"message": {"content": "{\\"number\\": 1}"}}]}') as server:

        async def twice(chat: OpenAIChat) -> Number | None:
            with pytest.raises(RefusedRequestError, match="too long"):
                await ask(chat, request("long"), Number)
            return await ask(chat, request("short"), Number)

        assert with_chat(server.url, twice) == Number(number=1)
        assert ["response_format" in body for body in (got.body for got in server.got)] == [
            True,
            False,
            True,
        ]


# --- secrets ----------------------------------------------------------------------------------


def test_a_key_is_in_no_error_reply_log_or_repr(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    caplog.set_level(logging.DEBUG)
    echo = good(f"Your header was Bearer {CANARY}.")
    answers: list[Answer | bytes] = [
        echo,
        Answer(401, f"Incorrect key: {CANARY}".encode()),
        Answer(500, json.dumps({"error": {"message": CANARY, "code": CANARY}}).encode()),
        f"no JSON {CANARY}".encode(),
        json.dumps({"error": CANARY}).encode(),
    ]
    told: list[str] = []
    with Raw(*answers) as server:

        async def run() -> None:
            endpoints = Endpoints()
            try:
                shared = endpoints.at(find_address(server.url))
                chat = OpenAIChat("openai:m", model="m", endpoint=shared.endpoint)
                told.extend([repr(chat), repr(find_address(server.url)), repr(endpoints)])
                told.append((await chat.chat(request())).model_dump_json())
                with_key = request(f"The tool says {CANARY}")
                for _ in answers[1:]:
                    with pytest.raises(ModelFaultError) as caught:
                        await chat.chat(with_key)
                    told.extend([str(caught.value), repr(caught.value)])
                    # Nothing in the chain holds the request with its headers.
                    assert not hasattr(caught.value.__context__, "request")
                    assert not hasattr(caught.value.__cause__, "request")
            finally:
                await endpoints.close()

        asyncio.run(run())
        assert server.got[0].headers["authorization"] == f"Bearer {CANARY}"
        assert all(CANARY not in str(got.body) for got in server.got), "nor in a prompt"
    text = "\n".join([*told, caplog.text])
    assert "[key]" in text
    assert CANARY not in text


@pytest.mark.parametrize("key", [f"{CANARY}\nX-Evil: 1", f"{CANARY}ü", f"{CANARY}\x00"])
def test_a_key_that_no_header_can_hold_is_refused_without_telling_it(key: str) -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        find_address("http://127.0.0.1:1/v1", key)
    assert CANARY not in str(caught.value)


def test_a_secret_in_an_address_is_refused_without_telling_it() -> None:
    for url in (
        f"http://me:{CANARY}@127.0.0.1:1/v1",
        f"http://{CANARY}@127.0.0.1:1/v1",
        f"http://127.0.0.1:1/v1?version=1&key={CANARY}",
        f"http://127.0.0.1:1/v1?access_token={CANARY}",
    ):
        with pytest.raises(ConfigError, match="password or key") as caught:
            find_address(url)
        assert CANARY not in str(caught.value)


def test_open_model_needs_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL"):
        open_model("openai:m")
