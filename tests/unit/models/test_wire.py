"""Requests and replies as JSON: what is sent, and that no answer is a crash."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.models.faults import PassingFaultError
from agentlab.models.replies import read_reply, read_stream
from agentlab.models.wire import request_body, strict_schema, wire_names
from agentlab.types import ChatReply, ChatRequest, JsonObject, Message, Sampling, ToolSpec, ToolUse

ADD = ToolSpec(name="math.add", description="Adds.", parameters={})
REQUEST = ChatRequest(messages=(Message(role="user", text="hi"),), tools=(ADD,))


def reply(message: object, **rest: object) -> ChatReply:
    body = {"choices": [{"message": message}], **rest}
    return read_reply(json.dumps(body).encode(), REQUEST, "It failed")


def test_a_request_says_everything_and_nothing_unasked() -> None:
    assert request_body(ChatRequest(messages=(Message(role="user", text="hi"),))) == {
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 1024,
    }
    sampling = Sampling(
        temperature=0.5, top_p=0.9, seed=0, stop=("end",), logprobs=True, token_ids=True
    )
    body = request_body(
        REQUEST.model_copy(update={"sampling": sampling, "parallel_tool_calls": False}),
        max_tokens="max_completion_tokens",
    )
    assert body | {"messages": 0, "tools": 0} == {
        "messages": 0,
        "tools": 0,
        "max_completion_tokens": 1024,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 0,
        "stop": ["end"],
        "logprobs": True,
        "return_token_ids": True,
        # What vLLM would otherwise take from the model's own file, untold.
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "parallel_tool_calls": False,
    }


def test_tools_get_names_that_endpoints_take_and_keep_their_own_here() -> None:
    other = ADD.model_copy(update={"name": "math/add"})
    assert wire_names((ADD, other)) == {"math.add": "math_add", "math/add": "math_add_2"}
    uses = reply(
        {"tool_calls": [{"id": "1", "function": {"name": "math_add", "arguments": "{}"}}]}
    ).message.tool_uses
    assert uses[0].name == "math.add"
    body = request_body(
        REQUEST.model_copy(
            update={
                "messages": (
                    Message(role="assistant", tool_uses=uses),
                    Message(role="tool", text="3", tool_use_id="1"),
                )
            }
        )
    )
    first, second = cast("list[dict[str, Any]]", body["messages"])
    assert first["tool_calls"][0]["function"] == {"name": "math_add", "arguments": "{}"}
    assert second == {"role": "tool", "content": "3", "tool_call_id": "1"}


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "null", "\\", "[" * 50_000])
def test_a_malformed_call_goes_back_as_an_object(arguments: str) -> None:
    use = ToolUse(id="1", name="rm -rf /", arguments=arguments)
    body = request_body(ChatRequest(messages=(Message(role="assistant", tool_uses=(use,)),)))
    (message,) = cast("list[dict[str, Any]]", body["messages"])
    function = message["tool_calls"][0]["function"]
    assert function["name"] == "rm_-rf__"
    sent = json.loads(function["arguments"])
    assert sent == ({"not_json": arguments} if arguments else {})


def test_a_strict_schema_says_the_same_or_nothing() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"a": {"type": "integer", "default": 3}, "default": {"type": "string"}},
        "required": ["default"],
    }
    assert strict_schema(schema) == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "default": {"type": "string"}},
        "required": ["a", "default"],
        "additionalProperties": False,
    }
    free: JsonObject = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert strict_schema({"type": "object", "properties": {"m": free}}) is None


def test_a_reply_is_read_whole() -> None:
    body = {
        "model": "m-1",
        "prompt_token_ids": [5, 6],
        "choices": [
            {
                "message": {"content": "hello"},
                "finish_reason": "length",
                "token_ids": [1, 2],
                "logprobs": {"content": [{"logprob": -0.1234567890123}, {"logprob": -9999}]},
            }
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }
    assert read_reply(json.dumps(body).encode(), REQUEST, "") == ChatReply(
        message=Message(role="assistant", text="hello"),
        stop_reason="length",
        model="m-1",
        prompt_tokens=7,
        output_tokens=2,
        cached_tokens=4,
        prompt_token_ids=(5, 6),
        output_token_ids=(1, 2),
        log_probabilities=(-0.1234567890123, -9999.0),
    )


def test_ids_and_probabilities_are_as_given_or_none() -> None:
    for bad in ([1, "2"], [1, True], [1, -1], [1, 2.0], "12", {"0": 1}, [2**40]):
        assert reply({"content": ""}, prompt_token_ids=bad).prompt_token_ids is None
    for bad in ('[{"logprob": NaN}]', "[{}]", '[{"logprob": -1e999}]', "[null]", "3"):
        raw = f'{{"choices": [{{"message": {{}}, "logprobs": {{"content": {bad}}}}}]}}'
        assert read_reply(raw.encode(), REQUEST, "").log_probabilities is None


def test_calls_without_ids_of_their_own_get_some() -> None:
    call = {"id": "x", "function": {"name": "f", "arguments": {"a": 1}}}
    found = reply({"tool_calls": [call, call, {}, None, {"id": 5, "function": "f"}]}).message
    assert len({use.id for use in found.tool_uses}) == 5
    assert all(use.id for use in found.tool_uses)
    assert [use.arguments for use in found.tool_uses] == ['{"a": 1}', '{"a": 1}', "", "", ""]


def test_what_is_no_utf8_is_text_but_no_json() -> None:
    raw = (
        b'{"choices": [{"message": {"content": "caf\xff", "tool_calls": [{"id": "1", "function": '
        b'{"name": "f\xff", "arguments": "{\\"x\\": \\"\xff\\"}"}}]}}]}'
    )
    message = read_reply(raw, REQUEST, "").message
    message.model_dump_json().encode()
    assert message.text == "caf\ufffd"
    assert message.tool_uses[0].name == "f\ufffd"
    with pytest.raises(ValueError, match="escape"):
        json.loads(message.tool_uses[0].arguments)


def test_whole_characters_beyond_the_first_plane_stay() -> None:
    raw = b'{"choices": [{"message": {"content": "\\ud83d\\ude00", "tool_calls": [{"function": {'
    raw += '"name": "f", "arguments": "{\\"x\\": \\"😀\\"}"}}]}}]}'.encode()
    message = read_reply(raw, REQUEST, "").message
    assert message.text == "😀"
    assert json.loads(message.tool_uses[0].arguments) == {"x": "😀"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"[]",
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": {}}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": [1]}]}',
        b'{"error": {"message": "overloaded"}}',
        b'{"choices": ' + b"[" * 100_000,
        b"\xff\xfe",
        b'{"choices": 1' + b"0" * 10_000 + b"}",
    ],
)
def test_an_answer_without_a_message_is_a_fault(raw: bytes) -> None:
    with pytest.raises(PassingFaultError, match="It failed"):
        read_reply(raw, REQUEST, "It failed")
    with pytest.raises(PassingFaultError, match="It failed"):
        read_stream(b"data: " + raw + b"\n\n", REQUEST, "It failed")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = (
    "id model usage prompt_token_ids token_ids logprobs finish_reason content tool_calls refusal "
    "function name arguments prompt_tokens completion_tokens prompt_tokens_details index delta"
).split()
WRONG = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6)


@given(WRONG, WRONG, WRONG, st.lists(WRONG | JSON, max_size=3), WRONG)
def test_fields_of_any_type_are_a_reply(
    top: JsonObject, choice: JsonObject, message: JsonObject, calls: list[object], usage: JsonObject
) -> None:
    for held in ({"message": {**message, "tool_calls": calls}}, {"delta": message}):
        body = {**top, "usage": usage, "choices": [{**choice, **held}]}
        raw = json.dumps(body).encode("utf-8", "surrogatepass")
        try:
            read = (
                read_reply(raw, REQUEST, "")
                if "message" in held
                else read_stream(b"data: " + raw + b"\ndata: [DONE]\n", REQUEST, "")
            )
        except PassingFaultError:
            continue
        read.model_dump_json().encode()
        assert ChatReply.model_validate(read.model_dump()) == read
