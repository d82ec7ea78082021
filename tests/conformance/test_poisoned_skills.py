"""Poisoned skills travel in packs of sound form, and replays from fresh starts find them out."""

from __future__ import annotations

import asyncio

import pytest

from agentlab.envs.courier.environment import TOOLS, Courier
from agentlab.graph.replays import ReplayRequest, replay_skill
from agentlab.library.admission import judge_replays, static_check
from agentlab.library.packs.folder import build, read
from agentlab.sandbox import RuntimeLimits, SubprocessRuntime
from agentlab.testing.poisoned_skills import PoisonedSkill, honest_skill, poisoned_skills
from agentlab.testing.sample_packs import sample_key, sample_pack
from agentlab.types import EnvironmentRef, Skill

CASES = poisoned_skills()
LIMITS = RuntimeLimits(seconds=1.0, stop_seconds=0.1, tool_calls=50)
NAMES = {tool.name for tool in TOOLS}


def name_of(case: PoisonedSkill) -> str:
    return case.skill.name


def verdict(skill: Skill) -> str | None:
    request = ReplayRequest(
        skill=skill,
        callees=(),
        environment=EnvironmentRef(name="courier"),
        setups=("open",),
        count=5,
        seed=1,
        seen=(),
    )

    async def work() -> str | None:
        runtime = SubprocessRuntime(LIMITS)
        try:
            return judge_replays(await replay_skill(request, Courier(), runtime), 5)
        finally:
            await runtime.close()

    return asyncio.run(work())


def test_there_are_enough_of_each_kind() -> None:
    assert len({case.skill.source for case in CASES}) >= 40
    assert {case.fault for case in CASES} == {
        *("overfit", "empty-promise", "harmful", "wasteful", "unreliable"),
    }


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_their_form_says_nothing(case: PoisonedSkill) -> None:
    files = build(sample_pack(skills=(case.skill,)), key=sample_key())
    assert read(files).pack.skills[0].skill == case.skill


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_static_checks_find_what_they_can(case: PoisonedSkill) -> None:
    assert (static_check(case.skill, NAMES, ()) is None) == (case.gate != "static")


@pytest.mark.parametrize("case", [c for c in CASES if c.gate == "replay"], ids=name_of)
def test_replays_find_what_they_can(case: PoisonedSkill) -> None:
    assert verdict(case.skill) is not None


def test_the_honest_one_passes() -> None:
    assert static_check(honest_skill(), NAMES, ()) is None
    assert verdict(honest_skill()) is None
