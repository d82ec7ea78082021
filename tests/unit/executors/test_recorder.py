"""What is kept of a plan that is carried out: steps, states and skill calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentlab.envs.courier.environment import Courier
from agentlab.executors.recorder import Recorder
from agentlab.executors.searcher import PlannedMove
from agentlab.types import Observation, StepResult, Task, ToolCall, ToolSpec, Trajectory
from tests.unit.executors.warehouse import Shelf, a_skill, a_task


def _push(name: str) -> ToolCall:
    return ToolCall(tool="push", arguments={"x": name})


def _record(shelf: Shelf, moves: Sequence[PlannedMove]) -> tuple[Trajectory, StepResult | None]:
    async def work() -> tuple[Trajectory, StepResult | None]:
        recorder = Recorder(shelf, await shelf.reset(a_task(), 0))
        await recorder.start()
        result = await recorder.follow(moves)
        return recorder.trajectory(), result

    return asyncio.run(work())


def test_steps_and_states() -> None:
    trajectory, result = _record(
        Shelf("ab"), [PlannedMove((_push("a"),)), PlannedMove((_push("b"),))]
    )
    assert trajectory.initial_state == {"last": None, "pushed": []}
    assert [step.state for step in trajectory.steps] == [
        {"last": "a", "pushed": ["a"]},
        {"last": "b", "pushed": ["a", "b"]},
    ]
    assert result is not None
    assert result.succeeded
    assert trajectory.invocations == ()


def test_nothing_to_do() -> None:
    trajectory, result = _record(Shelf("ab"), [])
    assert result is None
    assert trajectory.steps == ()
    assert trajectory.initial_state is not None


def test_skill_calls_cover_their_steps() -> None:
    skill = a_skill("pass", "x", "y")
    moves = [
        PlannedMove((_push("c"),)),
        PlannedMove((_push("a"), _push("b")), skill, {"x": "a", "y": "b"}),
        PlannedMove((_push("a"),), skill),
    ]
    trajectory, _ = _record(Shelf("zz"), moves)
    first, second = trajectory.invocations
    assert (first.first_step, first.end_step, first.skill_id) == (1, 3, skill.id)
    assert first.arguments == {"x": "a", "y": "b"}
    assert (second.first_step, second.end_step, second.arguments) == (3, 4, {})


def test_stops_where_the_plan_no_longer_fits() -> None:
    skill = a_skill("pass")
    moves = [
        PlannedMove((_push("a"), _push("a"), _push("b")), skill),
        PlannedMove((_push("c"),)),
    ]
    trajectory, result = _record(Shelf("zz"), moves)
    assert len(trajectory.steps) == 2
    assert result is not None
    assert result.error is not None
    (invocation,) = trajectory.invocations
    assert (invocation.first_step, invocation.end_step) == (0, 2)


def test_stops_when_the_episode_is_over() -> None:
    won, _ = _record(
        Shelf("a"), [PlannedMove((_push("a"), _push("b"))), PlannedMove((_push("c"),))]
    )
    assert len(won.steps) == 1
    cut, result = _record(Shelf("zz", most=2), [PlannedMove(tuple(map(_push, "abca")))])
    assert len(cut.steps) == 2
    assert result is not None
    assert result.truncated


def test_without_a_readable_state() -> None:
    class Blind:
        tools: Sequence[ToolSpec] = ()

        async def reset(self, task: Task, seed: int) -> Observation:
            return Observation(text="dark")

        async def step(self, call: ToolCall) -> StepResult:
            return StepResult(observation=Observation(text="still dark"))

        async def close(self) -> None:
            return None

    async def work() -> Trajectory:
        recorder = Recorder(Blind(), Observation(text="dark"))
        await recorder.start()
        await recorder.perform(_push("a"))
        return recorder.trajectory()

    trajectory = asyncio.run(work())
    assert trajectory.initial_state is None
    assert trajectory.steps[0].state is None


def test_a_recorded_solution_is_the_solution() -> None:
    async def work() -> tuple[Trajectory, Sequence[ToolCall]]:
        courier = Courier()
        task = courier.tasks("practice", 1, 5)[0]
        calls = await courier.oracle(task)
        assert calls is not None
        recorder = Recorder(courier, await courier.reset(task, 0))
        await recorder.start()
        await recorder.follow([PlannedMove((call,)) for call in calls])
        return recorder.trajectory(), calls

    trajectory, calls = asyncio.run(work())
    assert trajectory.calls == tuple(calls)
    assert trajectory.steps[-1].result.succeeded
    assert all(step.state for step in trajectory.steps)
