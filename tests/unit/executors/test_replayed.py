"""Search where nothing can be put back: the way is gone once more from a fresh start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agentlab.envs.courier.environment import Courier
from agentlab.errors import UsageError
from agentlab.executors.replayed import Replayed, replayed
from agentlab.executors.search import SearchExecutor
from agentlab.protocols import Environment, ExecutionContext, Grammar, HasSnapshots, HasState
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import (
    AttemptSpec,
    EnvironmentRef,
    JsonObject,
    Limits,
    Observation,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
)


class OneWay:
    """A courier that cannot be put back, and counts how often it began."""

    def __init__(self) -> None:
        self._inner = Courier()
        self.resets = 0

    @property
    def tools(self) -> Sequence[ToolSpec]:
        return self._inner.tools

    async def reset(self, task: Task, seed: int) -> Observation:
        self.resets += 1
        return await self._inner.reset(task, seed)

    async def step(self, call: ToolCall) -> StepResult:
        return await self._inner.step(call)

    async def state(self) -> JsonObject:
        return await self._inner.state()

    def grammar(self) -> Grammar:
        return self._inner.grammar()

    async def close(self) -> None:
        await self._inner.close()


def attempt(environment: Environment, task: Task, *, calls: int) -> bool:
    """Whether search solves it."""
    spec = AttemptSpec(
        id="attempt-1",
        run_id="run-1",
        round=0,
        slot=0,
        task=task,
        group_id="group-1",
        seed=1,
        environment=EnvironmentRef(name="courier"),
        executor="search",
        limits=Limits(tool_calls=calls),
    )

    async def work() -> bool:
        runtime = SubprocessRuntime()
        done = await SearchExecutor().execute(ExecutionContext(spec, environment, runtime))
        assert done.usage.tool_calls <= calls
        steps = done.trajectory.steps
        return bool(steps) and steps[-1].result.succeeded

    return asyncio.run(work())


def test_it_solves_what_snapshots_solve() -> None:
    solved = 0
    tasks = Courier().tasks("practice", 20, 2)
    # With more clauses a snapshot also tells how far the mission is, which does not show.
    for task in [each for each in tasks if each.mission and len(each.mission.clauses) == 1][:6]:
        one_way = OneWay()
        if attempt(Courier(), task, calls=60):
            assert attempt(one_way, task, calls=300)
            assert one_way.resets > 1
            solved += 1
    assert solved >= 4


def test_it_does_not_go_back_to_where_it_is() -> None:
    async def work() -> tuple[int, int]:
        world = OneWay()
        (task,) = Courier().tasks("practice", 1, 0)
        way = replayed(world, task, 0, await world.reset(task, 0))
        assert isinstance(way, HasSnapshots)
        assert isinstance(way, HasState)
        here = await way.snapshot()
        await way.restore(here)
        stayed = world.resets
        refused = await way.step(ToolCall(tool="no such tool"))
        assert refused.error is not None
        await way.restore(here)
        assert (await way.snapshot()).key == here.key
        return stayed, world.resets

    assert asyncio.run(work()) == (1, 1)


def test_a_state_is_told_apart_by_what_shows() -> None:
    async def work() -> None:
        world = OneWay()
        (task,) = Courier().tasks("practice", 1, 0)
        way = replayed(world, task, 0, await world.reset(task, 0))
        start = await way.snapshot()
        shown = await way.restore(start)
        thing = next(e for e in shown.entities)
        went = await way.step(ToolCall(tool="walk", arguments={"to": thing.reference}))
        if went.error is None and went.observation.text != shown.text:
            assert (await way.snapshot()).key != start.key
        back = await way.restore(start)
        assert back == shown
        assert (await way.snapshot()).key == start.key

    asyncio.run(work())


def test_only_its_own_snapshots_can_be_restored() -> None:
    way = Replayed(OneWay(), Courier().tasks("practice", 1, 0)[0], 0, Observation(text=""))
    assert not isinstance(way, HasState)
    with pytest.raises(UsageError, match="retrace its own steps"):
        asyncio.run(way.restore("elsewhere"))
