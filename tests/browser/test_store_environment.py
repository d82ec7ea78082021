"""The shop as an environment: its solutions end in success, in both skins, world by world."""

from __future__ import annotations

import asyncio

import pytest

from agentlab.environments.registration import make_environment
from agentlab.environments.web.control import Control
from agentlab.envs.store.environment import Store
from agentlab.errors import ConfigError, EnvironmentFaultError
from agentlab.protocols import Environment, HasGrammar, HasOracle, HasState, HasTasks
from agentlab.types import EnvironmentRef, Task, ToolCall


def shop(skin: str) -> Environment:
    return make_environment(
        EnvironmentRef(name="store", options={"skin": skin, "questions": False})
    )


async def carried_out(world: Environment, task: Task, calls: list[ToolCall]) -> float:
    """The reward at the end; says which call could not be made."""
    await world.reset(task, 0)
    reward = 0.0
    for call in calls:
        result = await world.step(call)
        assert result.error is None, (task.instruction, call, result.error)
        reward = result.reward
        if result.terminated:
            break
    return reward


@pytest.mark.parametrize("skin", ["a", "b"])
def test_solutions_succeed_and_what_is_cut_short_does_not(skin: str) -> None:
    async def work() -> int:
        world = shop(skin)
        assert isinstance(world, HasTasks)
        assert isinstance(world, HasOracle)
        assert isinstance(world, HasGrammar)
        assert isinstance(world, HasState)
        solved = 0
        try:
            for task in world.tasks("practice", 5, 1):
                solution = list(await world.oracle(task) or ())
                assert solution
                assert await carried_out(world, task, solution[:-1]) == 0.0
                assert await carried_out(world, task, solution) == 1.0
                solved += 1
            # The last attempt's cart and orders are not in the next one's world.
            (task, *_) = world.tasks("practice", 1, 1)
            await world.reset(task, 0)
            first = await world.state()
            await world.reset(task, 0)
            assert await world.state() == first
        finally:
            await world.close()
        return solved

    assert asyncio.run(work()) == 5


def test_no_page_can_reach_the_hosts_side() -> None:
    async def work() -> str | None:
        world = shop("a")
        assert isinstance(world, HasTasks)
        (task, *_) = world.tasks("practice", 1, 1)
        try:
            await world.reset(task, 0)
            gone = await world.step(
                ToolCall(tool="goto", arguments={"url": "/_episode/other/state"})
            )
            return gone.observation.text
        finally:
            await world.close()

    text = asyncio.run(work()) or ""
    assert "products" not in text.partition("URL:")[2]


def test_a_world_is_forgotten_when_its_environment_is_closed() -> None:
    async def work() -> None:
        world = shop("a")
        assert isinstance(world, Store)
        host = Control(world.options, world._episode)  # pyright: ignore[reportPrivateUsage]
        try:
            await world.reset(world.tasks("practice", 1, 1)[0], 0)
            assert (await host.state())["products"]
        finally:
            await world.close()
        with pytest.raises(EnvironmentFaultError, match="There is no such episode"):
            await host.state()
        await world.close()

    asyncio.run(work())


def test_there_are_two_skins() -> None:
    with pytest.raises(ConfigError, match="there is no skin 'c'"):
        shop("c")
