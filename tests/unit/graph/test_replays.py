"""Replaying candidates: fresh starts, unseen arguments, negative controls, rivals beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agentlab.environments.babyai import BabyAI
from agentlab.envs.courier.environment import Courier
from agentlab.envs.courier.world import CARGO, COLOURS
from agentlab.errors import EnvironmentFaultError, SkillFaultError
from agentlab.graph.likeness import CompareRequest, same_effect
from agentlab.graph.replays import replay_skill
from agentlab.graph.starts import ReplayRequest, known_values
from agentlab.library.admission import judge_replays, static_check
from agentlab.library.controls import judge_controls, untouched
from agentlab.protocols import Environment
from agentlab.sandbox.runtime import BoxRuntime
from agentlab.sandbox.subprocess import PlainBox, SubprocessRuntime
from agentlab.types import (
    Clause,
    EnvironmentRef,
    JsonObject,
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
    seen: tuple[tuple[str, ...], ...] = (),
    unsafe_local: bool = False,
) -> tuple[Replay, ...]:
    request = ReplayRequest(
        skill=skill,
        callees=tuple(callees),
        environment=COURIER,
        setups=("open",),
        count=count,
        seed=seed,
        seen=seen,
    )

    async def work() -> tuple[Replay, ...]:
        runtime = BoxRuntime(PlainBox(unsafe_local=unsafe_local))
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
    replays = _replay(_skill("    env.walk(to=item)\n", check=check))
    assert len(replays) == 3, "a few are kept, to tell what is wrong with the check"
    assert all(map(untouched, replays))
    assert judge_replays(replays, 3) is not None


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


def test_what_the_source_attempts_used_is_not_unseen() -> None:
    """A set of arguments counts as known when one attempt used all of its values."""
    first = _replay(FETCH, count=2)
    seen = tuple(known_values([replay.arguments]) for replay in first)
    again = _replay(FETCH, count=2, seen=seen)
    assert all(r.arguments not in [known.arguments for known in first] for r in again)
    assert all(r.unseen for r in (*first, *again))


def test_where_all_is_known_a_new_start_state_must_do() -> None:
    items: list[JsonObject] = [
        {"item": {"kind": kind, "colour": colour}} for kind in CARGO for colour in COLOURS
    ]
    replays = _replay(FETCH, seen=tuple(known_values([item]) for item in items))
    assert judge_replays(replays, 3) is None
    assert not any(replay.unseen for replay in replays)
    assert len({replay.task_id for replay in replays}) == 3


def test_replays_carry_negative_controls_and_what_is_needed_to_mend() -> None:
    (first, *_) = _replay(FETCH)
    assert judge_controls(FETCH, [first]) is None
    wrong = [control for control in first.controls if control.wrong == "item"]
    assert wrong
    assert not any(control.passed for control in first.controls)
    assert first.shape == ("item",)
    assert first.present == {"at": True, "holding": False}
    assert isinstance(first.bound["item"], dict)
    assert first.bound["item"]["cargo"] is True
    assert first.refused is None


@pytest.mark.parametrize("check", ["final['holding'] is not None", "final != initial"])
def test_a_check_that_passes_for_anything_is_found_out(check: str) -> None:
    source = HELD.replace("final['holding'] == item", check)
    replays = _replay(_skill("    env.walk(to=item)\n    env.take(item=item)\n", check=source))
    assert judge_replays(replays, 3) is None, "its own replays do not show it"
    found = judge_controls(FETCH, replays)
    assert found is not None
    assert found.startswith("effect: it passes for wrong arguments")


REMEMBERS = """
def check(initial, final, *, item: dict):
    import math
    if initial == final:
        if getattr(math, "seen", None) is None or math.seen[0] != initial:
            math.seen = [initial, item, 0]
        return False
    if not hasattr(math, "seen"):
        return False
    math.seen[2] += 1
    return math.seen[:2] == [initial, item] and math.seen[2] == 1
"""


def test_a_check_that_answers_by_what_it_was_asked_before_is_found_out() -> None:
    replays = _replay(_skill("    env.walk(to=item)\n", check=REMEMBERS))
    found = judge_replays(replays, 3)
    assert found is not None
    assert found.startswith("effect: ")


def test_a_check_that_search_did_not_make_remembers_nothing() -> None:
    once = REMEMBERS.replace(" and math.seen[2] == 1", "")
    foreign = _skill("    env.walk(to=item)\n", check=once, origin="import")
    replays = _replay(foreign, unsafe_local=True)
    assert judge_replays(replays, 3) is not None


def _alike(skill: Skill, *rivals: Skill, callees: Sequence[Skill] = ()) -> dict[str, bool]:
    request = CompareRequest(
        skill=skill,
        rivals=rivals,
        callees=tuple(callees),
        environment=COURIER,
        setups=("open",),
        count=3,
        seed=1,
    )

    async def work() -> dict[str, bool]:
        runtime = SubprocessRuntime()
        try:
            found = await same_effect(request, Courier(), runtime)
            return {likeness.name: likeness.alike for likeness in found}
        finally:
            await runtime.close()

    return asyncio.run(work())


def test_likeness_is_the_same_effect_from_the_same_starts() -> None:
    again = _skill("    env.walk(to=item)\n" * 2 + "    env.take(item=item)\n", name="again")
    drops = _skill(
        "    env.walk(to=item)\n    env.take(item=item)\n    env.leave()\n", name="drops"
    )
    calls = _skill("    env.skills.fetch(item=item)\n", name="calls", skills=["fetch"])
    other = again.model_copy(
        update={"achieves": Clause(predicate="at", arguments={"place": "item"}), "name": "other"}
    )
    other = other.model_copy(update={"source": other.source.replace("again", "other")})
    found = _alike(FETCH, again, drops, calls, other, callees=[FETCH])
    assert found == {"again": True, "drops": False, "calls": True, "other": False}
    assert _alike(drops, FETCH) == {"fetch": False}, "what has no effect is like nothing"


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
