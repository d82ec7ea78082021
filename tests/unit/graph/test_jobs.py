"""What workers do: check proposals, replay candidates, attempt tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agentlab.environments.babyai import BabyAI
from agentlab.errors import EnvironmentFaultError, SkillFaultError, VerifierFaultError
from agentlab.graph.jobs import ReplayRequest, check_task, replay_skill, run_attempt
from agentlab.library.admission import judge_replays, static_check
from agentlab.protocols import Environment
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.testing.courier import Courier
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
    Parameter,
    Replay,
    Skill,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
)

COURIER = EnvironmentRef(name="courier")


def _task(seed: int = 3) -> Task:
    return Courier().tasks("practice", 1, seed)[0]


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
    wrong = (ToolCall(tool="leave"),)
    assert _check(task.model_copy(update={"failing": (wrong, ())})) is None


def test_a_solution_that_fails() -> None:
    task = _task()
    for solution in ((), (ToolCall(tool="leave"),), _solution(task)[:-1]):
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
    assert _check(_by_code(moved, solution=there, failing=(here,))) is None
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


DOC = '    """Do it.\n\n    Precondition: none.\n    Effect: it is so.\n    """\n'
HELD = "def check(initial, final, *, item: dict):\n    return final['holding'] == item\n"


def _skill(body: str, *, check: str = HELD, name: str = "fetch", **changes: object) -> Skill:
    return Skill.model_validate(
        {
            "id": f"skill-{name}",
            "name": name,
            "environment": "courier",
            "source": f"def {name}(env, *, item: dict):\n{DOC}{body}",
            "parameters": [Parameter(name="item", type="item", requires={"cargo": True})],
            "achieves": Clause(predicate="holding", arguments={"item": "item"}),
            "summary": "",
            "effect_source": check,
            "tools": ["walk", "take", "leave"],
            **changes,
        }
    )


FETCH = _skill("    env.walk(to=item)\n    env.take(item=item)\n")


def _replay(
    skill: Skill,
    *,
    count: int = 3,
    callees: Sequence[Skill] = (),
    environment: Environment | None = None,
    seed: int = 1,
) -> tuple[Replay, ...]:
    request = ReplayRequest(
        skill=skill,
        callees=tuple(callees),
        environment=COURIER,
        setups=("open",),
        count=count,
        seed=seed,
    )

    async def work() -> tuple[Replay, ...]:
        runtime = SubprocessRuntime()
        try:
            return await replay_skill(request, environment or Courier(), runtime)
        finally:
            await runtime.close()

    return asyncio.run(work())


def test_a_right_skill_passes() -> None:
    assert static_check(FETCH, {"walk", "take", "leave"}, ()) is None
    replays = _replay(FETCH, count=5)
    assert judge_replays(replays, 5) is None
    assert len(replays) == 5
    assert all(r.completed and r.used and r.effect and r.success for r in replays)
    assert all(r.tool_calls == 2 and r.steps > 0 and r.changes > 0 for r in replays)
    assert len({str(r.arguments) for r in replays}) == 5
    assert len({r.task_id for r in replays}) == 5


def test_replays_are_a_matter_of_the_seed() -> None:
    assert _replay(FETCH) == _replay(FETCH)
    assert _replay(FETCH) != _replay(FETCH, seed=2)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    env.walk(to=item)\n", "effect did not show"),
        ("    return None\n", "effect did not show"),
        ("    env.walk(to=item)\n    env.take(item=item)\n    env.leave()\n", "effect did not"),
        ("    env.take(item=item)\n", "did nothing in"),
        ("    env.walk(to=item)\n    env.leave()\n", "broke off in 2"),
        ("    env.walk(to=item)\n    raise ValueError('no')\n", "broke off in 2"),
        ("    raise ValueError('no')\n", "did nothing in"),
        ("    env.fly(to=item)\n", "did nothing in"),
    ],
)
def test_a_wrong_skill_does_not(body: str, reason: str) -> None:
    replays = _replay(_skill(body))
    found = judge_replays(replays, 3)
    assert found is not None
    assert reason in found
    assert len(replays) <= 4, "it stops as soon as the verdict is clear"


def test_a_skill_whose_effect_always_held_says_nothing() -> None:
    check = "def check(initial, final, *, item: dict):\n    return True\n"
    assert _replay(_skill("    env.walk(to=item)\n", check=check)) == ()


def test_a_skill_that_promises_what_the_verifier_does_not_see() -> None:
    check = "def check(initial, final, *, item: dict):\n    return final['at'] != initial['at']\n"
    replays = _replay(_skill("    env.walk(to=item)\n", check=check))
    found = judge_replays(replays, 3)
    assert found == f"replay: the task's verifier was not satisfied on replay {len(replays)}"


def test_an_effect_check_that_raises_is_a_fault() -> None:
    check = "def check(initial, final, *, item: dict):\n    return final['none']\n"
    with pytest.raises(SkillFaultError):
        _replay(_skill("    env.walk(to=item)\n", check=check))


def test_a_precondition_is_brought_about() -> None:
    swap = _skill(
        "    env.leave()\n    env.walk(to=item)\n    env.take(item=item)\n",
        precondition={"holding": {"present": True}},
    )
    replays = _replay(swap)
    assert judge_replays(replays, 3) is None
    assert {replay.success for replay in replays} == {None}, "the task began before the skill"
    nowhere = _skill("    env.leave()\n", precondition={"unheard": {"present": True}})
    assert _replay(nowhere) == ()
    assert judge_replays((), 3) is not None


def test_known_arguments_are_not_replayed() -> None:
    first = _replay(FETCH, count=2)
    tests = tuple({"task": r.task_id, "arguments": r.arguments} for r in first)
    again = _replay(FETCH.model_copy(update={"tests": tests}), count=2)
    known = [r.arguments for r in first]
    assert all(replay.arguments not in known for replay in again)


def test_known_arguments_are_known_whatever_else_varies() -> None:
    """Tests name what the clause names; a free parameter makes no new argument set."""
    two = _skill("    env.walk(to=other)\n    env.walk(to=item)\n    env.take(item=item)\n")
    two = two.model_copy(
        update={
            "source": two.source.replace("item: dict)", "item: dict, other: dict)"),
            "effect_source": HELD.replace("item: dict)", "item: dict, other: dict)"),
            "parameters": (
                *two.parameters,
                Parameter(name="other", type="place", from_clause=False),
            ),
        }
    )
    first = _replay(two, count=2)
    assert judge_replays(first, 2) is None
    known = [{"item": r.arguments["item"]} for r in first]
    tests = tuple({"task": "t", "arguments": arguments} for arguments in known)
    again = _replay(two.model_copy(update={"tests": tests}), count=2)
    assert all({"item": r.arguments["item"]} not in known for r in again)


def test_skills_that_call_skills() -> None:
    caller = _skill("    env.skills.fetch(item=item)\n", name="outer", skills=["fetch"])
    assert judge_replays(_replay(caller, callees=[FETCH]), 3) is None
    alone = judge_replays(_replay(caller), 3)
    assert alone is not None


def test_replaying_keeps_to_practice() -> None:
    seeds: set[int] = set()

    class Watched(Courier):
        async def reset(self, task: Task, seed: int) -> Observation:
            seeds.add(task.seed)
            assert self.split_rule.refusal(task) is None
            return await super().reset(task, seed)

    _replay(FETCH, count=5, environment=Watched())
    assert len(seeds) >= 5


def test_replaying_needs_grammar_and_state() -> None:
    class Bare:
        tools: Sequence[ToolSpec] = ()

        async def reset(self, task: Task, seed: int) -> Observation:
            return Observation(text="")

        async def step(self, call: ToolCall) -> StepResult:
            return StepResult(observation=Observation(text=""))

        async def close(self) -> None:
            return None

    with pytest.raises(EnvironmentFaultError, match="grammar"):
        _replay(FETCH, environment=Bare())


def test_replays_in_babyai() -> None:
    skill = Skill(
        id="skill-go",
        name="go",
        environment="babyai",
        source=f"def go(env, *, x: dict):\n{DOC}    env.go_to(thing=x)\n",
        parameters=(Parameter(name="x", type="object"),),
        achieves=Clause(predicate="go_to", arguments={"x": "x"}),
        summary="",
        effect_source="def check(initial, final, *, x: dict):\n    return final != initial\n",
        tools=("go_to",),
    )
    environment = BabyAI()
    tools = {tool.name for tool in environment.tools}
    assert "go_to" in tools
    parameter = next(iter(_properties(environment, "go_to")))
    skill = skill.model_copy(update={"source": skill.source.replace("thing=", f"{parameter}=")})
    request = ReplayRequest(
        skill=skill,
        environment=EnvironmentRef(name="babyai"),
        setups=("room",),
        count=2,
        seed=3,
    )

    async def work() -> tuple[Replay, ...]:
        runtime = SubprocessRuntime()
        try:
            return await replay_skill(request, environment, runtime)
        finally:
            await runtime.close()

    assert sum(replay.success is True for replay in asyncio.run(work())) >= 2


def _properties(environment: Environment, tool: str) -> JsonObject:
    (spec,) = (spec for spec in environment.tools if spec.name == tool)
    properties = spec.parameters["properties"]
    assert isinstance(properties, dict)
    return properties


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
