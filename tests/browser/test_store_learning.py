"""From solved attempts in the shop to a skill that works in worlds it never saw; no model."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from agentlab.curators.generalise import GeneralisingCurator
from agentlab.environments.registration import make_environment
from agentlab.environments.web.environment import PageEnvironment
from agentlab.executors.oracle import OracleExecutor
from agentlab.executors.search import SearchExecutor
from agentlab.graph.replays import replay_skill
from agentlab.graph.starts import ReplayRequest, known_values
from agentlab.library.admission import judge_replays, static_check
from agentlab.library.constants import particulars
from agentlab.library.controls import judge_controls
from agentlab.protocols import CurationContext, ExecutionContext, Executor, HasGrammar, HasTasks
from agentlab.sandbox import open_runtime
from agentlab.types import (
    AttemptSpec,
    EnvironmentRef,
    JsonObject,
    Limits,
    PastAttempt,
    Replay,
    Skill,
    StepResult,
    Task,
    Trajectory,
)

TASKS = 4
NEEDED = 2
CALLS = 10


class Learnt(NamedTuple):
    """A candidate, and what its gates found."""

    skill: Skill
    static: str | None
    replays: tuple[Replay, ...]


def shop_of(*kinds: str) -> EnvironmentRef:
    options: JsonObject = {"questions": False, "proofs": False, "kinds": [*kinds]}
    return EnvironmentRef(name="store", options=options)


def spec_of(task: Task, shop: EnvironmentRef) -> AttemptSpec:
    return AttemptSpec(
        id=f"attempt-{task.id}",
        run_id="run",
        round=0,
        slot=0,
        task=task,
        group_id="group",
        seed=0,
        environment=shop,
        executor="search",
        limits=Limits(tool_calls=CALLS, seconds=600),
    )


def succeeded(trajectory: Trajectory) -> bool:
    last: StepResult | None = trajectory.steps[-1].result if trajectory.steps else None
    return last is not None and last.succeeded


async def learnt(shop: EnvironmentRef, executor: Executor, tasks: int) -> tuple[list[Learnt], int]:
    """Attempt practice tasks, generalise what was solved, and put it through the gates."""
    world = make_environment(shop)
    runtime = open_runtime("auto", spares=0)
    assert isinstance(world, PageEnvironment)
    assert isinstance(world, HasTasks)
    assert isinstance(world, HasGrammar)
    try:
        past: list[PastAttempt] = []
        for task in world.tasks("practice", tasks, 1):
            context = ExecutionContext(spec_of(task, shop), world, runtime)
            done = await executor.execute(context)
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
                environment=shop,
                setups=(sources[0].task.template.partition(": ")[0],),
                count=NEEDED,
                seed=7,
                seen=tuple(known_values([s.call.arguments for s in t.steps]) for t in own),
            )
            found.append(Learnt(skill, fault, await replay_skill(request, world, runtime)))
        return found, sum(p.success is True for p in past)
    finally:
        await runtime.close()
        await world.close()


def works_elsewhere(found: Learnt) -> None:
    assert found.static is None
    assert judge_replays(found.replays, NEEDED) is None
    assert judge_controls(found.skill, found.replays) is None


def test_what_was_learnt_in_a_few_worlds_works_in_others() -> None:
    found, solved = asyncio.run(learnt(shop_of("viewing", "signed_in"), SearchExecutor(), TASKS))
    assert solved == TASKS
    by_name = {each.skill.name: each for each in found}
    assert set(by_name) == {"viewing", "signed_in"}
    for each in found:
        works_elsewhere(each)
    search = by_name["viewing"].skill.source
    assert 'product["name"]' in search
    enter = by_name["signed_in"].skill
    assert 'customer["email"]' in enter.source
    assert enter.effect == ('final["user"] == customer["email"]',)


KINDS = ("cancelled", "default_address", "discounted", "reviewed")
"""Changes that other worlds once did not allow, or did not show."""


def test_what_changes_an_account_works_in_other_worlds() -> None:
    tasks = 2 * len(KINDS)
    found, solved = asyncio.run(learnt(shop_of(*KINDS), OracleExecutor(), tasks))
    assert solved == tasks
    assert {each.skill.name for each in found} == set(KINDS)
    for each in found:
        works_elsewhere(each)
    effects = {each.skill.name: each.skill.effect for each in found}
    # How it was paid and sent is no part of what cancelling does.
    assert effects["cancelled"] == (
        'any(row.get("customer") == final["user"] and row.get("number") == order["number"] '
        'and row.get("status") == "cancelled" for row in final["orders"])',
    )
