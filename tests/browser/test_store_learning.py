"""From solved attempts in the shop to a skill that works in worlds it never saw; no model."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from agentlab.curators.generalise import GeneralisingCurator
from agentlab.environments.registration import make_environment
from agentlab.environments.web.environment import PageEnvironment
from agentlab.executors.search import SearchExecutor
from agentlab.graph.replays import replay_skill
from agentlab.graph.starts import ReplayRequest, known_values
from agentlab.library.admission import judge_replays, static_check
from agentlab.library.constants import particulars
from agentlab.library.controls import judge_controls
from agentlab.protocols import CurationContext, ExecutionContext, HasGrammar, HasTasks
from agentlab.sandbox import open_runtime
from agentlab.types import (
    AttemptSpec,
    EnvironmentRef,
    Limits,
    PastAttempt,
    Replay,
    Skill,
    StepResult,
    Task,
    Trajectory,
)

SHOP = EnvironmentRef(
    name="store", options={"questions": False, "proofs": False, "kinds": ["viewing", "signed_in"]}
)
TASKS = 4
NEEDED = 2
CALLS = 10


class Learnt(NamedTuple):
    """A candidate, and what its gates found."""

    skill: Skill
    static: str | None
    replays: tuple[Replay, ...]


def spec_of(task: Task, skills: tuple[Skill, ...] = ()) -> AttemptSpec:
    return AttemptSpec(
        id=f"attempt-{task.id}",
        run_id="run",
        round=0,
        slot=0,
        task=task,
        group_id="group",
        seed=0,
        environment=SHOP,
        executor="search",
        limits=Limits(tool_calls=CALLS, seconds=600),
        skills=skills,
    )


def succeeded(trajectory: Trajectory) -> bool:
    last: StepResult | None = trajectory.steps[-1].result if trajectory.steps else None
    return last is not None and last.succeeded


async def learnt() -> tuple[list[Learnt], int]:
    """Search a few practice tasks, generalise what was solved, and put it through the gates."""
    world = make_environment(SHOP)
    runtime = open_runtime("auto", spares=0)
    assert isinstance(world, PageEnvironment)
    assert isinstance(world, HasTasks)
    assert isinstance(world, HasGrammar)
    try:
        past: list[PastAttempt] = []
        for task in world.tasks("practice", TASKS, 1):
            context = ExecutionContext(spec_of(task), world, runtime)
            done = await SearchExecutor().execute(context)
            won = succeeded(done.trajectory)
            past.append(PastAttempt(task, f"attempt-{task.id}", won, done.trajectory, 0))
        grammar = world.grammar()
        candidates = await GeneralisingCurator().curate(
            CurationContext("store", "default", past, (), (), world.tools, grammar)
        )
        found: list[Learnt] = []
        for skill in candidates:
            sources = [p for p in past if p.task.id in skill.source_tasks]
            own = [p.trajectory for p in sources if p.trajectory is not None]
            fault = static_check(
                skill,
                {tool.name for tool in world.tools},
                (),
                particulars(
                    [p.task for p in sources],
                    [t.initial.entities for t in own],
                    [t.initial_state for t in own if t.initial_state is not None],
                    tools=world.tools,
                    spec=grammar.spec,
                ),
                {template.predicate for template in grammar.spec.templates},
                specs=world.tools,
            )
            request = ReplayRequest(
                skill=skill,
                environment=SHOP,
                setups=("visitor",),
                count=NEEDED,
                seed=7,
                seen=tuple(known_values([s.call.arguments for s in t.steps]) for t in own),
            )
            found.append(Learnt(skill, fault, await replay_skill(request, world, runtime)))
        return found, sum(p.success is True for p in past)
    finally:
        await runtime.close()
        await world.close()


def test_what_was_learnt_in_a_few_worlds_works_in_others() -> None:
    found, solved = asyncio.run(learnt())
    assert solved == TASKS
    by_name = {each.skill.name: each for each in found}
    assert set(by_name) == {"viewing", "signed_in"}
    for each in found:
        assert each.static is None
        assert judge_replays(each.replays, NEEDED) is None
        assert judge_controls(each.skill, each.replays) is None
    search = by_name["viewing"].skill.source
    assert 'product["name"]' in search
    enter = by_name["signed_in"].skill
    assert 'customer["email"]' in enter.source
    assert enter.effect == ('final["user"] == customer["email"]',)
