"""What is new, what an archive shows, and what becomes of a proposal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from agentlab.proposers.archive import EXAMPLES, FATES, LONGEST, Archives, Fate, fate_of
from agentlab.proposers.novelty import (
    CHANGES,
    MOST_CHANGES,
    Novelty,
    behaviour,
    changed_facts,
    refusals,
)
from agentlab.proposers.surroundings import clip, listed
from agentlab.types import JsonObject, PastProposal, Task
from tests.unit.proposers.ledger import a_task

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
STATES = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


def test_facts_of_sets_and_of_nested_objects() -> None:
    before: JsonObject = {"open": False, "held": ["a", "b"], "rooms": {"hall": {"lit": True}}}
    after: JsonObject = {"open": True, "held": ["b", "c"], "rooms": {"hall": {"lit": False}}}
    assert changed_facts(before, after) == (
        '+/held[] "c"',
        "+/open true",
        "+/rooms/hall/lit false",
        '-/held[] "a"',
        "-/open false",
        "-/rooms/hall/lit true",
    )
    assert changed_facts({"held": ["a", "b"]}, {"held": ["b", "a"]}) == (), "a set has no order"


@given(STATES, STATES)
def test_changes_turn_round_with_the_states(before: JsonObject, after: JsonObject) -> None:
    assert changed_facts(before, before) == ()
    there, back = changed_facts(before, after), changed_facts(after, before)
    assert {line[1:] for line in there} == {line[1:] for line in back}


def test_a_large_change_is_kept_as_a_digest() -> None:
    many: JsonObject = {"set": [str(n) for n in range(MOST_CHANGES + 1)]}
    (line,) = changed_facts({"set": []}, many)
    assert line.startswith(f"{MOST_CHANGES + 1} facts, ")
    other: JsonObject = {"set": [str(n) for n in range(1, MOST_CHANGES + 2)]}
    assert changed_facts({"set": []}, other) != (line,)


def _task(instruction: str, *changes: str) -> Task:
    kept: list[JsonValue] = list(changes)
    return a_task(instruction, parameters={CHANGES: kept} if changes else {})


def test_the_same_deed_in_other_words_is_not_new() -> None:
    novelty = Novelty()
    novelty.add([_task("Write down 5 for rent.", "+/rent 5")])
    reason = novelty.refusal(_task("Kindly see to it that a figure is noted.", "+/rent 5"))
    assert reason is not None and reason.startswith("not novel: its solution changes just what")


def test_another_deed_in_nearly_the_same_words_is_new() -> None:
    novelty = Novelty()
    novelty.add([_task("Write down the amount 5 for rent.", "+/rent 5")])
    assert novelty.refusal(_task("Write down the amount 6 for rent.", "+/rent 6")) is None


def test_words_decide_where_a_behaviour_is_not_known() -> None:
    novelty = Novelty()
    novelty.add([_task("Write down the amount of the rent in the ledger.")])
    same = novelty.refusal(_task("write down the amount of the rent in the ledger"))
    assert same is not None and "says what" in same
    assert novelty.refusal(_task("Strike all entries that begin with a vowel.")) is None


def test_a_malformed_record_of_a_behaviour_is_none() -> None:
    assert behaviour(a_task(parameters={CHANGES: "everything"})) == frozenset()


def test_refusals_in_order_and_invalid_ones_may_come_again() -> None:
    known = _task("Strike the entry for rent.", "-/rent 5")
    tasks = [
        _task("Strike rent.", "-/rent 5"),
        _task("Enter tram.", "+/tram 1"),
        _task("Enter the tram.", "+/tram 1"),
    ]
    found = refusals(tasks, [PastProposal(known, "solved")])
    assert [reason is None for reason in found] == [False, True, False]
    again = refusals(tasks, [PastProposal(known, "invalid", "solution fails")])
    assert [reason is None for reason in again] == [True, True, False]


def test_what_the_environment_drew_is_compared_with_nothing_but_is_known() -> None:
    drawn = _task("Go to the hall.").model_copy(update={"source": "own", "seed": 4})
    again = drawn.model_copy(update={"id": "another-world", "seed": 5})
    written = drawn.model_copy(update={"id": "written", "source": "context"})
    found = refusals([drawn, again, written], [PastProposal(drawn, "solved")])
    assert [reason is None for reason in found] == [True, True, False]


@pytest.mark.parametrize(
    ("reason", "outcomes", "expected"),
    [
        (None, [], None),
        (None, [False] * 3, None),
        (None, [False] * 4, "not learnable"),
        (None, [True], "solved"),
        (None, [True, False, False, False], "solved"),
        (None, [True, False, False, False, False], "not learnable"),
        (None, [True] * 9, "solved"),
        ("duplicate", [], "not novel"),
        ("not novel: it says what the task x says", [], "not novel"),
        ("solution fails: it did not pass", [], "invalid"),
    ],
)
def test_what_becomes_of_a_proposal(
    reason: str | None, outcomes: Sequence[bool], expected: Fate | None
) -> None:
    assert fate_of(reason, outcomes) == expected


def _past(instruction: str, fate: Fate, reason: str = "") -> PastProposal:
    return PastProposal(a_task(instruction), fate, reason)


def test_the_four_archives_and_what_is_open() -> None:
    past = [_past(f"Task of {fate}.", fate, "why") for fate in FATES]
    archives = Archives([*past, PastProposal(a_task("Undecided."), "open")])
    for fate in FATES:
        assert [each.fate for each in archives.of(fate)] == [fate]
    assert archives.shown_solved("x") == "- Task of solved."
    shown = archives.shown_refused("x")
    assert "(invalid: why) Task of invalid." in shown and "Undecided" not in shown
    assert Archives([]).shown_refused("x") == "none yet" == Archives([]).shown_solved("x")


def test_examples_are_the_nearest_and_bounded() -> None:
    far = [_past(f"Strike entry number {n} again", "solved") for n in range(30)]
    near = [_past("Buy a tram ticket", "solved"), _past("Buy a tram ticket", "solved")]
    bad = [_past("A" * 5_000 + str(n), "invalid", "B" * 5_000) for n in range(30)]
    bad += [_past(f"Learn {n}", "not learnable") for n in range(30)]
    archives = Archives([*near, *far, *bad])
    found = archives.positive("Buy a ticket for the tram")
    assert found[0].task.instruction == "Buy a tram ticket"
    assert len(found) == EXAMPLES
    assert len({past.task.instruction for past in found}) == EXAMPLES, "repeats are one example"
    refused = archives.negative("Learn 3")
    assert {past.fate for past in refused} == {"invalid", "not learnable"}
    assert len(archives.shown_refused("x")) < EXAMPLES * (2 * LONGEST + 200)
    assert "more characters left out" in archives.shown_refused("x")


def test_what_is_left_out_is_said() -> None:
    assert clip("abcdef", 4) == "abcd… (2 more characters left out)"
    assert listed(["a", "b", "c"], most=2) == "- a\n- b\n- … and 1 more, left out"
    assert listed([]) == "none"
