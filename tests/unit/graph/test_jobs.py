"""What workers do: check proposals, replay candidates, attempt tasks."""

from __future__ import annotations

import asyncio

import pytest

from agentlab.envs.courier.environment import Courier
from agentlab.errors import EnvironmentFaultError, SkillFaultError, VerifierFaultError
from agentlab.graph.jobs import run_attempt
from agentlab.graph.task_gate import check_task
from agentlab.protocols import Environment
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    Clause,
    CodeVerifier,
    EnvironmentRef,
    JsonObject,
    Limits,
    Mission,
    Observation,
    StepResult,
    Task,
    ToolCall,
)

COURIER = EnvironmentRef(name="courier")


LEAVE = ToolCall(tool="leave")
NOTHING_DONE = ((LEAVE,), (LEAVE, LEAVE))


def _task(seed: int = 3) -> Task:
    """A task with the two failing cases that a proposal must bring."""
    task = Courier().tasks("practice", 1, seed)[0]
    return task.model_copy(update={"failing": NOTHING_DONE})


def _solution(task: Task) -> tuple[ToolCall, ...]:
    calls = asyncio.run(Courier().oracle(task))
    assert calls is not None
    return tuple(calls)


def _check(task: Task, environment: Environment | None = None) -> str | None:
    async def work() -> str | None:
        runtime = SubprocessRuntime()
        try:
            return await check_task(task, environment or Courier(), runtime)
        finally:
            await runtime.close()

    return asyncio.run(work())


def test_a_fit_task() -> None:
    task = _task()
    assert _check(task) is None
    assert _check(task.model_copy(update={"solution": _solution(task)})) is None


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_failing_cases(count: int) -> None:
    task = _task().model_copy(update={"failing": NOTHING_DONE[:count]})
    assert _check(task) == f"failing cases missing: {count} of 2"


def test_a_failing_case_that_passes_every_second_time() -> None:
    class Moody(Courier):
        resets = 0

        async def reset(self, task: Task, seed: int) -> Observation:
            self.resets += 1
            return await super().reset(task, seed)

        async def step(self, call: ToolCall) -> StepResult:
            result = await super().step(call)
            passed = {"terminated": True, "reward": 1.0}
            return result.model_copy(update=passed) if self.resets % 2 else result

    with pytest.raises(VerifierFaultError, match="passed once and failed once"):
        _check(_task(), Moody())


def test_a_solution_that_fails() -> None:
    task = _task()
    for solution in ((), (LEAVE,), _solution(task)[:-1]):
        reason = _check(task.model_copy(update={"solution": solution}))
        assert reason is not None
        assert reason.startswith("solution fails: ")


def test_a_solution_that_passes_once_only() -> None:
    class Tired(Courier):
        resets = 0

        async def reset(self, task: Task, seed: int) -> Observation:
            self.resets += 1
            return await super().reset(task, seed)

        async def step(self, call: ToolCall) -> StepResult:
            result = await super().step(call)
            return result if self.resets == 1 else result.model_copy(update={"reward": 0.0})

    task = _task()
    reason = _check(task.model_copy(update={"solution": _solution(task)}), Tired())
    assert reason is not None
    assert reason.startswith("solution fails: ")


def test_a_failing_case_that_passes() -> None:
    task = _task()
    reason = _check(task.model_copy(update={"failing": ((), _solution(task))}))
    assert reason is not None
    assert reason.startswith("failing case passes: ")


def _by_code(source: str, **changes: object) -> Task:
    task = _task()
    return task.model_copy(
        update={"verifier": CodeVerifier(source=source, origin="search"), **changes}
    )


def test_an_empty_trajectory_that_passes() -> None:
    reason = _check(_by_code("def verify(initial, final, answer):\n    return True\n"))
    assert reason == "empty trajectory passes: there is nothing to do"


def test_a_verifier_of_code() -> None:
    moved = "def verify(initial, final, answer):\n    return initial['at'] != final['at']\n"
    places = _places()
    there = (ToolCall(tool="walk", arguments={"to": places[1]}),)
    here = (ToolCall(tool="walk", arguments={"to": places[0]}),)
    assert _check(_by_code(moved, solution=there, failing=(here, (LEAVE,)))) is None
    reason = _check(_by_code(moved, solution=here))
    assert reason is not None
    assert reason.startswith("solution fails")
    reason = _check(_by_code(moved, failing=(here, there)))
    assert reason is not None
    assert reason.startswith("failing case passes: walk")


def _places() -> list[JsonObject]:
    """The place where the task starts, then the others."""

    async def work() -> list[JsonObject]:
        courier = Courier()
        observation = await courier.reset(_task(), 0)
        at = (await courier.state())["at"]
        found = [e.reference for e in observation.entities if e.type == "place"]
        return sorted(
            (place for place in found if isinstance(place, dict)), key=lambda place: place != at
        )

    return asyncio.run(work())


def test_a_verifier_that_raises_or_changes_its_mind() -> None:
    with pytest.raises(SkillFaultError, match="raised"):
        _check(_by_code("def verify(initial, final, answer):\n    return final['none']\n"))
    with pytest.raises(VerifierFaultError):
        _check(_by_code("def verify(initial, final, answer):\n    return 'yes'\n"))


def _spec(task: Task, *, executor: str = "search") -> AttemptSpec:
    return AttemptSpec(
        id="attempt-1",
        run_id="run-1",
        round=0,
        slot=0,
        task=task,
        group_id="group-1",
        seed=1,
        environment=COURIER,
        executor=executor,
        limits=Limits(tool_calls=600),
    )


def _attempt(spec: AttemptSpec, environment: Environment | None = None) -> AttemptOutcome:
    async def work() -> AttemptOutcome:
        runtime = SubprocessRuntime()
        try:
            return await run_attempt(spec, "verifier", environment or Courier(), runtime)
        finally:
            await runtime.close()

    return asyncio.run(work())


def test_an_attempt() -> None:
    mission = Mission(groups=((Clause(predicate="at", arguments={"place": _places()[1]}),),))
    task = Courier().grammar().compose(mission, str(_task().setup["setup"]), _task().seed)
    outcome = _attempt(_spec(task))
    assert outcome.success is True
    assert outcome.status == "completed"
    assert outcome.trajectory is not None
    assert outcome.usage.attempts == 1
    assert _attempt(_spec(_task(), executor="oracle")).success is True


def test_a_failed_attempt_is_data() -> None:
    task = _task()
    outcome = _attempt(_spec(task).model_copy(update={"limits": Limits(tool_calls=1)}))
    assert outcome.success is False
    assert outcome.status == "completed"
    assert outcome.score.explanation


@pytest.mark.parametrize("error", [ValueError("broken"), EnvironmentFaultError("broken")])
def test_an_environment_that_raises_is_an_infrastructure_failure(error: Exception) -> None:
    class Raising(Courier):
        async def step(self, call: ToolCall) -> StepResult:
            raise error

    outcome = _attempt(_spec(_task()), Raising())
    assert outcome.status == "infrastructure_failure"
    assert outcome.success is None
    assert outcome.error is not None
    assert "broken" in outcome.error
