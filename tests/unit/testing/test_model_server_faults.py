"""Faults of the test server: each kind as the client meets it, and what a seed fixes of them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from email.utils import parsedate_to_datetime
from typing import Any, cast

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from agentlab.testing.model_server import (
    BAD_CALLS,
    FAILURES,
    BadCall,
    Failure,
    FaultPlan,
    ModelServer,
    malformed,
)
from agentlab.testing.model_server.faults import HUGE, Faults
from agentlab.types import ChatRequest, Message, ToolSpec, ToolUse

USE = ToolUse(id="c", name="move", arguments='{"source": "a.txt", "destination": "b.txt"}')
TOOL = ToolSpec(
    name="move",
    description="Move.",
    parameters={
        "type": "object",
        "properties": {"source": {"type": "string"}, "destination": {"type": "string"}},
    },
)
REQUEST = ChatRequest(messages=(Message(role="user", text="hi"),), tools=(TOOL,))
FUNCTION = {
    "type": "function",
    "function": TOOL.model_dump(include={"name", "description", "parameters"}),
}


def words(request: ChatRequest) -> str:
    return f"You said: {request.messages[-1].text}"


def calls(_: ChatRequest) -> Message:
    return Message(role="assistant", tool_uses=(USE,))


def opened(server: ModelServer) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=10)


async def ask(client: openai.AsyncOpenAI, text: str = "hi", **options: Any) -> ChatCompletion:
    options = {"model": "m", "messages": [{"role": "user", "content": text}], **options}
    create: Any = client.chat.completions.create
    answer: Any = await create(**options)
    if options.get("stream"):
        async for _ in answer:
            pass
    return cast("ChatCompletion", answer)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", FAILURES)
def test_each_failure_is_met_and_then_over(kind: Failure, stream: bool) -> None:
    async def run(server: ModelServer) -> None:
        async with opened(server) as client:
            patience = 0.4 if kind == "timeout" else 10
            with pytest.raises(Exception) as met:
                await ask(client, stream=stream, timeout=patience)
            await ask(client, stream=stream)
        error = met.value
        match kind:
            case "429" | "429-seconds" | "429-date":
                assert isinstance(error, openai.RateLimitError)
                after = error.response.headers.get("retry-after")
                if kind == "429":
                    assert after is None
                elif kind == "429-seconds":
                    assert after == "3"
                else:
                    assert after is not None
                    assert parsedate_to_datetime(after).timestamp() == 1_000_003
            case "500" | "503":
                assert isinstance(error, openai.InternalServerError)
                assert error.status_code == int(kind)
            case "timeout":
                assert isinstance(error, openai.APITimeoutError)
            case "hangup":
                assert isinstance(error, openai.APIConnectionError)
            case "cut" | "malformed":
                # What these are called is the client's business; that they are errors is ours.
                assert not isinstance(error, openai.APIStatusError)

    plan = FaultPlan(rate=1, most_in_a_row=1, failures=(kind,), retry_after=2.5)
    with ModelServer(words, faults=plan, wall=lambda: 1_000_000.0) as server:
        asyncio.run(run(server))
        counters = server.counters()
    assert counters.failures == {kind: 1}
    assert (counters.chat, counters.served, counters.most_tries) == (2, 1, 2)


def test_a_mixed_rate_is_survived_by_five_tries() -> None:
    async def run(server: ModelServer) -> list[str]:
        async with opened(server) as client:

            async def insist(text: str) -> str:
                for _ in range(5):
                    try:
                        answer = await ask(client, text)
                        return str(answer.choices[0].message.content)
                    except (openai.APIError, ValueError):
                        await asyncio.sleep(0)
                raise AssertionError(f"five tries were not enough for {text}")

            return await asyncio.gather(*(insist(f"task {n % 50}") for n in range(70)))

    counted: list[dict[str, int]] = []
    for _ in range(2):
        with ModelServer(words, faults=FaultPlan(rate=0.3, seed=3, hang=0.05)) as server:
            said = asyncio.run(run(server))
            counters = server.counters()
        assert said == [f"You said: task {n % 50}" for n in range(70)]
        assert counters.served == 70
        assert counters.chat == 70 + sum(counters.failures.values())
        counted.append(counters.failures)
    assert counted[0] == counted[1]
    assert len(counted[0]) >= 6


@given(
    rate=st.floats(0, 1),
    most=st.integers(0, 6),
    seed=st.integers(0, 1000),
    arrivals=st.lists(st.sampled_from("abc"), max_size=40),
)
def test_no_call_meets_more_failures_than_the_plan_allows(
    rate: float, most: int, seed: int, arrivals: list[str]
) -> None:
    """In whatever order they come: a content's failures are all among its first `most` tries."""
    faults = Faults(FaultPlan(rate=rate, most_in_a_row=most, seed=seed))
    met: dict[str, list[Failure | None]] = {}
    for content in arrivals:
        met.setdefault(content, []).append(faults.failure(content))
    for content, drawn in met.items():
        failed = [kind for kind in drawn if kind is not None]
        assert len(failed) <= most
        assert drawn == failed + [None] * (len(drawn) - len(failed))
        alone = Faults(FaultPlan(rate=rate, most_in_a_row=most, seed=seed))
        assert [alone.failure(content) for _ in drawn] == drawn


