"""Rows as trainers want them, and what a format refuses instead of bending it."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from openai.types.chat import (
    ChatCompletionMessageParam,
    ChatCompletionMessageToolCallUnionParam,
    ChatCompletionToolParam,
)
from pydantic import TypeAdapter, ValidationError

from agentlab.training.formats.chat import MsSwift, OpenAIChat, TrlChat
from agentlab.training.formats.trl import TrlDpo, TrlGrpoReplay, TrlKto, TrlSft, tokens_of
from agentlab.training.refusals import RefusedError
from agentlab.training.samples import Demonstration, Group, Preference, Sample, Verdict
from tests.unit.training.attempts import rollout


def rows(form: Any, sample: Sample) -> list[dict[str, Any]]:
    # Through JSON, as trainers will read them.
    return [cast("dict[str, Any]", json.loads(json.dumps(row))) for row in form.rows(sample)]


def shown(*places: str, weights: tuple[float, ...] | None = None) -> Demonstration:
    made = rollout("r", places)
    return Demonstration(made, weights or (1.0,) * len(places))


def test_chat_weighs_each_reply() -> None:
    (row,) = rows(OpenAIChat(), shown("x", "y", weights=(1.0, 0.0)))
    replies = [m for m in row["messages"] if m["role"] == "assistant"]
    assert [m["weight"] for m in replies] == [1, 0]
    assert replies[0]["tool_calls"][0]["function"] == {"name": "go", "arguments": '{"to":"x"}'}
    assert row["messages"][3] == {"role": "tool", "content": "at x", "tool_call_id": "c0"}
    assert row["tools"][0]["function"]["name"] == "go"
    # What comes after the last reply answers it and teaches nothing.
    assert row["messages"][-1]["role"] == "assistant"


def spoken(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `chat` as OpenAI's own package reads it; what that does not know is dropped.

    Raises:
        ValidationError: a message or tool is none.
    """
    messages = TypeAdapter(list[ChatCompletionMessageParam])
    tools = TypeAdapter(list[ChatCompletionToolParam])
    # An iterable is checked only while it is read, so calls are looked at by themselves.
    calls = TypeAdapter(list[ChatCompletionMessageToolCallUnionParam])
    for message in row["messages"]:
        calls.validate_python(message.get("tool_calls", []))
    return {
        "messages": messages.dump_python(messages.validate_python(row["messages"]), mode="json"),
        "tools": tools.dump_python(tools.validate_python(row["tools"]), mode="json"),
    }


def test_chat_is_what_openai_s_package_reads_and_a_weight() -> None:
    (row,) = rows(OpenAIChat(), shown("x", "y", weights=(1.0, 0.0)))
    weights = [message.pop("weight", None) for message in row["messages"]]
    assert weights == [None, None, 1, None, 0]
    # Nothing is dropped, so there is no key that OpenAI's shape has not.
    assert spoken(row) == row


def test_what_is_no_chat_is_told_by_openai_s_package() -> None:
    (row,) = rows(TrlChat(), shown("x"))
    with pytest.raises(ValidationError, match="arguments"):
        spoken(row)


def test_trl_chat_gives_arguments_as_objects_and_refuses_a_mask() -> None:
    (row,) = rows(TrlChat(), shown("x"))
    assert row["messages"][2]["tool_calls"][0]["function"]["arguments"] == {"to": "x"}
    with pytest.raises(RefusedError, match="mask"):
        rows(TrlChat(), shown("x", "y", weights=(1.0, 0.0)))


def test_ms_swift_says_of_each_call_whether_it_counts() -> None:
    (row,) = rows(MsSwift(), shown("x", "y", weights=(0.0, 1.0)))
    roles = [m["role"] for m in row["messages"]]
    assert roles == ["system", "user", "tool_call", "tool_response", "tool_call"]
    assert [m["loss"] for m in row["messages"] if m["role"] == "tool_call"] == [False, True]
    assert json.loads(row["messages"][2]["content"]) == {"name": "go", "arguments": {"to": "x"}}
    assert isinstance(row["tools"], str)


def test_trl_sft_labels_what_was_drawn_and_counts() -> None:
    (row,) = rows(TrlSft(), shown("x", "y", weights=(1.0, 0.0)))
    assert row["input_ids"] == [1, 2, 10, 20, 3, 11, 21]
    assert row["labels"] == [-100, -100, 10, 20, -100, -100, -100]
    tokens = tokens_of(row)
    assert tokens is not None and tokens == (7, 2)


