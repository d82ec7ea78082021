"""The library at work inside an application: attempts outside practice.

An `Agent` attempts a task in an environment with what a library offers, and records the
attempt, so that items go on being measured in use. It learns nothing by itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from agentlab.config import (
    AttributionConfig,
    BoxName,
    PracticeConfig,
    RetrievalConfig,
    is_chat_model,
    parse_config,
)
from agentlab.environments.registration import base_name, make_environment
from agentlab.errors import UsageError
from agentlab.executors.wrapping import make_executor
from agentlab.graph.attempts import finished_event, run_attempt
from agentlab.graph.opening import package_versions
from agentlab.graph.policies import pinned, routed
from agentlab.graph.practice import toolset_name
from agentlab.graph.seats import seated
from agentlab.graph.watching import Watchers
from agentlab.graph.workers import WorkerPool, refuse_unguarded
from agentlab.library.attribution import (
    Retrieved,
    draw_offers,
    draws_of,
    withholding_probability,
)
from agentlab.library.insights import FoundInsight, InsightLibrary
from agentlab.library.skills import SkillLibrary
from agentlab.models.routes import Route
from agentlab.protocols import HasTasks, Observer
from agentlab.records import Records, Workspace
from agentlab.registry import resolve
from agentlab.sandbox import settle_box
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    EnvironmentRef,
    Frozen,
    Insight,
    JsonObject,
    Limits,
    Skill,
    Task,
    Trajectory,
    attempt_id,
    derive_id,
    derive_seed,
    digest,
)


class RunResult(Frozen):
    """What came of one task."""

    attempt_id: str
    success: bool | None
    """None where it is unknown, or where the environment failed."""
    explanation: str
    trajectory: Trajectory | None
    skills_used: tuple[str, ...]
    """Names."""
    skills_offered: tuple[str, ...]
    """Names."""
    tool_calls: int


class Agent:
    """Attempts tasks in one environment with one library.

    Args:
        environment: a registered name.
        model: an executor that needs no chat model, such as `search`, or a chat model, such as
            `openai:gpt-5`.
        library: the workspace whose library it uses; `AGENTLAB_WORKSPACE` or `.agentlab`.
        environment_options: options of the environment.
        tool_calls: what each attempt may spend.
        seed: of the draws that withhold items, with the attempt's number.
        withhold: whether items are withheld now and then, so that their effect is measured.
        box: where skill code runs.
        executor: how a chat model attempts tasks; empty is `react`.
        evaluator: who scores; empty is the verifier, or with a chat model the judge, which asks
            the verifier first.
        base_url: where chat models are; empty is `OPENAI_BASE_URL`.
        observers: are told of each attempt when it is on record.

    Raises:
        UsageError: a name is unknown.
    """

    def __init__(
        self,
        environment: str,
        *,
        model: str = "search",
        library: Path | str | None = None,
        environment_options: JsonObject | None = None,
        tool_calls: int = 1000,
        seed: int = 0,
        withhold: bool = True,
        box: BoxName = "auto",
        executor: str = "",
        evaluator: str = "",
        base_url: str = "",
        observers: Sequence[Observer] = (),
    ) -> None:
        refuse_unguarded()
        said = {"executor": executor, "evaluator": evaluator}
        self._config = parse_config(
            {
                "environment": environment,
                "environment_options": environment_options or {},
                "model": model,
                "endpoint": {"base_url": base_url},
                **{name: value for name, value in said.items() if value},
            }
        )
        make_executor(self._config.acting, {})
        resolve("evaluator", self._config.evaluator)
        self._ref = EnvironmentRef(name=environment, options=environment_options or {})
        self._environment = make_environment(self._ref)
        self._tool_calls = tool_calls
        self._seed = seed
        self._attribution = AttributionConfig() if withhold else None
        place = library or os.environ.get("AGENTLAB_WORKSPACE") or ".agentlab"
        self._records = Records.open(Workspace.open(place))
        where = settle_box(box)
        self._library = SkillLibrary(
            self._records,
            base_name(environment),
            toolset=toolset_name(self._environment.tools),
            foreign=where.takes_foreign_code,
        )
        self._insights = (
            InsightLibrary(self._records, base_name(environment))
            if self._config.chat_model("executor")
            else None
        )
        self._pool = WorkerPool(
            os.cpu_count() or 1, box=where.name, blobs=self._records.workspace.blobs
        )
        config: JsonObject = {
            "command": "agent",
            "environment": environment,
            "environment_options": self._ref.options,
            "model": model,
            "tool_calls": tool_calls,
            "withhold": withhold,
        }
        if is_chat_model(model):
            config |= {"executor": self._config.acting, "evaluator": self._config.evaluator}
        self._run_id = _begin(self._records, config, package_versions(where), seed)
        self._next = 0
        self._watchers = Watchers(observers)

    def run(self, task: Task) -> RunResult:
        """Attempt a task and record the attempt; blocks until it is done.

        Raises:
            UsageError: the task is of another environment.
        """
        return asyncio.run(self.arun(task))

    async def arun(self, task: Task) -> RunResult:
        """As `run`, from a running event loop; several may run at a time."""
        if task.environment != base_name(self._ref.name):
            raise UsageError(
                f"The task is of the environment {task.environment!r}, the agent of "
                f"{self._ref.name!r}; make an agent for it."
            )
        slot, self._next = self._next, self._next + 1
        spec = self._spec(task, slot)
        # What was drawn is on record before the first step, so that no draw is lost selectively.
        self._records.attempts.plan(self._run_id, 0, [spec])
        # Each attempt is asked of what serves when it begins, and of nothing else until it ends.
        config = pinned(self._records, self._config)
        with routed(self._records, config) as routes:
            outcome = await self._attempt(spec, config, routes)
        event = finished_event(spec, outcome)
        if self._records.attempts.record(spec, outcome, [event]):
            self._watchers.notify(event)
        return _result(spec, outcome)

    async def _attempt(
        self, spec: AttemptSpec, config: PracticeConfig, routes: Mapping[str, Route]
    ) -> AttemptOutcome:
        async with seated(config, routes) as seats:
            return await run_attempt(spec, evaluator=config.evaluator, pool=self._pool, seats=seats)

    def tasks(self, count: int, *, seed: int = 0) -> Sequence[Task]:
        """Tasks of the environment's own, of its practice split, to try the agent on.

        Raises:
            UsageError: the environment brings none.
        """
        if not isinstance(self._environment, HasTasks):
            raise UsageError("This environment brings no tasks of its own; compose one.")
        return self._environment.tasks("practice", count, seed)

    def close(self) -> None:
        """End the workers and close the library. Safe to call twice."""
        self._pool.close()
        if self._insights is not None:
            self._insights.close()
        self._library.close()
        self._records.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _spec(self, task: Task, slot: int) -> AttemptSpec:
        self._library.refresh()
        found = self._library.retrieve(task.instruction, RetrievalConfig(), task_id=task.id)
        advice = self._advice(task)
        offers = draw_offers(
            [
                *(
                    Retrieved(f.skill.id, f.skill.name, self._withholding(f.skill), f.score)
                    for f in found
                ),
                *(
                    Retrieved(f.insight.id, f.insight.id, self._withholding(f.insight), f.score)
                    for f in advice
                ),
            ],
            calls=self._library.calls(),
            seed=self._seed,
            round_=0,
            slot=slot,
        )
        offered = {offer.item_id for offer in offers if not offer.withheld}
        skills = [f.skill for f in found if f.skill.id in offered]
        return AttemptSpec(
            id=attempt_id(self._run_id, 0, slot, "production"),
            run_id=self._run_id,
            round=0,
            slot=slot,
            kind="production",
            task=task,
            group_id=derive_id("group", self._run_id, task.id),
            seed=derive_seed(self._seed, slot),
            environment=self._ref,
            executor=self._config.acting,
            limits=Limits(tool_calls=self._tool_calls),
            skills=self._library.with_callees(skills),
            insights=tuple(f.insight for f in advice if f.insight.id in offered),
            offers=offers,
        )

    def _advice(self, task: Task) -> list[FoundInsight]:
        if self._insights is None:
            return []
        self._insights.refresh()
        return self._insights.retrieve(task.instruction, self._config.advice, task_id=task.id)

    def _withholding(self, item: Skill | Insight) -> float:
        if self._attribution is None:
            return 0.0
        rows = self._records.trajectories.draws(item_id=item.id)
        return withholding_probability(draws_of(item, rows), self._attribution)


def _begin(records: Records, config: JsonObject, versions: JsonObject, seed: int) -> str:
    """A run of this agent's own, numbered among those of the same configuration."""
    base = f"agent-{seed}-{digest(config)[:8]}"
    number = 1
    while True:
        run_id = f"{base}-{number}"
        if records.runs.create(run_id, config=config, versions=versions, seed=seed):
            return run_id
        number += 1


def _result(spec: AttemptSpec, outcome: AttemptOutcome) -> RunResult:
    names = {skill.id: skill.name for skill in spec.skills}
    return RunResult(
        attempt_id=spec.id,
        success=outcome.success,
        explanation=outcome.error or outcome.score.explanation,
        trajectory=outcome.trajectory,
        skills_used=tuple(names[i] for i in outcome.skills_used if i in names),
        skills_offered=tuple(offer.name for offer in spec.offers if not offer.withheld),
        tool_calls=outcome.usage.tool_calls,
    )