def test_the_rate_is_the_plans_where_contents_differ() -> None:
    faults = Faults(FaultPlan(rate=0.3))
    met: Counter[str] = Counter()
    for n in range(3000):
        while (kind := faults.failure(str(n))) is not None:
            met[kind] += 1
    rate = met.total() / (met.total() + 3000)
    # Four in a row at most makes it 0.2985; the standard error is 0.007.
    assert 0.27 < rate < 0.33
    assert set(met) == set(FAILURES)
    assert min(met.values()) > 0.7 * met.total() / len(FAILURES)


def test_calls_that_are_named_are_counted_each_by_itself() -> None:
    async def run(server: ModelServer) -> None:
        async with opened(server) as client:
            for name in ("one", "two"):
                with pytest.raises(openai.InternalServerError):
                    await ask(client, extra_headers={"Idempotency-Key": name})
                await ask(client, extra_headers={"Idempotency-Key": name})

    with ModelServer(words, faults=FaultPlan(rate=1, most_in_a_row=1, failures=("500",))) as server:
        asyncio.run(run(server))
        assert server.counters().failures == {"500": 2}


def test_an_outage_lasts_by_the_servers_clock() -> None:
    now = 0.0

    async def run(server: ModelServer) -> None:
        nonlocal now
        async with opened(server) as client:
            await ask(client)
            for then in (60.0, 600.0, 659.9):
                now = then
                with pytest.raises(openai.InternalServerError, match="down"):
                    await ask(client)
                with pytest.raises(openai.InternalServerError):
                    await client.models.list()
            now = 660.0
            await ask(client)

    with ModelServer(
        words, faults=FaultPlan(outages=((60.0, 660.0),)), clock=lambda: now
    ) as server:
        asyncio.run(run(server))
        counters = server.counters()
        assert (counters.failures, counters.served) == ({"outage": 6}, 2)


@pytest.mark.parametrize("stream", [False, True])
def test_usage_that_is_missing_or_false(stream: bool) -> None:
    async def told(server: ModelServer) -> Any:
        async with opened(server) as client:
            options: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
            create: Any = client.chat.completions.create
            if not stream:
                return (await create(**options)).usage
            options |= {"stream": True, "stream_options": {"include_usage": True}}
            usages: list[Any] = []
            async for chunk in await create(**options):
                usages.append(chunk.usage)
            return usages[-1]

    found: dict[str, Any] = {}
    for lie in ("missing", "zero", "huge", "negative"):
        with ModelServer(words, faults=FaultPlan(usage_rate=1, usage_lies=(lie,))) as server:
            found[lie] = asyncio.run(told(server))
            counters = server.counters()
        assert counters.distortions == {lie: 1}
        true = counters.prompt_tokens
        assert true > 0 and counters.served == 1
        if lie != "missing":
            factor = {"zero": 0, "huge": 1_000_000, "negative": -1}[lie]
            assert found[lie].prompt_tokens == true * factor
    assert found["missing"] is None


@pytest.mark.parametrize("kind", BAD_CALLS)
@settings(max_examples=15)
@given(seed=st.integers(0, 1000))
def test_malformed_calls_are_malformed(kind: BadCall, seed: int) -> None:
    made = malformed(USE, kind, REQUEST, seed)
    assert made == malformed(USE, kind, REQUEST, seed)
    match kind:
        case "unknown_tool":
            assert made.name != USE.name
        case "huge":
            assert len(made.arguments) > HUGE
        case "empty":
            assert not made.arguments.strip()
        case "not_utf8" | "surrogate":
            with pytest.raises(UnicodeEncodeError):
                json.dumps(json.loads(made.arguments), ensure_ascii=False).encode()
        case "not_object":
            assert not isinstance(json.loads(made.arguments), dict)
        case "wrong_types":
            wrong = json.loads(made.arguments)
            assert set(wrong) == {"source", "destination"}
            assert not any(isinstance(value, str) for value in wrong.values())
        case "bad_json":
            with pytest.raises(ValueError):
                json.loads(made.arguments)


@pytest.mark.parametrize("kind", BAD_CALLS)
def test_malformed_calls_arrive(kind: BadCall) -> None:
    async def run(server: ModelServer) -> str | None:
        async with opened(server) as client:
            try:
                answer = await ask(client, tools=[FUNCTION])
            except UnicodeDecodeError:
                return None
            except openai.APIError as error:
                assert isinstance(error.__cause__, UnicodeDecodeError)
                return None
            used: Any = answer.choices[0].message.tool_calls
            assert len(used) == 1
            return used[0].function.name + used[0].function.arguments

    with ModelServer(calls, faults=FaultPlan(call_rate=1, bad_calls=(kind,))) as server:
        arrived = asyncio.run(run(server))
        assert server.counters().distortions == {kind: 1}
    expected = malformed(USE, kind, REQUEST, 0)
    if kind == "not_utf8":
        assert arrived is None
    else:
        assert arrived == expected.name + expected.arguments


def test_words_are_no_malformed_calls() -> None:
    async def run(server: ModelServer) -> str | None:
        async with opened(server) as client:
            return (await ask(client)).choices[0].message.content

    with ModelServer(words, faults=FaultPlan(call_rate=1)) as server:
        assert asyncio.run(run(server)) == "You said: hi"
        assert server.counters().distortions == {}
