"""A check that passes for wrong arguments proves nothing, and is found out."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from agentlab.library.controls import (
    ALL,
    INSTEAD,
    judge_controls,
    judged,
    untouched,
    wrong_arguments,
)
from agentlab.types import Clause, Entity, JsonObject, Parameter, Replay, Skill, canonical_json
from agentlab.types.skill import Control

THINGS = tuple(Entity(type="thing", reference={"id": n}, properties={}) for n in range(5))
PLACE = Entity(type="place", reference={"id": "p"}, properties={})


def _skill(*parameters: Parameter) -> Skill:
    return Skill(
        id="s",
        name="s",
        environment="e",
        source="",
        parameters=parameters,
        achieves=Clause(predicate="so", arguments={p.name: p.name for p in parameters}),
        summary="",
        effect_source="",
    )


X = Parameter(name="x", type="thing")
Y = Parameter(name="y", type="thing")
KEY = Parameter(name="key", type="*", from_clause=False)
GIVEN: JsonObject = {"x": {"id": 0}, "y": {"id": 1}}


def _replay(*controls: tuple[str, bool]) -> Replay:
    return Replay(
        task_id="t",
        arguments={},
        completed=True,
        used=True,
        effect=True,
        controls=tuple(Control(wrong=wrong, passed=passed) for wrong, passed in controls),
    )


def test_wrong_arguments_are_wrong() -> None:
    tried = wrong_arguments(_skill(X, Y), GIVEN, (*THINGS, PLACE), {}, random.Random(1))
    assert {wrong.wrong for wrong in tried} == {"x", "y", ALL}
    for wrong in tried:
        assert wrong.arguments != GIVEN
        kept = [name for name in GIVEN if wrong.arguments[name] == GIVEN[name]]
        assert kept == [name for name in GIVEN if wrong.wrong not in (name, ALL)]
        assert canonical_json(PLACE.reference) not in canonical_json(wrong.arguments)
    assert {"x": {"id": 1}, "y": {"id": 0}} in [wrong.arguments for wrong in tried]


def test_only_what_the_clause_names_is_judged() -> None:
    skill = _skill(X, KEY)
    assert judged(skill) == ("x",)
    tried = wrong_arguments(skill, {"x": {"id": 0}, "key": {"id": 3}}, THINGS, {}, random.Random(1))
    assert {wrong.wrong for wrong in tried} == {"x"}
    assert judged(_skill(KEY)) == ("key",)
    assert judged(_skill()) == ()


def test_where_there_is_nothing_else_other_places_have_it() -> None:
    arguments: JsonObject = {"x": {"id": 0}}
    assert wrong_arguments(_skill(X), arguments, THINGS[:1], {}, random.Random(1)) == []
    tried = wrong_arguments(
        _skill(X), arguments, THINGS[:1], {"thing": [{"id": 9}], "place": []}, random.Random(1)
    )
    assert [wrong.arguments for wrong in tried] == [{"x": {"id": 9}}]


@pytest.mark.parametrize(
    ("replays", "reason"),
    [
        ([_replay(("x", True), ("x", True))], "2 of 2 with another 'x'"),
        ([_replay(("x", False)), _replay(("x", True)), _replay(("x", True))], "2 of 3"),
        ([_replay(("x", False), (ALL, True)), _replay(("x", False), (ALL, True))], "all param"),
        ([_replay(("", False))], "no negative control could be made for 'x'"),
        ([_replay()], "no negative control"),
        ([], "no negative control"),
        ([_replay(("", True)), _replay(("", True))], "before anything was done, in 2 start"),
    ],
)
def test_a_check_that_says_yes_to_everything(replays: Sequence[Replay], reason: str) -> None:
    found = judge_controls(_skill(X), replays)
    assert found is not None
    assert found.startswith("effect: ")
    assert reason in found


def test_a_check_that_tells_right_from_wrong() -> None:
    good = [_replay(("", False), ("x", False), ("x", False)) for _ in range(3)]
    assert judge_controls(_skill(X), good) is None
    assert judge_controls(_skill(X), [*good, _replay(("x", True))]) is None, "a coincidence"
    symmetric = [_replay(("x", False), ("y", False), (ALL, False), (ALL, True))] * 3
    assert judge_controls(_skill(X, Y), symmetric) is None, "beside holds both ways"
    assert judge_controls(_skill(), [_replay(("", False))]) is None, "nothing to be wrong in"


def test_an_effect_without_a_name_must_not_follow_from_another_call() -> None:
    nameless = _skill(X).model_copy(update={"achieves": None})
    wrong = [("", False), ("x", False), ("x", False)]
    found = judge_controls(nameless, [_replay(*wrong)])
    assert found is not None and "nothing else changes anything here" in found
    assert judge_controls(nameless, [_replay(*wrong, (INSTEAD, False))]) is None
    assert judge_controls(nameless, [_replay(*wrong, (INSTEAD, True), (INSTEAD, False))]) is None
    found = judge_controls(nameless, [_replay(*wrong, (INSTEAD, True))])
    assert found == "effect: it passes when something else was called (1 of 1)"


def test_a_start_that_says_nothing() -> None:
    assert untouched(_replay(("", True)))
    assert not untouched(_replay(("", False), ("x", True)))
    assert judge_controls(_skill(X), [_replay(("", True)), _replay(("x", False))]) is None
