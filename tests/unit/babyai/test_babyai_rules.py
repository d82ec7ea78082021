"""The fast engine against minigrid's own step, and what a snapshot must carry."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minigrid.envs.babyai.core.verifier import ObjDesc

from agentlab.environments.babyai import BabyAI
from agentlab.environments.babyai.goal import COLORS, KINDS, LOCATIONS, Description, mission_of
from agentlab.environments.babyai.language import read, write
from agentlab.environments.babyai.levels import (
    composed_layout,
    composed_level,
    level_ids,
    named_level,
    named_start,
)
from agentlab.environments.babyai.starts import Start, start_of
from agentlab.environments.babyai.world import World
from agentlab.errors import EnvironmentFaultError
from agentlab.types import Task, ToolCall

LEVELS = sorted(level_ids())
SOME = settings(deadline=None, max_examples=25, derandomize=True)


def likely_move(world: World, random: Random) -> int:
    """A move that often does something, so that short walks meet every rule."""
    if random.random() < 0.15:
        return random.randrange(7)
    if world.cells[world.front] >= 0:
        return random.choice([3, 3, 5, 5, 0, 1, 2])
    if world.carrying >= 0:
        return random.choice([0, 1, 2, 2, 4])
    return random.choice([0, 1, 2, 2, 2])


def assert_same(world: World, level: Any, result: tuple[Any, ...]) -> None:
    _, reward, terminated, truncated, _ = result
    y, x = divmod(world.cell, world.layout.width)
    assert (x, y) == (int(level.agent_pos[0]), int(level.agent_pos[1]))
    assert world.direction == level.agent_dir
    assert (world.carrying >= 0) == (level.carrying is not None)
    assert (world.verdict != 0) == terminated
    assert world.truncated == truncated
    assert world.reward == (reward if terminated else 0)
    for cell, content in enumerate(world.cells):
        there = level.grid.grid[cell]
        if content < 0:
            assert (there is None) == (content == -1)
            continue
        thing = world.layout.things[content]
        assert (thing.kind, thing.color) == (there.type, there.color)
        if thing.kind == "door":
            state = 0 if there.is_open else 2 if there.is_locked else 1
            assert world.doors[content] == state


def walk(level: Any, world: World, seed: int, random: Random, moves: int) -> None:
    level.reset(seed=seed)
    for _ in range(moves):
        move = likely_move(world, random)
        result = level.step(move)
        over = world.act(move)
        assert_same(world, level, result)
        if over:
            return


@SOME
@given(level=st.sampled_from(LEVELS), seed=st.integers(0, 10**6), walk_seed=st.integers(0, 999))
def test_engine_equals_minigrid_on_its_own_levels(level: str, seed: int, walk_seed: int) -> None:
    start = named_start(level, seed)
    world = World(start.layout, start.goal, start.max_steps)
    walk(named_level(level), world, seed, Random(walk_seed), 150)


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_can_be_read(level: str) -> None:
    start = named_start(level, 4)
    assert mission_of(read(start.instruction)) == mission_of(start.goal)
    walk(named_level(level), World(*start[:2], start.max_steps), 4, Random(0), 20)


def tasks(split: str, seed: int) -> list[Task]:
    return list(BabyAI().tasks("heldout" if split == "heldout" else "practice", 12, seed))


TASKS = [*tasks("practice", 1), *tasks("heldout", 1)]


def fresh(task: Task) -> tuple[Start, World]:
    start = start_of(task, None)
    return start, World(start.layout, start.goal, start.max_steps)


@SOME
@given(task=st.sampled_from(TASKS), walk_seed=st.integers(0, 999))
def test_engine_equals_minigrid_on_composed_tasks(task: Task, walk_seed: int) -> None:
    start, world = fresh(task)
    walk(start.build(), world, task.seed, Random(walk_seed), 200)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: cast("Task", task).template)
def test_solutions_agree_step_by_step(task: Task) -> None:
    # Random walks seldom solve anything: here every clause is met, in minigrid too.
    env = BabyAI()
    run = env.bot(task)
    start, world = fresh(task)
    level = start.build()
    level.reset(seed=task.seed)
    for move in run.moves:
        result = level.step(move)
        world.act(move)
        assert_same(world, level, result)
    assert (world.verdict == 1) == run.solved


@pytest.mark.parametrize("task", TASKS[:6], ids=lambda task: cast("Task", task).template)
def test_descriptions_mean_what_they_mean_in_minigrid(task: Task) -> None:
    layout = start_of(task, None).layout
    setup = cast("Any", task.setup["setup"])
    level = cast("Any", composed_level(setup, None, 100))
    level.reset(seed=task.seed)
    for color in (None, *COLORS):
        for kind in KINDS:
            for location in (None, *LOCATIONS):
                _, found = cast("Any", ObjDesc(kind, color, location)).find_matching_objs(level)
                ours = layout.matches(Description(color, kind, location))
                cells = sorted(layout.things[thing].cell for thing in ours)
                assert cells == sorted(y * layout.width + x for x, y in found)


def test_composed_level_says_what_minigrid_says() -> None:
    for task in TASKS:
        start = start_of(task, None)
        level = start.build()
        level.reset(seed=task.seed)
        assert start.goal is not None
        assert level.mission == task.instruction == write(start.goal, start.layout)


@SOME
@given(
    task=st.sampled_from(TASKS),
    before=st.integers(0, 60),
    between=st.integers(1, 60),
    after=st.integers(1, 60),
    walk_seed=st.integers(0, 999),
)
def test_a_restored_state_goes_on_alike(
    task: Task, before: int, between: int, after: int, walk_seed: int
) -> None:
    _, world = fresh(task)
    random = Random(walk_seed)
    for _ in range(before):
        world.run((likely_move(world, random),))
    saved = world.save()

    def go_on(seed: int, moves: int) -> list[tuple[object, ...]]:
        private = Random(seed)
        trace: list[tuple[object, ...]] = []
        for _ in range(moves):
            if world.over:
                break
            world.run((likely_move(world, private),))
            trace.append((world.save().key, world.steps, world.reward, world.moves()))
        return trace

    first = go_on(walk_seed, after)
    world.load(saved)
    go_on(walk_seed + 1, between)
    world.load(saved)
    assert world.save().key == saved.key
    assert go_on(walk_seed, after) == first


def door_then_ball() -> Task:
    """Open a door, then go to something else: the verifier has to remember the door."""
    grammar = BabyAI().grammar()
    for seed in range(100):
        layout = composed_layout("across", seed)
        door = layout.references[layout.doors[0]]
        ball = next(
            (r for r in layout.references if r["kind"] == "ball" and "number" not in r), None
        )
        if ball is not None:
            said = f"open the {door['color']} door, then go to the {ball['color']} ball"
            return grammar.compose(grammar.parse(said), "across", seed)
    raise AssertionError("no start state has a ball of its colour")


def test_the_verifiers_memory_is_part_of_the_key() -> None:
    task = door_then_ball()
    start, world = fresh(task)
    assert world.memory == (0, 0)
    door = dict(start.layout.references[start.layout.doors[0]])
    opened = ToolCall(tool="open", arguments={"target": door})

    async def play() -> None:
        env, untold = BabyAI(), BabyAI()
        await env.reset(task, 0)
        await untold.reset(env.grammar().compose(None, "across", task.seed), 0)
        keys: list[Hashable] = []
        for one in (env, untold):
            assert (await one.step(opened)).error is None
            saved = await one.snapshot()
            keys.append(saved.key)
            assert (await one.step(opened)).error is None
            assert (await one.snapshot()).key == saved.key
        assert (await env.snapshot()).saved.memory == (1, 0)
        assert keys[0] != keys[1]
        with pytest.raises(EnvironmentFaultError, match="another task"):
            await env.restore(await untold.snapshot())

    asyncio.run(play())


def test_a_place_once_faced_stays_a_goal_until_the_next_drop() -> None:
    # minigrid looks its descriptions up again only at a drop; the key must tell such states apart.
    task = door_then_ball()
    _, world = fresh(task)
    other = World(world.layout, world.goal, world.max_steps)
    other.placed = tuple(-1 for _ in other.placed)
    assert world.save().key != other.save().key
