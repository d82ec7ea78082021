"""Composing, refusing and reading missions; naming what was achieved."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.environments.babyai import BabyAI
from agentlab.environments.babyai.composed import SETUPS
from agentlab.environments.babyai.families import FAMILIES, Family, draw_task
from agentlab.environments.babyai.goal import NO_GOAL, goal_of, mission_of
from agentlab.environments.babyai.language import read
from agentlab.environments.babyai.layout import LOCKED
from agentlab.environments.babyai.levels import composed_layout
from agentlab.errors import InvalidTaskError
from agentlab.types import Clause, JsonObject, Mission, Task, ToolCall

GRAMMAR = BabyAI().grammar()


def unordered(mission: Mission) -> list[list[str]]:
    return [sorted(clause.model_dump_json() for clause in group) for group in mission.groups]


def clause(predicate: str, **arguments: JsonObject) -> Clause:
    return Clause(predicate=predicate, arguments=dict(arguments))


def one(*clauses: Clause) -> Mission:
    return Mission(groups=(clauses,))


ALL = [family for families in FAMILIES.values() for family in families]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(family=st.sampled_from(ALL), seed=st.integers(0, 10**12))
def test_reading_inverts_composing(family: Family, seed: int) -> None:
    task = draw_task(family, family.setups[0], seed)
    if task is None:
        return
    assert task.mission is not None
    assert unordered(GRAMMAR.parse(task.instruction)) == unordered(task.mission)
    again = GRAMMAR.compose(task.mission, family.setups[0], seed)
    assert (again.id, again.instruction, again.setup) == (task.id, task.instruction, task.setup)


def test_both_orders_of_a_sentence_are_read_alike() -> None:
    first = GRAMMAR.parse("go to the red ball, then pick up a key on your left")
    second = GRAMMAR.parse("pick up a key on your left after you go to the red ball")
    assert first == second
    assert first.groups[1] == (
        Clause(predicate="pick_up", arguments={"x": {"kind": "key", "location": "left"}}),
    )
    assert mission_of(goal_of(first)) == mission_of(goal_of(first, reverse=True)) == first


def test_a_whole_sentence() -> None:
    mission = GRAMMAR.parse(
        "put the red ball next to the blue box and open the door after you go to a green object"
        " in front of you"
    )
    assert mission.structure == "go_to > open & put_next"
    assert mission.groups[0][0].arguments == {"x": {"color": "green", "location": "front"}}


@pytest.mark.parametrize(
    "sentence",
    ["", "dance", "go to red ball", "open the pink door", "put the ball", "go to the ball and"],
)
def test_other_sentences_are_refused(sentence: str) -> None:
    with pytest.raises(InvalidTaskError):
        GRAMMAR.parse(sentence)


def things(setup: str, seed: int) -> list[JsonObject]:
    layout = composed_layout(next(name for name in SETUPS if name == setup), seed)
    return list(layout.references)


def refused(mission: Mission, setup: str, seed: int) -> str:
    with pytest.raises(InvalidTaskError) as caught:
        GRAMMAR.compose(mission, setup, seed)
    return str(caught.value)


def test_missions_that_make_no_sense_are_refused_with_the_reason() -> None:
    layout = composed_layout("locked", 5)
    door = next(thing for thing in layout.things if thing.state == LOCKED and thing.kind == "door")
    key: JsonObject = {"color": door.color, "kind": "key"}
    ball = next(r for r in layout.references if r["kind"] != "door" and r["kind"] != "key")
    some_door: JsonObject = {"kind": "door"}
    assert "needed to unlock" in refused(one(clause("pick_up", x=key)), "locked", 5)
    assert "cannot be moved" in refused(one(clause("pick_up", x=some_door)), "locked", 5)
    assert "next to a door" in refused(one(clause("put_next", x=ball, y=some_door)), "locked", 5)
    assert "same thing" in refused(one(clause("put_next", x=ball, y=ball)), "locked", 5)
    assert "Only a door" in refused(one(clause("open", x=ball)), "locked", 5)
    assert "may mean a wall" in refused(one(clause("go_to", x={"color": "grey"})), "locked", 5)
    assert "is empty" in refused(one(clause("go_to", x={})), "locked", 5)
    assert "cannot be said" in refused(
        one(clause("go_to", x={"kind": "ball", "number": 1})), "locked", 5
    )
    assert "no kind" in refused(one(clause("go_to", x={"kind": "dog"})), "locked", 5)
    assert "no predicate" in refused(one(clause("eat", x=ball)), "locked", 5)
    assert "takes x and y" in refused(one(clause("put_next", x=ball)), "locked", 5)
    assert "twice" in refused(one(clause("go_to", x=ball), clause("go_to", x=ball)), "locked", 5)
    three = Mission(groups=((clause("go_to", x=ball),),) * 3)
    assert "one or two groups" in refused(three, "locked", 5)
    assert "no setup" in refused(one(clause("go_to", x=ball)), "moon", 5)
    absent = next(
        {"color": color, "kind": "ball"}
        for color in ("red", "green", "blue", "grey")
        if not any((r["color"], r["kind"]) == (color, "ball") for r in layout.references)
    )
    assert "There is no" in refused(one(clause("go_to", x=dict(absent))), "locked", 5)


def test_what_holds_already_is_refused() -> None:
    found = 0
    for seed in range(200):
        layout = composed_layout("room", seed)
        cells = {thing.cell: index for index, thing in enumerate(layout.things)}
        for index, thing in enumerate(layout.things):
            other = cells.get(thing.cell + 1)
            if other is None:
                continue
            x, y = layout.references[index], layout.references[other]
            if "number" in x or "number" in y:
                continue
            assert "already" in refused(one(clause("put_next", x=x, y=y)), "room", seed)
            found += 1
        if found > 3:
            return
    pytest.fail("no start state has two things side by side")


def test_a_task_without_a_goal_never_ends_in_success() -> None:
    task = GRAMMAR.compose(None, "room", 12)
    assert task.instruction == NO_GOAL and task.mission is None

    async def run() -> None:
        env = BabyAI()
        entities = (await env.reset(task, 0)).entities
        for entity in entities:
            result = await env.step(ToolCall(tool="go_to", arguments={"target": entity.reference}))
            assert not result.terminated
        assert await env.oracle(task) is None

    asyncio.run(run())


def test_the_layout_does_not_depend_on_the_mission() -> None:
    async def entities(task: Task) -> object:
        return (await BabyAI().reset(task, 0)).entities

    for task in BabyAI().tasks("practice", 6, 2):
        bare = GRAMMAR.compose(None, str(task.setup["setup"]), task.seed)
        assert asyncio.run(entities(task)) == asyncio.run(entities(bare))


def test_achievements_follow_the_calls() -> None:
    seed = next(
        seed
        for seed in range(100)
        if not any("number" in reference for reference in composed_layout("room", seed).references)
    )
    task = GRAMMAR.compose(None, "room", seed)
    x, y = things("room", seed)[:2]

    async def run() -> list[list[Clause]]:
        env = BabyAI()
        await env.reset(task, 0)
        states = [await env.state()]
        for tool, target in (("go_to", x), ("pick_up", x), ("put_next_to", y)):
            result = await env.step(ToolCall(tool=tool, arguments={"target": target}))
            assert result.error is None
            states.append(await env.state())
        return [list(GRAMMAR.achieved(before, after)) for before, after in pairwise(states)]

    went, picked, put = asyncio.run(run())
    assert went == [Clause(predicate="go_to", arguments={"x": x})]
    assert picked == [Clause(predicate="pick_up", arguments={"x": x})]
    assert Clause(predicate="put_next", arguments={"x": x, "y": y}) in put


def test_achievements_leave_numbers_out() -> None:
    door: JsonObject = {"color": "red", "kind": "door"}
    ball: JsonObject = {"color": "red", "kind": "ball"}
    key: JsonObject = {"color": "red", "kind": "key"}
    second: JsonObject = {**ball, "number": 2}
    bare: JsonObject = {"carrying": None, "facing": None, "open": [], "next_to": []}
    holding: JsonObject = {**bare, "carrying": second, "facing": door, "open": [door]}
    assert GRAMMAR.achieved(bare, holding) == (
        Clause(predicate="pick_up", arguments={"x": ball}),
        Clause(predicate="go_to", arguments={"x": door}),
        Clause(predicate="open", arguments={"x": door}),
    )
    put: JsonObject = {
        **bare,
        "facing": second,
        "open": [door],
        "next_to": [[second, key], [key, second], [second, {**ball, "number": 1}]],
    }
    assert GRAMMAR.achieved(holding, put) == (
        Clause(predicate="go_to", arguments={"x": ball}),
        Clause(predicate="put_next", arguments={"x": ball, "y": key}),
    )


def test_reading_never_crashes() -> None:
    random = Random(0)
    words = "go to put pick up open the a red ball box door next and , then after you".split()
    for _ in range(300):
        text = " ".join(random.choice(words) for _ in range(random.randrange(1, 12)))
        try:
            read(text)
        except InvalidTaskError:
            continue
