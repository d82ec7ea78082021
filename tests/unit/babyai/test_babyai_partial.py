"""The partial view: what is seen, what is remembered, and that nothing else is known."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.environments.babyai import BabyAI
from agentlab.environments.babyai.belief import Belief, explore
from agentlab.environments.babyai.facts import facts
from agentlab.environments.babyai.layout import EMPTY, GONE, UNSEEN, Layout
from agentlab.environments.babyai.levels import composed_layout, composed_level
from agentlab.environments.babyai.partial import PartialBabyAI
from agentlab.environments.babyai.scene import Scene
from agentlab.environments.babyai.sight import opaque, visible
from agentlab.environments.babyai.world import World
from agentlab.protocols import HasModel, HasSnapshots
from agentlab.types import Task, ToolCall

SETUPS = ("room", "doors", "locked", "across")


@settings(deadline=None, max_examples=25, derandomize=True)
@given(setup=st.sampled_from(SETUPS), seed=st.integers(0, 10**6), walk=st.integers(0, 999))
def test_sight_equals_minigrids_mask(setup: str, seed: int, walk: int) -> None:
    name = cast("Any", setup)
    level = cast("Any", composed_level(name, None, 999))
    level.reset(seed=seed)
    world = World(composed_layout(name, seed), None, 999)
    random = Random(walk)
    for _ in range(25):
        _, mask = level.gen_obs_grid()
        theirs: set[int] = set()
        for i in range(7):
            for j in range(7):
                if mask[i, j]:
                    there = level.agent_pos + level.dir_vec * (6 - j) + level.right_vec * (i - 3)
                    x, y = int(there[0]), int(there[1])
                    if 0 <= x < level.width and 0 <= y < level.height:
                        theirs.add(y * level.width + x)
        ours = visible(opaque(world), world.layout.width, world.cell, world.direction)
        assert set(ours) == theirs
        move = random.choice([0, 1, 2, 2, 2, 3, 4, 5])
        level.step(move)
        world.act(move)


def without(layout: Layout, thing: int) -> Layout:
    """The same start state, but for a thing that is not there."""
    things = list(layout.things)
    cells = list(layout.cells)
    cells[things[thing].cell] = EMPTY
    things[thing] = things[thing]._replace(cell=GONE)
    return replace(layout, cells=tuple(cells), things=tuple(things))


@settings(deadline=None, max_examples=25, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_what_was_not_seen_changes_nothing(seed: int) -> None:
    layout = composed_layout("doors", seed)
    truth = World(layout, None, 999)
    in_view = set(visible(opaque(truth), layout.width, truth.cell, truth.direction))
    hidden = [
        index
        for index, thing in enumerate(layout.things)
        if thing.cell not in in_view and thing.kind != "door"
    ]
    assert hidden
    belief = Belief(truth, None).world()
    for thing in hidden:
        other = Belief(World(without(layout, thing), None, 999), None).world()
        assert other.layout == belief.layout
        assert (other.cells, other.free, other.where) == (belief.cells, belief.free, belief.where)
        assert facts(other) == facts(belief) and explore(other) == explore(belief)
        assert Scene(other.layout, "").observe(other) == Scene(belief.layout, "").observe(belief)


def task_of(family: str, seed: int) -> Task:
    tasks = BabyAI().tasks("heldout", 12, seed)
    return next(task for task in tasks if task.parameters["family"] == family)


def test_the_partial_view_has_a_model_and_no_snapshots() -> None:
    env = BabyAI(view="partial")
    assert isinstance(env, PartialBabyAI) and isinstance(env, HasModel)
    assert not isinstance(env, HasSnapshots)
    assert "explore" in [tool.name for tool in env.tools]
    assert "explore" not in [tool.name for tool in BabyAI().tools]


def test_exploring_ends_and_has_then_shown_everything_within_reach() -> None:
    async def run() -> None:
        env = BabyAI(view="partial")
        task = BabyAI().grammar().compose(None, "doors", 4)
        first = await env.reset(task, 0)
        full = await BabyAI().reset(task, 0)
        shown = len(first.entities)
        assert shown < len(full.entities)
        for _ in range(60):
            result = await env.step(ToolCall(tool="explore"))
            if result.error is not None:
                assert "has been seen" in result.error and result.steps == 0
                break
            assert result.steps > 0 and len(result.observation.entities) >= shown
            shown = len(result.observation.entities)
        else:
            pytest.fail("exploring never ends")
        assert shown == len(full.entities)

    asyncio.run(run())


def test_names_of_things_stay_while_more_is_found() -> None:
    async def run() -> None:
        for seed in range(6):
            env = BabyAI(view="partial")
            await env.reset(BabyAI().grammar().compose(None, "doors", seed), 0)
            looked = await env.step(ToolCall(tool="look"))
            names = [entity.reference for entity in looked.observation.entities]
            for _ in range(12):
                result = await env.step(ToolCall(tool="explore"))
                found = [e.reference for e in result.observation.entities]
                assert found[: len(names)] == names
                assert len({str(name) for name in found}) == len(found)
                names = found

    asyncio.run(run())


def test_the_model_foresees_what_happens_among_seen_things() -> None:
    async def run() -> None:
        compared = 0
        for task in BabyAI().tasks("heldout", 12, 3):
            env = BabyAI(view="partial")
            entities = (await env.reset(task, 0)).entities
            for entity in entities:
                model = await env.model()
                assert isinstance(model, HasSnapshots)
                call = ToolCall(tool="go_to", arguments={"target": entity.reference})
                foreseen = await model.step(call)
                happened = await env.step(call)
                assert (foreseen.steps, foreseen.error) == (happened.steps, happened.error)
                assert foreseen.terminated == happened.terminated
                compared += foreseen.error is None
                if happened.terminated or happened.truncated:
                    break
        assert compared > 10

    asyncio.run(run())


def test_the_model_is_a_place_of_its_own() -> None:
    async def run() -> None:
        env = BabyAI(view="partial")
        task = task_of("2 x put_next", 2)
        first = await env.reset(task, 0)
        model = await env.model()
        before = await env.state()
        start = await model.snapshot()
        for entity in first.entities:
            await model.step(ToolCall(tool="pick_up", arguments={"target": entity.reference}))
            await model.restore(start)
        refused = await model.step(ToolCall(tool="explore"))
        assert refused.error is not None and refused.steps == 0
        assert await env.state() == before
        assert (await model.reset(task, 0)).text == first.text
        assert (await env.step(ToolCall(tool="look"))).observation == first

    asyncio.run(run())


def test_unseen_cells_are_walls_to_the_planner() -> None:
    layout = composed_layout("doors", 4)
    belief = Belief(World(layout, None, 999), None).world()
    unseen = [cell for cell, content in enumerate(belief.cells) if content == UNSEEN]
    assert unseen and not any(belief.free[cell] for cell in unseen)
    assert all(thing.cell not in unseen for thing in belief.layout.things)


@pytest.mark.parametrize("family", ["3 clauses", "2 x put_next", "locked, 3 clauses", "across"])
def test_the_oracle_explores_and_solves(family: str) -> None:
    async def run() -> None:
        env = BabyAI(view="partial")
        solved = 0
        for seed in range(3):
            task = task_of(family, seed)
            calls = await env.oracle(task)
            if calls is None:
                continue
            await env.reset(task, 0)
            results = [await env.step(call) for call in calls]
            assert results[-1].succeeded
            solved += 1
        assert solved >= 1

    asyncio.run(run())
