"""Best-first search from snapshots: plans, what is charged, skills, and dead ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agentlab.envs.courier.environment import Courier
from agentlab.errors import UsageError
from agentlab.executors.actions import ActionSpace, Costs
from agentlab.executors.search import FlatSearchExecutor, SearchExecutor, mission_of
from agentlab.executors.searcher import REFUSALS, Meter, Plan, Searcher
from agentlab.protocols import Environment, Execution, ExecutionContext
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import (
    AttemptSpec,
    EnvironmentRef,
    Limits,
    Mission,
    Observation,
    Offer,
    Skill,
    StepResult,
    Task,
    ToolSpec,
    Usage,
)
from tests.unit.executors.warehouse import Saved, Shelf, a_skill, a_task, limits, mission, pointing


def _find(
    shelf: Shelf,
    wanted: Mission | None = None,
    skills: Sequence[Skill] = (),
    *,
    within: Limits | None = None,
    calls: int | None = None,
) -> tuple[Plan, Meter]:
    async def work() -> tuple[Plan, Meter]:
        runtime = SubprocessRuntime()
        try:
            if skills:
                await runtime.open(skills, shelf.tools)
            meter = Meter(within or limits())
            space = ActionSpace(shelf.tools, wanted, skills, costs=Costs())
            observation = await shelf.reset(a_task(wanted), 0)
            plan = await Searcher(shelf, space, runtime, meter, calls=calls).find(observation)
            return plan, meter
        finally:
            await runtime.close()

    return asyncio.run(work())


def _pushes(plan: Plan) -> str:
    return "".join(str(call.arguments["x"]) for move in plan.moves for call in move.calls)


def test_finds_a_plan_and_keeps_what_it_cost() -> None:
    plan, meter = _find(Shelf("ab"))
    assert plan.solved
    assert _pushes(plan) == "ab"
    assert meter.first_success is not None
    assert meter.first_success.tool_calls == meter.tool_calls
    assert meter.tool_calls < meter.steps <= 2 * meter.tool_calls


def test_named_things_are_searched_first() -> None:
    informed = _find(Shelf("cb"), mission("c", "b"))[1].tool_calls
    blind = _find(Shelf("cb"))[1].tool_calls
    assert informed < blind


def test_without_a_plan_the_longest_path_is_given() -> None:
    plan, meter = _find(Shelf("zz", most=3), within=limits(60))
    assert not plan.solved
    assert len(plan.moves) == 2, "the third push truncates the episode and is a dead end"
    assert meter.first_success is None
    assert meter.tool_calls <= 60


def test_never_more_calls_than_allowed() -> None:
    for allowed in (0, 1, 7):
        assert _find(Shelf("zzz"), within=limits(allowed))[1].tool_calls == allowed


def test_a_part_of_the_calls() -> None:
    assert _find(Shelf("zzz"), calls=5)[1].tool_calls == 5


def test_refused_calls_are_counted_apart_and_have_an_end() -> None:
    plan, meter = _find(Shelf("ababab"), mission("a", "b"), within=limits(4000))
    assert plan.solved
    assert meter.refused > 0
    refused = StepResult(observation=Observation(text=""), error="no", steps=0)
    tired = Meter(limits(3))
    for _ in range(3 * REFUSALS):
        assert tired.left == 3
        tired.charge(refused)
    assert tired.left == 0
    assert tired.usage().tool_calls == tired.usage().steps == 0


def test_steps_and_seconds_end_it_too() -> None:
    meter = Meter(limits(10, steps=4))
    for _ in range(2):
        assert meter.left > 0
        meter.charge(StepResult(observation=Observation(text=""), steps=2))
    assert meter.left == 0
    assert Meter(Limits(seconds=-1)).left == 0
    assert _find(Shelf("zzzz"), within=limits(50, steps=6))[1].steps <= 7


def test_first_success_stays() -> None:
    meter = Meter(limits())
    meter.charge(StepResult(observation=Observation(text="")))
    meter.reached()
    first = meter.first_success
    meter.charge(StepResult(observation=Observation(text="")))
    meter.reached()
    assert meter.first_success == first
    assert first is not None
    assert first.tool_calls == 1


def test_a_state_is_expanded_once() -> None:
    class Round(Shelf):
        """Only the last box counts, so there are four states."""

        async def snapshot(self) -> Saved:
            return Saved(self.pushed[-1:])

    _, meter = _find(Round("zz", most=1000), within=limits(1000))
    pushes, wrecks, again = 3 + 3 * 2, 4 * 3, 3
    assert meter.tool_calls == pushes + wrecks
    assert meter.refused == again


def test_skill_calls_are_charged_for_what_they_do() -> None:
    skill = a_skill("env.push(x=x); env.push(x=y)", "x", "y", achieves="pushed")
    shelf = Shelf("cab", names="abcde")
    plan, meter = _find(shelf, mission("c"), [skill])
    assert plan.solved
    assert _pushes(plan) == "cab"
    assert len(plan.moves) == 2
    assert {move.skill.name if move.skill else "" for move in plan.moves} == {"", "do"}
    assert meter.tool_calls + meter.refused == len(shelf.calls)


def test_a_goal_inside_a_skill_is_kept_up_to_there() -> None:
    skill = a_skill("env.push(x=x); env.push(x=y); env.push(x=x)", "x", "y", achieves="pushed")
    plan, _ = _find(Shelf("ab"), mission("a"), [skill])
    assert plan.solved
    assert _pushes(plan) == "ab"
    (move,) = plan.moves
    assert move.skill is not None
    assert move.arguments == {"x": "a", "y": "b"}


def test_a_skill_that_is_refused_or_fails_is_a_dead_end() -> None:
    refused = a_skill("env.push(x=x); env.push(x=x)", "x", name="twice", achieves="pushed")
    raising = a_skill("raise ValueError('no')", name="broken")
    idle = a_skill("pass", name="idle")
    shelf = Shelf("ab")
    plan, _ = _find(shelf, mission("a", "b"), [refused, raising, idle])
    assert plan.solved
    assert "broken" not in str(plan.moves)
    assert "idle" not in str(plan.moves)
    (_, last) = plan.moves
    assert [call.arguments for call in last.calls] == [{"x": "b"}], "its second call was refused"


def test_a_skill_that_breaks_after_its_first_call_hides_nothing() -> None:
    broken = a_skill("env.push(x=x); raise ValueError('no')", "x", achieves="pushed")
    plan, _ = _find(Shelf("ab"), mission("a", "b"), [broken])
    assert plan.solved, "the plain call must be tried although the skill has made the same one"


def test_a_call_that_a_skill_has_made_is_not_paid_twice() -> None:
    skill = a_skill("env.push(x=x)", "x", achieves="pushed")
    with_it = Shelf("zz", most=1000)
    _find(with_it, mission("a", "b", "c"), [skill], within=limits(30))
    seen: set[tuple[str, ...]] = set()
    for call in with_it.calls[:6]:
        key = (call.tool, str(call.arguments["x"]))
        assert key not in seen or call.tool == "wreck" or len(seen) > 3
        seen.add(key)


def test_the_budget_ends_a_skill_midway() -> None:
    forever = a_skill("while True:\n        env.push(x=x)\n        env.push(x=y)", "x", "y")
    _, meter = _find(Shelf("zz", most=1000), None, [forever], within=limits(9))
    assert meter.tool_calls == 9


def test_preconditions_are_read_in_each_state() -> None:
    skill = a_skill("env.push(x=x)", "x", achieves="pushed", precondition={"last": "b"})
    plan, _ = _find(Shelf("bc", names="abcdef"), mission("c", "b", "d", "e", "f"), [skill])
    assert plan.solved
    used = [move.skill is not None for move in plan.moves]
    assert used == [False, True]


def test_needs_snapshots() -> None:
    class Plain:
        tools: Sequence[ToolSpec] = (pointing("push"),)

        async def reset(self, task: Task, seed: int) -> Observation:
            return Observation(text="")

        async def step(self, call: object) -> StepResult:
            return StepResult(observation=Observation(text=""))

        async def close(self) -> None:
            return None

    space = ActionSpace(Plain.tools, None, (), costs=Costs())
    with pytest.raises(UsageError, match=r"needs an environment with snapshot"):
        Searcher(Plain(), space, SubprocessRuntime(), Meter(limits()))


def _spec(task: Task, **options: object) -> AttemptSpec:
    return AttemptSpec.model_validate(
        {
            "id": "attempt-1",
            "run_id": "run-1",
            "round": 0,
            "slot": 0,
            "task": task,
            "group_id": "group-1",
            "seed": 1,
            "environment": EnvironmentRef(name="shelf"),
            "executor": "search",
            **options,
        }
    )


def _execute(
    executor: SearchExecutor, environment: Environment, spec: AttemptSpec
) -> tuple[Execution, SubprocessRuntime]:
    runtime = SubprocessRuntime()

    async def work() -> Execution:
        try:
            return await executor.execute(ExecutionContext(spec, environment, runtime))
        finally:
            await runtime.close()

    return asyncio.run(work()), runtime


def test_executor_plays_the_plan_from_a_fresh_start() -> None:
    skill = a_skill("env.push(x=x); env.push(x=y)", "x", "y", achieves="pushed")
    spec = _spec(a_task(mission("c")), skills=(skill,))
    execution, _ = _execute(SearchExecutor(), Shelf("cab"), spec)
    trajectory = execution.trajectory
    assert [step.call.arguments["x"] for step in trajectory.steps] == ["c", "a", "b"]
    assert trajectory.steps[-1].result.succeeded
    assert trajectory.initial_state == {"last": None, "pushed": []}
    assert trajectory.steps[-1].state == {"last": "b", "pushed": ["c", "a", "b"]}
    (invocation,) = trajectory.invocations
    assert (invocation.first_step, invocation.end_step) in ((0, 2), (1, 3))
    assert execution.first_success is not None
    assert execution.usage.tool_calls == execution.first_success.tool_calls


def test_executor_offers_only_what_was_drawn() -> None:
    kept = a_skill("env.helper()", "x", name="kept", achieves="pushed")
    callee = a_skill("env.push(x='c')", name="callee")
    offers = (Offer(item_id=kept.id, name="kept", probability=0.5, withheld=True),)
    spec = _spec(a_task(mission("c")), skills=(callee,), offers=offers)
    execution, _ = _execute(SearchExecutor(), Shelf("c"), spec)
    assert execution.trajectory.invocations == ()


def test_flat_search_is_blind_to_the_mission() -> None:
    spec = _spec(a_task(mission("c", "b")))
    informed, _ = _execute(SearchExecutor(), Shelf("cb"), spec)
    flat, _ = _execute(FlatSearchExecutor(), Shelf("cb"), spec)
    assert informed.usage.tool_calls < flat.usage.tool_calls


def test_the_same_twice() -> None:
    task = Courier().tasks("practice", 1, 3)[0]
    spec = _spec(task, limits=Limits(tool_calls=200))
    runs = [_execute(SearchExecutor(), Courier(), spec)[0] for _ in range(2)]
    assert runs[0].trajectory == runs[1].trajectory
    assert _timeless(runs[0].usage) == _timeless(runs[1].usage)


def _timeless(usage: Usage) -> Usage:
    return usage.model_copy(update={"cpu_seconds": 0.0, "wall_seconds": 0.0})


def test_the_mission_is_read_from_the_instruction() -> None:
    courier = Courier()
    task = courier.tasks("practice", 1, 3)[0]
    untold = task.model_copy(update={"mission": None})
    assert mission_of(courier, untold) == task.mission
    foreign = task.model_copy(update={"instruction": "sing"})
    assert mission_of(courier, foreign) == task.mission
    assert mission_of(Shelf("a"), a_task(mission("a"))) == mission("a")
