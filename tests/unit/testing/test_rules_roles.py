"""The rules that play the other roles, against the prompts that ship: what they say is usable."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import TypeVar

import pytest
from pydantic import BaseModel, Field

from agentlab.curators.ace import AceCurator
from agentlab.curators.alphaopt import AlphaOptCurator
from agentlab.curators.cheatsheet import SynthesisCheatsheet
from agentlab.curators.model_skills import SkillCurator
from agentlab.embeddings.lexical import LexicalEmbedder
from agentlab.envs.courier.environment import Courier
from agentlab.evaluators.judge import Judge
from agentlab.executors.code import CodeExecutor
from agentlab.executors.react import ReactExecutor
from agentlab.graph.task_gate import check_task
from agentlab.models.scripted import ScriptedModel
from agentlab.models.structured import ask
from agentlab.proposers.challenger import ChallengerProposer
from agentlab.proposers.context import ContextProposer
from agentlab.proposers.hindsight import HindsightProposer
from agentlab.protocols import (
    CurationContext,
    Environment,
    EnvironmentFactory,
    EvaluationContext,
    ExecutionContext,
    Executor,
    InsightContext,
    InsightCurator,
    ProposalContext,
    Proposer,
    SkillRuntime,
)
from agentlab.sandbox import open_runtime
from agentlab.testing.rules.roles import courier_rules, files_rules, least
from agentlab.types import (
    AttemptSpec,
    ChatRequest,
    EnvironmentRef,
    Insight,
    JsonObject,
    Limits,
    Message,
    PastAttempt,
    Task,
)
from tests.unit.testing.desk_of_files import RULE, Desk

T = TypeVar("T")
BOX = "unsafe-local"
"""Quick; what the rules write is known."""


def with_runtime(work: Callable[[SkillRuntime], Awaitable[T]]) -> T:
    async def run() -> T:
        runtime = open_runtime(BOX, single_use=True)
        try:
            return await work(runtime)
        finally:
            await runtime.close()

    return asyncio.run(run())


def proposals(
    proposer: Proposer,
    environment: EnvironmentFactory,
    recent: Sequence[PastAttempt] = (),
    count: int = 4,
) -> list[Task]:
    desk = environment is Desk
    context = ProposalContext(
        environment=environment,
        split_rule=RULE if desk else Courier().split_rule,
        count=count,
        seed=1,
        round=0,
        templates=(),
        recent=recent,
        model=ScriptedModel(files_rules if desk else courier_rules),
    )
    return list(asyncio.run(proposer.propose(context)))


def spec_of(task: Task, insights: Sequence[Insight] = ()) -> AttemptSpec:
    return AttemptSpec(
        id=f"attempt-{task.id}",
        run_id="run",
        round=0,
        slot=0,
        task=task,
        group_id=f"group-{task.id}",
        seed=task.seed,
        environment=EnvironmentRef(name="courier"),
        executor="react",
        limits=Limits(tool_calls=30),
        insights=tuple(insights),
    )


async def attempt(
    executor: Executor,
    task: Task,
    environment: Environment,
    runtime: SkillRuntime,
    insights: Sequence[Insight] = (),
) -> PastAttempt:
    context = ExecutionContext(
        spec=spec_of(task, insights),
        environment=environment,
        runtime=runtime,
        model=ScriptedModel(courier_rules),
    )
    ended = await executor.execute(context)
    return PastAttempt(
        task=task,
        attempt_id=context.spec.id,
        success=ended.first_success is not None,
        trajectory=ended.trajectory,
        tool_calls=ended.usage.tool_calls,
    )


@cache
def practised() -> tuple[PastAttempt, ...]:
    async def work(runtime: SkillRuntime) -> tuple[PastAttempt, ...]:
        tasks = Courier().tasks("practice", 24, 3)
        return tuple([await attempt(ReactExecutor(), t, Courier(), runtime) for t in tasks])

    return with_runtime(work)


@pytest.mark.parametrize(
    ("proposer", "environment", "count"),
    [
        (ContextProposer, Courier, 4),
        (ContextProposer, Desk, 2),
        (ChallengerProposer, Courier, 4),
        (ChallengerProposer, Desk, 1),
    ],
)
def test_proposals_pass_admission(
    proposer: type[ContextProposer] | type[ChallengerProposer],
    environment: EnvironmentFactory,
    count: int,
) -> None:
    made = proposals(proposer(box=BOX), environment, count=count)
    assert 0.7 * count <= len({task.instruction for task in made}) <= count

    async def work(runtime: SkillRuntime) -> list[str | None]:
        return [await check_task(task, environment(), runtime) for task in made]

    faults = [fault for fault in with_runtime(work) if fault is not None]
    assert len(faults) <= 1, faults


def test_what_was_achieved_by_accident_is_named() -> None:
    made = proposals(HindsightProposer(), Courier, practised())
    assert made
    for task in made:
        assert task.mission is not None and len(task.mission.clauses) == 1


def test_attempts_end_either_way_and_advice_helps() -> None:
    outcomes = Counter((past.task.setup["setup"], past.success) for past in practised())
    assert outcomes["open", False] == 0
    assert outcomes["locked", False] >= 3 and outcomes["locked", True] >= 3
    failed = next(past.task for past in practised() if not past.success)
    insight = Insight(
        id="i1",
        environment="courier",
        condition="A container is locked.",
        advice="Unlock it with the token of its metal first.",
    )

    async def work(runtime: SkillRuntime) -> bool | None:
        past = await attempt(ReactExecutor(), failed, Courier(), runtime, [insight])
        return past.success

    assert with_runtime(work) is True


def test_the_rule_writes_python_where_that_is_asked() -> None:
    async def work(runtime: SkillRuntime) -> list[bool | None]:
        tasks = [p.task for p in practised() if p.task.setup["setup"] == "open"][:3]
        return [(await attempt(CodeExecutor(), task, Courier(), runtime)).success for task in tasks]

    assert with_runtime(work) == [True] * 3


def test_the_judge_mostly_agrees_with_the_verifier() -> None:
    async def work(runtime: SkillRuntime) -> Counter[tuple[bool | None, bool | None]]:
        found: Counter[tuple[bool | None, bool | None]] = Counter()
        for past in practised():
            assert past.trajectory is not None
            context = EvaluationContext(
                task=past.task,
                trajectory=past.trajectory,
                runtime=runtime,
                model=ScriptedModel(courier_rules),
            )
            score = await Judge(verify=False).evaluate(context)
            found[past.success, score.success] += 1
        return found

    found = with_runtime(work)
    agreed = found[True, True] + found[False, False]
    assert agreed >= 0.8 * len(practised())
    assert found[True, True] and found[False, False]


@pytest.mark.parametrize("curator", [AlphaOptCurator, AceCurator, SynthesisCheatsheet])
def test_failures_teach_the_lesson_of_the_lock(curator: Callable[[], InsightCurator]) -> None:
    context = InsightContext(
        environment="courier",
        attempts=practised(),
        library=(),
        model=ScriptedModel(courier_rules),
        embedder=LexicalEmbedder(),
    )
    changes = asyncio.run(curator().curate(context))
    advice = [change.insight.advice for change in changes if change.insight is not None]
    assert any("unlock" in text for text in advice)


def test_skills_are_written_from_solved_attempts() -> None:
    courier = Courier()
    context = CurationContext(
        environment="courier",
        toolset="default",
        attempts=practised(),
        library=(),
        refused=(),
        tools=courier.tools,
        grammar=courier.grammar(),
        model=ScriptedModel(courier_rules),
    )
    skills = asyncio.run(SkillCurator().curate(context))
    delivered = [s for s in skills if s.achieves and s.achieves.predicate == "delivered"]
    assert delivered and all(skill.origin == "model" for skill in skills)
    assert {parameter.name for parameter in delivered[0].parameters} == {"item", "container"}


# --- whatever is asked ----------------------------------------------------------------------


class Inner(BaseModel):
    kind: str = Field(min_length=3)
    share: float = Field(ge=0.5)


class Unheard(BaseModel):
    """A shape that no rule knows."""

    inner: Inner
    several: tuple[Inner, ...] = Field(min_length=2)
    perhaps: Inner | None
    flag: bool


def asked_for(text: str) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", text=text),))


def test_a_shape_that_nobody_knows_is_filled_in() -> None:
    schema: JsonObject = Unheard.model_json_schema()
    assert Unheard.model_validate(least(schema, schema))


def test_a_part_of_the_answers_is_spoilt_and_mended_when_sent_back() -> None:
    model = ScriptedModel(courier_rules)

    async def run() -> list[Unheard | None]:
        return [await ask(model, asked_for(f"request {n}"), Unheard) for n in range(200)]

    assert None not in asyncio.run(run())
    again = len(model.requests) - 200
    assert 4 <= again <= 40


def test_a_schema_in_the_prompt_is_answered_too() -> None:
    schema = json.dumps(Unheard.model_json_schema())
    told = "Reply with one JSON object that fits this JSON schema, and with nothing else: "
    system = Message(role="system", text=f"{told}{schema}")
    said = courier_rules(ChatRequest(messages=(system, Message(role="user", text="request 1"))))
    assert Unheard.model_validate_json(said.text)
