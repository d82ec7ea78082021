"""The courier's world: its rules, its wording, its verifier, its splits."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.envs.courier.environment import TOOLS, Courier
from agentlab.envs.courier.grammar import SPEC, SPLIT_RULE, Progress, advance, holds, say
from agentlab.envs.courier.world import CARGO, COLOURS, CONTAINERS, METALS, NAMES
from agentlab.errors import ConfigError, InvalidTaskError, UsageError
from agentlab.protocols import (
    Grammar,
    HasDescription,
    HasGrammar,
    HasOracle,
    HasSnapshots,
    HasState,
    HasTasks,
)
from agentlab.types import (
    Clause,
    Entity,
    JsonObject,
    Mission,
    Observation,
    Split,
    StepResult,
    Task,
    ToolCall,
    satisfies,
)


def using(body: Callable[[Courier], Awaitable[None]]) -> None:
    async def run() -> None:
        courier = Courier()
        await body(courier)
        await courier.close()

    asyncio.run(run())


def first_task(instruction: str, setup: str = "open") -> Task:
    """The instruction in the first world where it can be asked."""
    grammar = Courier().grammar()
    mission = grammar.parse(instruction)
    for seed in range(5000):
        try:
            return grammar.compose(mission, setup, seed)
        except InvalidTaskError:
            continue
    raise AssertionError(f"no world for {instruction!r}")


def entity(observation: Observation, **wanted: str) -> Entity:
    return next(e for e in observation.entities if satisfies(e, dict(wanted)))


def call(tool: str, **arguments: JsonObject) -> ToolCall:
    return ToolCall(tool=tool, arguments=dict(arguments))


def test_it_implements_every_protocol() -> None:
    courier = Courier()
    for protocol in (HasSnapshots, HasState, HasDescription, HasGrammar, HasOracle, HasTasks):
        assert isinstance(courier, protocol)
    grammar: Grammar = courier.grammar()
    assert grammar.spec is SPEC
    assert all(tool.name in courier.describe() for tool in courier.tools)


def test_delivering_takes_four_calls_and_is_success() -> None:
    task = first_task("Deliver the red parcel to the tin chest.")
    item: JsonObject = {"kind": "parcel", "colour": "red"}
    chest: JsonObject = {"kind": "chest", "metal": "tin"}

    async def body(courier: Courier) -> None:
        shown = await courier.reset(task, 0)
        assert entity(shown, kind="parcel", colour="red").reference == item
        calls = (
            call("walk", to=item),
            call("take", item=item),
            call("walk", to=chest),
            call("put_in", container=chest),
        )
        results = [await courier.step(one) for one in calls]
        assert [result.succeeded for result in results] == [False, False, False, True]
        assert [result.error for result in results] == [None] * 4
        state = await courier.state()
        assert state["delivered"] == [{"item": item, "container": chest}]
        assert state["holding"] is None
        after = await courier.step(call("leave"))
        assert after.error == "The episode is over."

    using(body)


def test_a_locked_container_needs_the_token_of_its_metal() -> None:
    task = first_task("Unlock the tin chest.", "locked")
    chest: JsonObject = {"kind": "chest", "metal": "tin"}
    token: JsonObject = {"kind": "token", "metal": chest["metal"]}

    async def body(courier: Courier) -> None:
        shown = await courier.reset(task, 0)
        wrong = next(
            e.reference
            for e in shown.entities
            if e.properties.get("kind") == "token" and e.reference != token
        )
        assert isinstance(wrong, dict)
        await courier.step(call("walk", to=wrong))
        await courier.step(call("take", item=wrong))
        await courier.step(call("walk", to=chest))
        refused = await courier.step(call("unlock", container=chest))
        assert refused.error == "You need to hold the tin token."
        assert (await courier.step(call("put_in", container=chest))).error is not None
        await courier.step(call("leave"))
        await courier.step(call("walk", to=token))
        await courier.step(call("take", item=token))
        await courier.step(call("walk", to=chest))
        done = await courier.step(call("unlock", container=chest))
        assert done.succeeded
        assert token not in [e.reference for e in done.observation.entities]
        assert entity(done.observation, kind="chest", metal="tin").properties["locked"] is False

    using(body)


REFUSED = {
    "take what is elsewhere": "Walk up to it first.",
    "leave nothing": "You hold nothing.",
    "put in nothing": "You hold nothing.",
    "unlock the unlocked": "That container is not locked.",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_with_a_sentence(name: str) -> None:
    task = first_task("Deliver the red parcel to the tin chest.")
    item: JsonObject = {"kind": "parcel", "colour": "red"}
    chest: JsonObject = {"kind": "chest", "metal": "tin"}

    async def body(courier: Courier) -> None:
        shown = await courier.reset(task, 0)
        place = entity(shown, kind="parcel", colour="red").properties["place"]
        other = next(
            e.reference
            for e in shown.entities
            if e.type == "place" and place != e.properties["name"]
        )
        assert isinstance(other, dict)
        calls = {
            "take what is elsewhere": (call("walk", to=other), call("take", item=item)),
            "leave nothing": (call("leave"),),
            "put in nothing": (call("walk", to=chest), call("put_in", container=chest)),
            "unlock the unlocked": (call("walk", to=chest), call("unlock", container=chest)),
        }[name]
        result = StepResult(observation=shown)
        for one in calls:
            result = await courier.step(one)
        assert result.error == REFUSED[name]
        assert result.steps == 0

    using(body)


def test_walking_costs_a_step_for_each_gate_and_standing_there_none() -> None:
    async def body(courier: Courier) -> None:
        for seed in range(10):
            shown = await courier.reset(courier.grammar().compose(None, "open", seed), 0)
            places = [e.reference for e in shown.entities if e.type == "place"]
            steps: list[int] = []
            for place in places:
                assert isinstance(place, dict)
                start = await courier.snapshot()
                steps.append((await courier.step(call("walk", to=place))).steps)
                again = await courier.step(call("walk", to=place))
                assert (again.steps, again.error) == (0, None)
                await courier.restore(start)
            assert sorted(steps)[0] == 0
            assert sorted(steps)[1] == 1
            assert max(steps) < len(places)

    using(body)


def test_a_clause_counts_from_when_it_first_held_in_its_turn() -> None:
    mission = Courier().grammar().parse("Go to the mill and go to the yard, then go to the barn.")
    at: dict[str, JsonObject] = {
        name: {"at": {"kind": "place", "name": name}} for name in ("mill", "yard", "barn")
    }

    def progress(*names: str) -> list[bool]:
        reached, ends = Progress(), list[bool]()
        for name in names:
            facts: JsonObject = {"holding": None, "unlocked": [], "delivered": [], **at[name]}
            reached, success = advance(mission, reached, facts)
            ends.append(success)
        return ends

    assert progress("mill", "yard", "barn") == [False, False, True]
    assert progress("yard", "barn", "mill", "barn") == [False, False, False, True]
    assert progress("barn", "mill", "yard") == [False, False, False]


words = {
    "item": {"kind": CARGO, "colour": COLOURS},
    "container": {"kind": CONTAINERS, "metal": METALS},
    "place": {"kind": ("place",), "name": NAMES},
}


@st.composite
def clauses(draw: st.DrawFn) -> Clause:
    template = draw(st.sampled_from(SPEC.templates))
    arguments: JsonObject = {}
    for name in template.parameters:
        known = words[name]
        chosen = draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=2, unique=True))
        arguments[name] = {key: draw(st.sampled_from(known[key])) for key in chosen}
    return Clause(predicate=template.predicate, arguments=arguments)


groups = st.lists(clauses(), min_size=1, max_size=2).map(tuple)
missions = st.lists(groups, min_size=1, max_size=2).map(lambda g: Mission(groups=tuple(g)))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(missions)
def test_any_mission_is_read_back_from_its_words(mission: Mission) -> None:
    try:
        instruction = say(mission)
    except InvalidTaskError as error:
        assert "twice" in str(error)
        return
    assert Courier().grammar().parse(instruction) == mission


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60) | missions.map(lambda m: str(m.structure)))
def test_any_other_text_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidTaskError):
        Courier().grammar().parse(text)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(missions, st.sampled_from(SPEC.setups), st.integers(0, 10**6))
def test_what_can_be_composed_can_be_solved_and_not_by_doing_nothing(
    mission: Mission, setup: str, seed: int
) -> None:
    async def body(courier: Courier) -> None:
        grammar = courier.grammar()
        try:
            task = grammar.compose(mission, setup, seed)
        except InvalidTaskError:
            return
        assert task == grammar.compose(mission, setup, seed)
        assert task.template == f"{setup}: {mission.structure}"
        solution = await courier.oracle(task)
        assert solution
        await courier.reset(task, 0)
        state = await courier.state()
        assert not any(holds(clause, state) for clause in mission.clauses)
        results = [await courier.step(one) for one in solution]
        assert [result.succeeded for result in results].index(True) == len(solution) - 1

    using(body)


def test_compose_says_what_is_wrong() -> None:
    grammar = Courier().grammar()

    def compose(instruction: str, setup: str = "open") -> Task:
        return grammar.compose(grammar.parse(instruction), setup, 1)

    with pytest.raises(InvalidTaskError, match="no start state"):
        compose("Go to the mill.", "upside down")
    with pytest.raises(InvalidTaskError, match="holds from the start"):
        compose("Unlock a chest and unlock a crate, then unlock a cabinet.")
    with pytest.raises(InvalidTaskError, match="twice"):
        compose("Go to the mill, then go to the mill.")
    with pytest.raises(InvalidTaskError, match="groups"):
        compose("Go to the mill, then go to the yard, then go to the mill.")
    odd = Clause(predicate="juggled", arguments={})
    with pytest.raises(InvalidTaskError, match="juggled"):
        grammar.compose(Mission(groups=((odd,),)), "open", 1)
    dressed = Clause(predicate="holding", arguments={"item": {"kind": "hat"}})
    with pytest.raises(InvalidTaskError, match="hat"):
        grammar.compose(Mission(groups=((dressed,),)), "open", 1)


def test_what_was_achieved_is_named_with_references() -> None:
    async def body(courier: Courier) -> None:
        task = first_task("Deliver the red parcel to the tin chest.", "locked")
        await courier.reset(task, 0)
        before = await courier.state()
        for one in await courier.oracle(task) or ():
            await courier.step(one)
        named = courier.grammar().achieved(before, await courier.state())
        item: JsonObject = {"kind": "parcel", "colour": "red"}
        chest: JsonObject = {"kind": "chest", "metal": "tin"}
        assert Clause(predicate="unlocked", arguments={"container": chest}) in named
        assert Clause(predicate="delivered", arguments={"item": item, "container": chest}) in named

    using(body)


@pytest.mark.parametrize("split", ["practice", "dev", "heldout"])
def test_tasks_obey_the_split(split: Split) -> None:
    tasks = Courier().tasks(split, 40, 7)
    assert len({task.id for task in tasks}) == 40
    assert tasks == Courier().tasks(split, 40, 7)
    assert tasks != Courier().tasks(split, 40, 8)
    for task in tasks:
        assert task.split == split
        assert task.mission is not None
        assert (len(task.mission.clauses) >= 3) == (split == "heldout")
        assert (SPLIT_RULE.refusal(task) is None) == (split == "practice")


@pytest.mark.parametrize(
    ("option", "value"),
    [("places", 1), ("cargo", 0), ("containers", 0), ("places", 99), ("interface", "c")],
)
def test_options_out_of_range_are_a_sentence(option: str, value: object) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(ConfigError, match=option):
        Courier(**options)


def test_before_reset_and_with_a_foreign_snapshot() -> None:
    async def body(courier: Courier) -> None:
        with pytest.raises(UsageError, match="reset"):
            await courier.step(call("leave"))
        task = courier.grammar().compose(None, "open", 0)
        await courier.reset(task, 0)
        with pytest.raises(UsageError, match="snapshot"):
            await courier.restore("yesterday")
        bad = task.model_copy(update={"setup": {"setup": "odd"}})
        with pytest.raises(InvalidTaskError, match="odd"):
            await courier.reset(bad, 0)
        assert await courier.oracle(task) is None

    using(body)


async def breadth_first(courier: Courier, task: Task, limit: int) -> int | None:
    """Calls until plain breadth-first search solves the task; None when over the limit."""
    await courier.reset(task, 0)
    queue = deque([await courier.snapshot()])
    seen: set[Hashable] = {queue[0].key}
    made = 0
    while queue:
        saved = queue.popleft()
        shown = await courier.restore(saved)
        for tool in TOOLS:
            if tool.effect != "changes":
                continue
            properties = tool.parameters["properties"]
            assert isinstance(properties, dict)
            name = next(iter(properties), None)
            references: list[JsonObject] = [{}]
            if name is not None:
                schema = properties[name]
                assert isinstance(schema, dict)
                wanted = schema["x-entity"]
                fitting = [e for e in shown.entities if wanted in ("*", e.type)]
                references = [{name: e.reference} for e in fitting]
            for arguments in references:
                if made >= limit:
                    return None
                await courier.restore(saved)
                made += 1
                result = await courier.step(ToolCall(tool=tool.name, arguments=arguments))
                if result.succeeded:
                    return made
                after = await courier.snapshot()
                if after.key not in seen:
                    seen.add(after.key)
                    queue.append(after)
    return None


def test_flat_search_solves_one_clause_and_mostly_not_three() -> None:
    solved = {1: 0, 3: 0}

    async def body(courier: Courier) -> None:
        practice = (t for t in courier.tasks("practice", 200, 0) if t.template.startswith("open"))
        heldout = (t for t in courier.tasks("heldout", 200, 0) if t.template.startswith("open"))
        for clauses_, tasks in ((1, practice), (3, heldout)):
            fitting = [t for t in tasks if t.mission and len(t.mission.clauses) == clauses_]
            for task in fitting[:12]:
                if await breadth_first(courier, task, 1000) is not None:
                    solved[clauses_] += 1

    using(body)
    assert solved[1] == 12
    assert solved[3] <= 4


def test_steps_and_snapshots_are_quick() -> None:
    """A generous bound, for a busy machine: quiet, it is above 60,000 steps a second."""

    async def body(courier: Courier) -> None:
        rng = random.Random(0)
        shown = await courier.reset(courier.grammar().compose(None, "locked", 3), 0)
        items = [e.reference for e in shown.entities]
        calls = [
            ToolCall(tool="walk", arguments={"to": reference})
            for reference in rng.choices(items, k=4000)
        ]
        began = time.perf_counter()
        for one in calls:
            await courier.step(one)
            await courier.snapshot()
        assert time.perf_counter() - began < 2.0

    using(body)
