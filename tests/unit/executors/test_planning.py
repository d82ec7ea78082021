"""Acting under a partial view: explore, plan in what was seen, act, and plan again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agentlab.environments.babyai import BabyAI
from agentlab.executors.actions import ActionSpace, Costs
from agentlab.executors.planning import plan_and_act
from agentlab.executors.search import SearchExecutor
from agentlab.executors.searcher import Meter
from agentlab.protocols import Environment, Execution, ExecutionContext, HasModel, HasSnapshots
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import (
    AttemptSpec,
    EnvironmentRef,
    JsonObject,
    Limits,
    Mission,
    Observation,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    Trajectory,
)
from tests.unit.executors.warehouse import Shelf, a_task, limits, mission, pointing

EXPLORE = ToolSpec(name="scout", description="", parameters={}, effect="explores")


class Veiled:
    """A shelf of which one more box is seen with each look; its model is what was seen."""

    tools: Sequence[ToolSpec] = (*Shelf.tools, EXPLORE)

    def __init__(self, goal: str, names: str = "abc", *, lies: int = 0) -> None:
        self._real = Shelf(goal, names)
        self._names = names
        self._seen = 0
        self._lies = lies
        self.calls: list[str] = []
        self.models: list[Shelf] = []

    def _show(self, shown: Observation) -> Observation:
        return shown.model_copy(update={"entities": shown.entities[: self._seen]})

    async def reset(self, task: Task, seed: int) -> Observation:
        return self._show(await self._real.reset(task, seed))

    async def step(self, call: ToolCall) -> StepResult:
        self.calls.append(call.tool)
        if call.tool == "scout":
            if self._seen == len(self._names):
                return StepResult(
                    observation=await self._shown(), error="nothing more to see", steps=0
                )
            self._seen += 1
            return StepResult(observation=await self._shown())
        if self._lies > 0:
            self._lies -= 1
            return StepResult(observation=await self._shown(), error="it is stuck", steps=0)
        result = await self._real.step(call)
        return result.model_copy(update={"observation": self._show(result.observation)})

    async def _shown(self) -> Observation:
        return self._show(await self._real.restore(await self._real.snapshot()))

    async def state(self) -> JsonObject:
        return await self._real.state()

    async def model(self) -> Environment:
        model = Shelf("".join(self._real.goal), self._names[: self._seen])
        await model.restore(await self._real.snapshot())
        self.models.append(model)
        return model

    async def close(self) -> None:
        return None


def _act(
    world: Environment, wanted: Mission, within: Limits | None = None
) -> tuple[Trajectory, Meter]:
    async def work() -> tuple[Trajectory, Meter]:
        meter = Meter(within or limits())
        space = ActionSpace(world.tools, wanted, (), costs=Costs())
        observation = await world.reset(a_task(wanted), 0)
        runtime = SubprocessRuntime()
        return await plan_and_act(world, observation, space, runtime, meter), meter

    return asyncio.run(work())


def test_explores_until_the_mission_is_seen_and_then_acts() -> None:
    world = Veiled("ba")
    trajectory, meter = _act(world, mission("a", "b"))
    assert [step.call.tool for step in trajectory.steps] == ["scout", "scout", "push", "push"]
    assert trajectory.steps[-1].result.succeeded
    assert meter.first_success is not None
    assert all(model.closed for model in world.models)


def test_calls_in_the_model_and_in_the_world_are_charged_alike() -> None:
    world = Veiled("ba")
    _, meter = _act(world, mission("a", "b"))
    in_models = sum(len(model.calls) for model in world.models)
    assert meter.tool_calls + meter.refused == in_models + len(world.calls)
    assert meter.first_success is not None
    assert meter.first_success.tool_calls == meter.tool_calls


def test_plans_anew_where_the_world_differs() -> None:
    world = Veiled("ba", lies=1)
    trajectory, _ = _act(world, mission("a", "b"))
    assert trajectory.steps[-1].result.succeeded
    assert len(world.models) == 2
    assert [step.result.error for step in trajectory.steps][2] == "it is stuck"


def test_explores_further_where_no_plan_was_found() -> None:
    world = Veiled("ca")
    trajectory, _ = _act(world, mission("a"), limits(400))
    assert trajectory.steps[-1].result.succeeded
    tools = [step.call.tool for step in trajectory.steps]
    assert tools == ["scout", "scout", "scout", "push", "push"]


def test_gives_up_within_the_limit() -> None:
    for allowed in (0, 1, 2, 5, 40):
        world = Veiled("zz")
        trajectory, meter = _act(world, mission("a"), limits(allowed))
        assert meter.tool_calls <= allowed
        assert not any(step.result.succeeded for step in trajectory.steps)
        assert meter.first_success is None


def test_a_goal_met_while_exploring_counts() -> None:
    class Lucky(Veiled):
        async def step(self, call: ToolCall) -> StepResult:
            result = await super().step(call)
            return result.model_copy(update={"terminated": True, "reward": 1.0})

    trajectory, meter = _act(Lucky("a"), mission("a"))
    assert len(trajectory.steps) == 1
    assert meter.first_success is not None
    assert meter.first_success.tool_calls == 1


def test_without_a_model_or_anything_to_explore() -> None:
    class Sealed:
        tools: Sequence[ToolSpec] = (pointing("push"),)

        async def reset(self, task: Task, seed: int) -> Observation:
            return Observation(text="")

        async def step(self, call: ToolCall) -> StepResult:
            raise AssertionError("there is nothing to do")

        async def close(self) -> None:
            return None

    trajectory, meter = _act(Sealed(), mission("a"))
    assert trajectory.steps == ()
    assert meter.tool_calls == 0


def _tasks(count: int) -> list[Task]:
    environment = BabyAI(view="partial")
    easy = [t for t in environment.tasks("practice", 60, 4) if t.template.startswith("room: ")]
    return easy[:count] or list(environment.tasks("practice", count, 4))


def _attempt(task: Task, calls: int) -> Execution:
    async def work() -> Execution:
        spec = AttemptSpec(
            id="attempt-1",
            run_id="run-1",
            round=0,
            slot=0,
            task=task,
            group_id="group-1",
            seed=1,
            environment=EnvironmentRef(name="babyai", options={"view": "partial"}),
            executor="search",
            limits=Limits(tool_calls=calls),
        )
        environment, runtime = BabyAI(view="partial"), SubprocessRuntime()
        try:
            return await SearchExecutor().execute(ExecutionContext(spec, environment, runtime))
        finally:
            await runtime.close()
            await environment.close()

    return asyncio.run(work())


def test_babyai_through_its_view() -> None:
    environment = BabyAI(view="partial")
    assert isinstance(environment, HasModel)
    assert not isinstance(environment, HasSnapshots)
    solved = 0
    for task in _tasks(6):
        execution = _attempt(task, 400)
        steps = execution.trajectory.steps
        succeeded = bool(steps) and steps[-1].result.succeeded
        solved += succeeded
        assert execution.usage.tool_calls <= 400
        assert (execution.first_success is not None) == succeeded
        assert not any(step.result.terminated for step in steps[:-1])
    assert solved >= 3


def test_babyai_through_its_view_is_deterministic() -> None:
    task = _tasks(1)[0]
    assert _attempt(task, 200).trajectory == _attempt(task, 200).trajectory


@pytest.mark.parametrize("allowed", [1, 30])
def test_babyai_keeps_to_its_limit(allowed: int) -> None:
    assert _attempt(_tasks(1)[0], allowed).usage.tool_calls <= allowed
