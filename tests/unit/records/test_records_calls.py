"""Model calls as they are kept: what is read back equals what was recorded, and takes less room."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from agentlab.errors import RecordsError
from agentlab.records import Records, Workspace
from agentlab.records.calls import CONTINUES, read_calls, spelt_calls
from agentlab.types import JsonObject, ModelCall
from tests.unit.records.samples import a_spec, a_task, an_outcome, opened
from tests.unit.records.test_records_scopes import to_revision

WORDS = st.sampled_from(["go", "go ", "\ud800", "é", ""])
VALUES: st.SearchStrategy[JsonValue] = st.sampled_from(
    [0, 0.0, -0.0, False, 1, 1.0, True, None, 2**64, -(10**30), math.nan]
)
"""Among them pairs that Python calls equal and JSON spells apart."""
MESSAGES = cast(
    "st.SearchStrategy[JsonObject]",
    st.fixed_dictionaries({"role": WORDS, "text": WORDS, "value": VALUES}),
)
REQUESTS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.one_of(st.lists(MESSAGES, max_size=4), st.none()),
        "tools": st.lists(VALUES, max_size=2),
        "depth": VALUES,
        CONTINUES: VALUES,
    },
)
IDS = st.one_of(st.none(), st.lists(st.integers(0, 2), max_size=5).map(tuple))


@st.composite
def call_chains(draw: st.DrawFn) -> tuple[ModelCall, ...]:
    """Calls of which some continue others, wholly or in part, and some do not."""
    found: list[ModelCall] = []
    for _ in range(draw(st.integers(0, 5))):
        request: JsonObject = draw(REQUESTS)
        prompt = draw(IDS)
        if found and draw(st.booleans()):
            before = found[-1]
            asked = before.request.get("messages")
            if isinstance(asked, list):
                cut = draw(st.integers(0, len(asked)))
                more: list[JsonValue] = [*draw(st.lists(MESSAGES, max_size=2))]
                request = {**before.request, "messages": [*asked[:cut], *more]}
            ids = (*(before.prompt_token_ids or ()), *(before.output_token_ids or ()))
            prompt = (*ids[: draw(st.integers(0, len(ids)))], *(prompt or ()))
        output = draw(IDS)
        drawn = None if output is None else (-math.inf, -0.5, -0.25, 0.0, -1.0)[: len(output)]
        found.append(
            ModelCall(
                model=draw(WORDS),
                role=draw(st.sampled_from(["executor", "evaluator"])),
                request=request,
                response=draw(MESSAGES),
                prompt_token_ids=prompt,
                output_token_ids=output,
                log_probabilities=drawn,
                sampling={"temperature": draw(VALUES)},
                usd=draw(st.floats(0, 1)),
                redacted=draw(st.booleans()),
            )
        )
    return tuple(found)


def _told(calls: tuple[ModelCall, ...]) -> list[str]:
    return [json.dumps(call.model_dump()) for call in calls]


@given(call_chains())
def test_what_is_read_back_is_what_was_recorded(calls: tuple[ModelCall, ...]) -> None:
    again = read_calls(enumerate(spelt_calls(calls)), attempt_id="a")
    # Their spelling, since Python calls 1, 1.0 and true the same.
    assert _told(tuple(again)) == _told(calls)


def a_chat(turns: int) -> tuple[ModelCall, ...]:
    """Calls that each continue the one before."""
    messages: list[JsonValue] = [{"role": "user", "text": "Go on. " * 20}]
    prompt = tuple(range(100))
    found: list[ModelCall] = []
    for turn in range(turns):
        reply: JsonObject = {"role": "assistant", "text": f"turn {turn}"}
        request: JsonObject = {"messages": [*messages], "tools": [{"name": "go"}]}
        call = ModelCall(
            model="policy",
            request=request,
            response={"message": reply},
            prompt_token_ids=prompt,
            output_token_ids=(7, turn),
            log_probabilities=(-0.5, -math.inf),
        )
        found.append(call)
        answer: JsonObject = {"role": "tool", "text": "You are there."}
        messages = [*messages, reply, answer]
        prompt = (*prompt, 7, turn, 9, 9)
    return tuple(found)


def test_a_chat_takes_room_for_what_is_new_in_each_call() -> None:
    bodies = spelt_calls(a_chat(40))
    assert len(bodies[39]) < len(bodies[1]) * 1.2
    told = json.loads(bodies[39])
    assert told[CONTINUES] == {"request": ["messages", "tools"], "messages": 77, "tokens": 254}
    assert told["request"] == {
        "messages": [
            {"role": "assistant", "text": "turn 38"},
            {"role": "tool", "text": "You are there."},
        ]
    }
    assert told["prompt_token_ids"] == [9, 9]


def test_whole_numbers_of_any_size_stay_whole() -> None:
    request: JsonObject = {"seed": 10**30, "messages": [{"id": 2**64}]}
    call = ModelCall(model="m", request=request, response={"share": 0.012345678901234567})
    (again,) = read_calls(enumerate(spelt_calls([call])), attempt_id="a")
    assert again == call and isinstance(again.request["seed"], int)


def test_calls_share_in_memory_what_they_share() -> None:
    first, *_, last = read_calls(enumerate(spelt_calls(a_chat(5))), attempt_id="a")
    assert first.request["tools"] is last.request["tools"]


BROKEN: list[tuple[str, int, JsonObject]] = [
    ("the call that it continues is not there", 0, {}),
    ("it continues 9 messages of 1", 1, {"messages": 9}),
    ("it continues 900 tokens of 102", 1, {"tokens": 900}),
    ("-1 is no number of messages or tokens", 1, {"messages": -1}),
    ("True is no number of messages or tokens", 1, {"tokens": True}),
    ("weather", 1, {"request": ["weather"]}),
]


@pytest.mark.parametrize(("why", "place", "told"), BROKEN)
def test_a_row_that_continues_what_is_not_there_is_named(
    why: str, place: int, told: JsonObject
) -> None:
    bodies = spelt_calls(a_chat(2))
    changed = json.loads(bodies[1])
    changed[CONTINUES].update(told)
    bodies[place] = json.dumps(changed)
    with pytest.raises(RecordsError, match=f"'a, {place}' of the table 'model_calls'.*{why}"):
        read_calls(enumerate(bodies), attempt_id="a")


def test_a_row_after_one_that_was_deleted_is_named() -> None:
    (first, _, third) = enumerate(spelt_calls(a_chat(3)))
    with pytest.raises(RecordsError, match=r"'a, 2'.*continues is not there"):
        read_calls([first, third], attempt_id="a")


def test_whole_calls_of_before_are_read_and_written_again_going_back(tmp_path: Path) -> None:
    calls = a_chat(4)
    spec = a_spec(0, a_task(0))
    outcome = an_outcome(spec)
    assert outcome.trajectory is not None
    trajectory = outcome.trajectory.model_copy(update={"model_calls": calls})
    with opened(tmp_path) as records:
        records.attempts.record(spec, outcome.model_copy(update={"trajectory": trajectory}))
    to_revision(tmp_path / "records.db", "0007")
    with closing(sqlite3.connect(tmp_path / "records.db")) as connection:
        rows = connection.execute("SELECT body FROM model_calls ORDER BY position").fetchall()
    assert [ModelCall.model_validate(json.loads(body)) for (body,) in rows] == list(calls)
    with Records.open(Workspace.open(tmp_path)) as records:
        found = records.trajectories.trajectory(spec.id)
        assert found is not None
        assert found.model_calls == calls
