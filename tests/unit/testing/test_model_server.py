"""The test server as the real client sees it: the protocol, streams, many at once, a process."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import openai
import pytest
from openai.types.chat import ChatCompletion

from agentlab.testing.model_server import FaultPlan, ModelServer, Rule, server_process
from agentlab.testing.model_server.tokens import pieces
from agentlab.types import ChatReply, ChatRequest, Message, ToolUse

TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}
CALLS = (
    ToolUse(id="call_1", name="add", arguments='{"a": 1, "b": "é ✓ ü"}'),
    ToolUse(id="call_2", name="add", arguments='{"a": 2}'),
)


def words(request: ChatRequest) -> str:
    return f"You said: {request.messages[-1].text}. One two three."


def calls(request: ChatRequest) -> Message:
    return Message(role="assistant", text="Adding.", tool_uses=CALLS)


def using(
    rule: Rule, body: Callable[[openai.AsyncOpenAI, ModelServer], Awaitable[None]], **options: Any
) -> ModelServer:
    server = ModelServer(rule, **options)

    async def run() -> None:
        async with openai.AsyncOpenAI(
            base_url=server.base_url, api_key="none", max_retries=0, timeout=10
        ) as client:
            await body(client, server)

    with server:
        asyncio.run(run())
    return server


async def ask(client: openai.AsyncOpenAI, text: str = "hi", **options: Any) -> ChatCompletion:
    options = {"model": "m", "messages": [{"role": "user", "content": text}], **options}
    return cast("ChatCompletion", await client.chat.completions.create(**options))


async def put_together(client: openai.AsyncOpenAI, **options: Any) -> dict[str, Any]:
    """What a stream amounts to, in the form of an answer that came whole."""
    text, reason, ids, prompt_ids, logprobs = "", None, list[int](), cast("Any", None), list[Any]()
    made: dict[int, dict[str, str]] = {}
    usage = None
    stream: Any = await ask(client, stream=True, **options)
    async for chunk in stream:
        usage = chunk.usage or usage
        extra = cast("dict[str, Any]", chunk.model_extra or {})
        prompt_ids = extra.get("prompt_token_ids", prompt_ids)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
            drawn = cast("dict[str, Any]", choice.model_extra or {})
            ids += drawn.get("token_ids") or []
            logprobs += choice.logprobs.content if choice.logprobs else []
            for call in choice.delta.tool_calls or ():
                known = made.setdefault(call.index, {"id": call.id, "name": "", "arguments": ""})
                known["name"] += call.function.name or ""
                known["arguments"] += call.function.arguments or ""
    return {
        "text": text,
        "reason": reason,
        "calls": [made[index] for index in sorted(made)],
        "usage": usage.model_dump() if usage else None,
        "ids": ids,
        "prompt_ids": prompt_ids,
        "logprobs": [part.model_dump() for part in logprobs],
    }


def as_whole(answer: ChatCompletion) -> dict[str, Any]:
    choice = answer.choices[0]
    used: list[Any] = list(choice.message.tool_calls or ())
    return {
        "text": choice.message.content or "",
        "reason": choice.finish_reason,
        "calls": [
            {"id": c.id, "name": c.function.name, "arguments": c.function.arguments} for c in used
        ],
        "usage": answer.usage.model_dump() if answer.usage else None,
        "ids": (choice.model_extra or {}).get("token_ids") or [],
        "prompt_ids": (answer.model_extra or {}).get("prompt_token_ids"),
        "logprobs": [
            part.model_dump()
            for part in ((choice.logprobs.content or []) if choice.logprobs else [])
        ],
    }


@pytest.mark.parametrize("rule", [words, calls])
@pytest.mark.parametrize("rich", [False, True])
def test_a_stream_amounts_to_the_whole_answer(rule: Rule, rich: bool) -> None:
    options: dict[str, Any] = {"tools": [TOOL]}
    if rich:
        options |= {"logprobs": True, "extra_body": {"return_token_ids": True}}

    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        whole = as_whole(await ask(client, **options))
        streamed = await put_together(client, stream_options={"include_usage": True}, **options)
        assert streamed == whole
        assert bool(whole["ids"]) is rich
        without = await put_together(client, **options)
        assert without["usage"] is None and without["text"] == whole["text"]

    using(rule, body)


def test_usage_token_ids_and_log_probabilities_agree() -> None:
    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        answer = await ask(client, logprobs=True, extra_body={"return_token_ids": True})
        whole = as_whole(answer)
        assert len(whole["ids"]) == len(whole["logprobs"]) == whole["usage"]["completion_tokens"]
        assert len(whole["prompt_ids"]) == whole["usage"]["prompt_tokens"]
        assert "".join(part["token"] for part in whole["logprobs"]) == whole["text"]
        assert all(part["logprob"] < 0 for part in whole["logprobs"])
        assert whole["usage"]["total_tokens"] == sum(
            whole["usage"][name] for name in ("prompt_tokens", "completion_tokens")
        )

    using(words, body)


def test_the_rule_sees_the_request() -> None:
    history: list[dict[str, Any]] = [
        {"role": "developer", "content": "Rules."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Go "}, {"type": "text", "text": "on"}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "shape", "schema": {"type": "object"}}}

    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        await ask(
            client, messages=history, tools=[TOOL], seed=7, stop=["END"], temperature=0.5,
            max_completion_tokens=50, response_format=form, parallel_tool_calls=False,
        )  # fmt: skip

    (seen,) = using(words, body).requests
    assert [m.role for m in seen.messages] == ["system", "user", "assistant", "tool"]
    assert seen.messages[1].text == "Go on"
    assert seen.messages[2].tool_uses == (ToolUse(id="c1", name="add", arguments="{}"),)
    assert seen.messages[3].tool_use_id == "c1"
    assert seen.tools[0].name == "add" and not seen.parallel_tool_calls
    assert (seen.schema_name, seen.reply_schema) == ("shape", {"type": "object"})
    sampling = seen.sampling
    assert (sampling.seed, sampling.stop, sampling.temperature) == (7, ("END",), 0.5)
    assert sampling.max_tokens == 50


def test_limits_of_the_request_are_kept() -> None:
    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        stopped = as_whole(await ask(client, stop=["two"]))
        assert stopped["text"] == "You said: hi. One " and stopped["reason"] == "stop"
        short = as_whole(await ask(client, max_tokens=3))
        assert short["text"] == "".join(pieces("You said: hi. One two three.")[:3])
        assert short["reason"] == "length" and short["usage"]["completion_tokens"] == 3

    using(words, body)

    async def one_call(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        single = as_whole(await ask(client, tools=[TOOL], parallel_tool_calls=False))
        assert [call["id"] for call in single["calls"]] == ["call_1"]
        cut = as_whole(await ask(client, tools=[TOOL], max_tokens=38))
        assert cut["reason"] == "length"
        assert CALLS[0].arguments.startswith(cut["calls"][0]["arguments"])
        with pytest.raises(ValueError):
            json.loads(cut["calls"][0]["arguments"])

    using(calls, one_call)


def test_the_reason_that_a_rule_gives_is_told() -> None:
    def filtered(_: ChatRequest) -> ChatReply:
        return ChatReply(
            message=Message(role="assistant"), stop_reason="content_filter", cached_tokens=2
        )

    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        answer = await ask(client)
        assert answer.choices[0].finish_reason == "content_filter"
        assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
        assert answer.usage.prompt_tokens_details.cached_tokens == 2

    using(filtered, body)


def _format(**schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "shape", **schema}}


USE = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
OPEN_OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"messages": []}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]}, "must follow"),
        (
            {
                "messages": [
                    {"role": "assistant", "content": "", "tool_calls": [USE]},
                    {"role": "user", "content": "and?"},
                ]
            },
            "must be followed",
        ),
        ({"tools": [{"type": "function", "function": {"name": "a.b"}}]}, "name of the tool"),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "a", "parameters": {"type": "x"}}}
                ]
            },
            "'object'",
        ),
        ({"response_format": _format(schema=OPEN_OBJECT, strict=True)}, "strict"),
        ({"response_format": {"type": "json_schema"}}, "name"),
        ({"n": 2}, "'n'"),
    ],
)
def test_what_endpoints_refuse_is_refused(options: dict[str, Any], why: str) -> None:
    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        with pytest.raises(openai.BadRequestError, match=why):
            await ask(client, **options)

    counters = using(words, body).counters()
    assert (counters.refused, counters.served, counters.rule_errors) == (1, 0, 0)
    assert why in counters.refusals[0]


def test_a_closed_schema_may_be_strict() -> None:
    closed: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}]}},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {
            "Inner": {
                "type": "object",
                "properties": {"properties": {"type": "string"}},
                "required": ["properties"],
                "additionalProperties": False,
            }
        },
    }

    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        await ask(client, response_format=_format(schema=closed, strict=True))
        closed["$defs"] = {"Inner": OPEN_OBJECT}
        with pytest.raises(openai.BadRequestError, match="strict"):
            await ask(client, response_format=_format(schema=closed, strict=True))

    using(words, body)


def test_an_endpoint_without_schemas_says_so() -> None:
    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        with pytest.raises(openai.BadRequestError, match="not supported"):
            await ask(client, response_format=_format(schema={"type": "object"}))
        assert (await ask(client)).choices[0].message.content

    using(words, body, schemas=False)


def test_keys_addresses_and_rules_that_are_wrong() -> None:
    def broken(_: ChatRequest) -> str:
        raise ValueError("no idea")

    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        with pytest.raises(openai.InternalServerError, match="no idea"):
            await ask(client)
        with pytest.raises(openai.AuthenticationError):
            await ask(client.with_options(api_key="other"))
        with pytest.raises(openai.NotFoundError):
            await client.images.generate(prompt="a cat")

    counters = using(broken, body, key="none").counters()
    assert (counters.rule_errors, counters.refused) == (1, 2)


def test_models_and_embeddings() -> None:
    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        assert [model.id async for model in client.models.list()] == ["small", "large"]
        texts = ["carry the red parcel", "carry the blue parcel", "quite something else", ""]
        found = await client.embeddings.create(model="e", input=texts)
        again = await client.embeddings.create(model="e", input=texts, encoding_format="float")
        one = await client.embeddings.create(model="e", input=texts[0], dimensions=16)
        vectors = [item.embedding for item in found.data]
        for packed, plain in zip(vectors, again.data, strict=True):
            assert packed == pytest.approx(plain.embedding, abs=1e-6)
            assert math.hypot(*packed) == pytest.approx(1.0, abs=1e-6)
        assert len(one.data[0].embedding) == 16
        near, far = (
            sum(a * b for a, b in zip(vectors[0], vectors[n], strict=True)) for n in (1, 2)
        )
        assert near > far

    using(words, body, models=("small", "large"))


def test_64_are_served_at_once() -> None:
    async def body(client: openai.AsyncOpenAI, server: ModelServer) -> None:
        await asyncio.gather(*(ask(client, f"warm {n}") for n in range(64)))
        answers = await asyncio.gather(*(ask(client, f"task {n}") for n in range(64)))
        said = [as_whole(answer)["text"] for answer in answers]
        assert said == [f"You said: task {n}. One two three." for n in range(64)]
        counters = server.counters()
        assert counters.most_in_flight == 64
        assert counters.connections <= 64  # kept alive between the rounds

    counters = using(words, body, latency=0.2).counters()
    assert (counters.chat, counters.served, counters.distinct, counters.in_flight) == (128,) * 3 + (
        0,
    )


def test_the_same_request_gets_the_same_bytes() -> None:
    async def body(client: openai.AsyncOpenAI, _: ModelServer) -> None:
        first, second = [await ask(client, tools=[TOOL]) for _ in range(2)]
        assert first.model_dump() == second.model_dump()

    using(calls, body)


def test_bytes_that_are_no_request_end_the_connection_alone() -> None:
    async def body(client: openai.AsyncOpenAI, server: ModelServer) -> None:
        port = int(server.address.rpartition(":")[2])
        for sent in (
            b"\x16\x03\x01\x02\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"POST /v1/models HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            assert (await reader.read(13)).startswith(b"HTTP/1.1 4")
            writer.close()
        assert (await ask(client)).choices[0].message.content

    using(words, body)


def test_closing_ends_calls_that_wait() -> None:
    async def run() -> None:
        server = ModelServer(words, latency=60.0)
        server.start()

        def wait_for_a_call() -> None:
            while not server.counters().in_flight:
                time.sleep(0.01)

        async with openai.AsyncOpenAI(
            base_url=server.base_url, api_key="none", max_retries=0
        ) as client:
            waiting = asyncio.create_task(ask(client))
            await asyncio.to_thread(wait_for_a_call)
            await asyncio.to_thread(server.close)
            with pytest.raises(openai.APIConnectionError):
                await waiting

    asyncio.run(run())


def test_a_port_that_is_taken_is_an_error() -> None:
    with ModelServer(words) as server:
        port = int(server.address.rpartition(":")[2])
        with pytest.raises(OSError):
            ModelServer(words, port=port).start()


def test_as_a_process_of_its_own() -> None:
    async def run(base_url: str) -> None:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            answer = await ask(client, "⟦Go to the mill.⟧")
            assert "do not see" in str(answer.choices[0].message.content)

    with server_process("courier", faults=FaultPlan(rate=1.0, most_in_a_row=1)) as server:
        with pytest.raises(openai.APIError):
            asyncio.run(run(server.base_url))
        server.plan(FaultPlan())
        asyncio.run(run(server.base_url))
        counters = server.counters()
        assert (counters.chat, counters.served) == (2, 1)
    with pytest.raises(RuntimeError, match="without telling"), server_process("no_such"):
        pass
