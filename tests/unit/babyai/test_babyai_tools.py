"""What each tool does, what it costs, and what it refuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from pydantic import JsonValue

from agentlab.environments.babyai import BabyAI
from agentlab.environments.babyai.starts import start_of
from agentlab.environments.babyai.tools import plan_objects
from agentlab.environments.babyai.world import World
from agentlab.errors import ConfigError, EnvironmentFaultError, InvalidTaskError, UnknownNameError
from agentlab.types import Entity, JsonObject, Observation, StepResult, Task, ToolCall, satisfies


def call(tool: str, target: JsonValue = None) -> ToolCall:
    return ToolCall(tool=tool, arguments={} if target is None else {"target": target})


async def play(
    task: Task, *calls: ToolCall, toolset: str = "objects"
) -> tuple[Observation, list[StepResult], list[JsonObject]]:
    env = BabyAI() if toolset == "objects" else BabyAI(toolset="primitive")
    first = await env.reset(task, 0)
    results: list[StepResult] = []
    states: list[JsonObject] = [await env.state()]
    for one in calls:
        results.append(await env.step(one))
        states.append(await env.state())
    await env.close()
    await env.close()
    return first, results, states


def untold(setup: str, seed: int) -> Task:
    return BabyAI().grammar().compose(None, setup, seed)


def the(entities: Sequence[Entity], **properties: JsonValue) -> JsonValue:
    return next(entity.reference for entity in entities if satisfies(entity, properties))


def look(task: Task) -> tuple[Entity, ...]:
    return asyncio.run(play(task))[0].entities


LOCKED = untold("locked", 5)
ROOM = untold("room", 1)


def test_a_locked_door_needs_its_key_in_hand() -> None:
    things = look(LOCKED)
    door = the(things, kind="door")
    assert isinstance(door, dict)
    key: JsonValue = {"color": door["color"], "kind": "key"}
    ball = next(
        e.reference
        for e in things
        if e.properties["kind"] != "door" and e.reference != key and e.properties["location"]
    )
    _, results, states = asyncio.run(
        play(
            LOCKED,
            call("open", door),
            call("pick_up", ball),
            call("open", door),
            call("drop"),
            call("pick_up", key),
            call("open", door),
        )
    )
    errors = [result.error for result in results]
    assert errors[0] is not None and "is locked" in errors[0]
    assert errors[2] is not None and "is locked" in errors[2]
    assert [errors[i] for i in (1, 3, 4, 5)] == [None] * 4
    assert states[1] == states[0] and states[0]["locked"] == [door]
    assert states[2]["carrying"] == ball and states[4]["carrying"] is None
    assert states[5]["carrying"] == key
    assert states[6]["open"] == [door] and states[6]["locked"] == []
    assert results[0].steps == results[2].steps == 0
    assert all(results[i].steps > 0 for i in (1, 3, 4, 5))
    shown = {str(e.reference): e.properties for e in results[5].observation.entities}
    assert shown[str(door)]["state"] == "open"


def test_an_open_door_is_closed_and_opened_again() -> None:
    task = untold("across", 3)
    door = the(look(task), kind="door")
    _, results, states = asyncio.run(play(task, call("open", door), call("open", door)))
    assert results[1].steps == 2 and results[1].error is None
    assert states[1] == states[2]


def test_closed_doors_are_in_the_way_and_open_ones_are_not() -> None:
    task = untold("across", 3)
    things = look(task)
    door = the(things, kind="door")
    far = next(e.reference for e in things if not e.properties["location"])
    _, results, states = asyncio.run(
        play(task, call("go_to", far), call("open", door), call("go_to", far))
    )
    assert results[0].error is not None and "no free way" in results[0].error
    assert results[2].error is None and states[3]["facing"] == far


def test_put_next_to_lands_beside_and_is_seen_in_the_state() -> None:
    things = look(ROOM)
    x = things[0].reference
    y = next(e.reference for e in things[1:] if e.reference != x)
    _, results, states = asyncio.run(play(ROOM, call("pick_up", x), call("put_next_to", y)))
    assert [result.error for result in results] == [None, None]
    beside = states[2]["next_to"]
    assert isinstance(beside, list) and [x, y] in beside and [y, x] in beside
    assert states[2]["carrying"] is None


def test_going_where_one_is_takes_one_idle_step() -> None:
    target = look(ROOM)[0].reference
    _, results, states = asyncio.run(play(ROOM, call("go_to", target), call("go_to", target)))
    assert states[1]["facing"] == target and states[1] == states[2]
    assert results[1].steps == 1


def test_a_box_opens_and_is_gone() -> None:
    things = look(ROOM)
    box = the(things, kind="box")
    first, results, _ = asyncio.run(play(ROOM, call("open", box), call("go_to", box)))
    assert results[0].error is None
    shown = [entity.reference for entity in results[0].observation.entities]
    assert box not in shown and len(shown) == len(first.entities) - 1
    assert results[1].error is not None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (call("fly"), "no tool 'fly'"),
        (call("drop"), "carry nothing"),
        (call("put_next_to", {"color": "red", "kind": "ball"}), ""),
        (call("go_to"), "one argument, 'target'"),
        (call("go_to", "the ball"), "no such thing"),
        (call("go_to", {"color": "pink", "kind": "dog"}), "no such thing"),
        (ToolCall(tool="look", arguments={"far": True}), "no arguments"),
        (ToolCall(tool="drop", arguments={"far": True}), "no arguments"),
        (call("explore"), "no tool 'explore'"),
    ],
)
def test_impossible_calls_do_nothing(wrong: ToolCall, says: str) -> None:
    first, results, states = asyncio.run(play(ROOM, wrong))
    assert results[0].error is not None and says in results[0].error
    assert results[0].steps == 0 and states[0] == states[1]
    assert results[0].observation == first


def test_hands_and_doors_have_limits() -> None:
    things = look(LOCKED)
    door = the(things, kind="door")
    near = [
        e.reference for e in things if e.properties["location"] and e.properties["kind"] != "door"
    ]
    _, results, _ = asyncio.run(
        play(
            LOCKED,
            call("pick_up", door),
            call("pick_up", near[0]),
            call("pick_up", near[0]),
            call("pick_up", near[1]),
            call("put_next_to", near[0]),
            call("go_to", near[0]),
        )
    )
    said = [result.error or "" for result in results]
    assert "cannot be picked up" in said[0] and said[1] == ""
    assert "already" in said[2] and "drop it first" in said[3]
    assert "next to itself" in said[4] and "drop it first" in said[5]


def test_alike_things_are_numbered_and_asked_for() -> None:
    for seed in range(50):
        task = untold("room", seed)
        many = [e for e in look(task) if isinstance(e.reference, dict) and "number" in e.reference]
        if many:
            break
    else:
        pytest.fail("no start state has two things alike")
    color, kind = many[0].properties["color"], many[0].properties["kind"]
    alike = [e.reference for e in many if satisfies(e, {"color": color, "kind": kind})]
    assert [r["number"] for r in alike if isinstance(r, dict)] == list(range(1, len(alike) + 1))
    vague: JsonValue = {"color": color, "kind": kind}
    _, results, _ = asyncio.run(play(task, call("go_to", vague), call("go_to", alike[1])))
    assert results[0].error is not None and "by number" in results[0].error
    assert results[1].error is None


def test_look_costs_nothing() -> None:
    first, results, _ = asyncio.run(play(ROOM, call("look")))
    assert results[0].steps == 0 and results[0].observation == first and results[0].error is None


def test_dropping_keeps_doorways_free() -> None:
    for seed in range(30):
        start = start_of(untold("doors", seed), None)
        for thing in start.layout.things:
            assert thing.cell not in start.layout.doorways or thing.kind == "door"
        world = World(start.layout, None, 999)
        for index, thing in enumerate(start.layout.things):
            if thing.kind == "door":
                continue
            for one in (call("pick_up", dict(start.layout.references[index])), call("drop")):
                world.run(plan_objects(world, one).moves)
            assert world.where[index] not in start.layout.doorways


def test_primitive_tools_are_the_seven_actions() -> None:
    env = BabyAI(toolset="primitive")
    assert [tool.name for tool in env.tools] == [
        "turn_left",
        "turn_right",
        "move_forward",
        "pick_up_ahead",
        "drop_ahead",
        "toggle_ahead",
        "done",
    ]
    calls = [call(tool.name) for tool in env.tools]
    _, results, _ = asyncio.run(play(ROOM, *calls, call("go_to"), toolset="primitive"))
    assert [result.steps for result in results] == [1] * 7 + [0]
    assert results[-1].error is not None


def test_the_step_cap_truncates_and_then_nothing_moves() -> None:
    async def run() -> None:
        env = BabyAI(max_steps=3)
        entities = (await env.reset(ROOM, 0)).entities
        results: list[StepResult] = []
        for _ in range(3):
            for entity in entities:
                results.append(await env.step(call("go_to", entity.reference)))
        ends = [i for i, result in enumerate(results) if result.truncated]
        assert sum(result.steps for result in results) == 3
        after = results[ends[0] + 1]
        assert after.error is not None and after.truncated and not after.terminated

    asyncio.run(run())


def test_success_ends_the_episode_within_the_moves() -> None:
    task = BabyAI().tasks("practice", 1, 3)[0]

    async def run() -> None:
        env = BabyAI()
        solution = await env.oracle(task)
        assert solution is not None
        await env.reset(task, 0)
        results = [await env.step(one) for one in solution]
        assert results[-1].succeeded and 0 < results[-1].reward <= 1
        assert not any(result.terminated for result in results[:-1])
        late = await env.step(call("look"))
        assert late.error is not None and late.terminated and not late.succeeded

    asyncio.run(run())


def test_the_same_seed_gives_the_same_episode() -> None:
    calls = [call("go_to", entity.reference) for entity in look(ROOM)]
    assert asyncio.run(play(ROOM, *calls)) == asyncio.run(play(ROOM, *calls))


def test_wrong_options_and_tasks_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match="objects, primitive"):
        BabyAI(toolset="hands")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="full, partial"):
        BabyAI(view="top")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="at least 1"):
        BabyAI(max_steps=0)
    with pytest.raises(UnknownNameError, match="GoToLocal"):
        BabyAI(level="GoToLocall")
    env = BabyAI()
    with pytest.raises(EnvironmentFaultError, match="call reset first"):
        asyncio.run(env.step(call("look")))
    strange = ROOM.model_copy(update={"setup": {"setup": "moon"}})
    with pytest.raises(InvalidTaskError, match="names no start state"):
        asyncio.run(env.reset(strange, 0))
    with pytest.raises(InvalidTaskError, match="negative"):
        asyncio.run(env.reset(ROOM.model_copy(update={"seed": -1}), 0))


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(3):
        BabyAI(level="BossLevel").tasks("heldout", 3, seed)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_speed_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    task = untold("doors", 3)

    async def run() -> tuple[float, float]:
        env = BabyAI()
        entities = (await env.reset(task, 0)).entities
        calls = [
            call(tool, entity.reference)
            for entity in entities
            for tool in ("go_to", "pick_up", "put_next_to", "open")
        ]
        frontier = [await env.snapshot()]
        keys = {frontier[0].key}
        made, began = 0, time.perf_counter()
        while frontier and made < 5000:
            state = frontier.pop(0)
            for one in calls:
                await env.restore(state)
                made += 1
                if (await env.step(one)).error is None:
                    reached = await env.snapshot()
                    if reached.key not in keys:
                        keys.add(reached.key)
                        frontier.append(reached)
        calls_rate = made / (time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(10_000):
            await env.restore(await env.snapshot())
        return calls_rate, 10_000 / (time.perf_counter() - began)

    calls_rate, snapshot_rate = asyncio.run(run())
    with capsys.disabled():
        print(f"\nBabyAI: {calls_rate:,.0f} calls/s, {snapshot_rate:,.0f} save + restore/s")