def test_an_all_zero_mask_is_refused() -> None:
    forms: list[Any] = [TrlSft(), OpenAIChat(), TrlChat(), MsSwift()]
    for form in forms:
        with pytest.raises(RefusedError, match="all-zero mask"):
            rows(form, shown("x", weights=(0.0,)))


def test_without_ids_there_are_no_rows_of_tokens() -> None:
    made = rollout("r", ["x"], ids=False)
    with pytest.raises(RefusedError, match="no token ids"):
        rows(TrlSft(), Demonstration(made, (1.0,)))
    assert rows(OpenAIChat(), Demonstration(made, (1.0,)))


def test_dpo_parts_where_the_attempts_do() -> None:
    good = rollout("good", ["a", "b"])
    bad = rollout("bad", ["a", "x", "z"], reward=0.0)
    (row,) = rows(TrlDpo(), Preference(good, bad, 2))
    assert [m["role"] for m in row["prompt"]] == ["system", "user", "assistant", "tool"]
    assert [m["role"] for m in row["chosen"]] == ["assistant"]
    assert row["chosen"][0]["tool_calls"][0]["function"]["arguments"] == {"to": "b"}
    # Two calls of the rejected one are shown; the third is cut off.
    assert row["rejected"][0]["tool_calls"][0]["function"]["arguments"] == {"to": "x"}
    assert len(row["rejected"]) == 1


def test_dpo_needs_a_difference() -> None:
    good = rollout("good", ["a"])
    longer = rollout("longer", ["a", "b"], reward=0.0)
    for bad in (good, longer):
        with pytest.raises(RefusedError, match="no difference"):
            rows(TrlDpo(), Preference(good, bad, 2))


def test_kto_labels_the_whole_attempt() -> None:
    (row,) = rows(TrlKto(), Verdict(rollout("r", ["a", "b"], reward=0.0), good=False))
    assert row["label"] is False
    assert [m["role"] for m in row["prompt"]] == ["system", "user"]
    assert [m["role"] for m in row["completion"]] == ["assistant", "tool", "assistant"]


def test_grpo_replay_holds_what_the_policy_drew() -> None:
    group = Group("g", (rollout("one", ["a", "b"]), rollout("two", ["c"], reward=0.0)))
    first, second = rows(TrlGrpoReplay(), group)
    assert first["prompt_ids"] == [1, 2]
    assert first["completion_ids"] == [10, 20, 3, 11, 21]
    assert first["env_mask"] == [1, 1, 0, 1, 1]
    assert first["logprobs"] == [-0.5, -0.25, -0.5, -0.25]
    assert (first["reward"], second["reward"]) == (1.0, 0.0)
    assert {first["group_id"], second["group_id"]} == {"g"}
    assert (first["rollout_id"], first["weight"]) == ("one", 1.0)


def test_grpo_replay_refuses_a_group_of_one() -> None:
    unknown = rollout("unknown", ["a"], reward=None)
    with pytest.raises(RefusedError, match="singleton group"):
        rows(TrlGrpoReplay(), Group("g", (rollout("one", ["a"]), unknown)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"log_probabilities": None}, "no log-probabilities"),
        ({"sampling": {"top_p": 0.8}}, "truncated sampling"),
        ({"log_probabilities": (-0.5,)}, "token ids that do not fit"),
    ],
)
def test_grpo_replay_refuses_what_has_no_true_ratio(change: dict[str, Any], why: str) -> None:
    one, two = rollout("one", ["a"]), rollout("two", ["b"], reward=0.0)
    bad = two._replace(calls=tuple(call.model_copy(update=change) for call in two.calls))
    with pytest.raises(RefusedError, match=why):
        rows(TrlGrpoReplay(), Group("g", (one, bad)))


def test_an_attempt_without_a_model_has_nothing_to_teach() -> None:
    none = rollout("r", ["a"])._replace(calls=())
    for form, sample in (
        (OpenAIChat(), Demonstration(none, ())),
        (TrlKto(), Verdict(none, good=True)),
    ):
        with pytest.raises(RefusedError):
            rows(form, sample)
