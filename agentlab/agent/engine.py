"""What stands behind an agent: its library, its workers, its models, and the order of a request.

`Agent` is the surface; this is made once for it and closed with it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from agentlab.agent.answers import told_of
from agentlab.agent.asking import Asking
from agentlab.agent.attempting import Attempting
from agentlab.agent.learning import learn
from agentlab.agent.offering import Offered, Offering
from agentlab.agent.results import Asked, Learning, LearningReport, RunResult, result_of
from agentlab.agent.rewriting import Rewriting
from agentlab.agent.seating import Seating
from agentlab.config import AttributionConfig, PracticeConfig, is_chat_model
from agentlab.environments.registration import base_name, make_environment
from agentlab.errors import AgentLabError, UsageError
from agentlab.executors.wrapping import make_executor
from agentlab.graph.opening import package_versions
from agentlab.graph.practice import toolset_name
from agentlab.graph.watching import Watchers
from agentlab.graph.workers import WorkerPool, refuse_unguarded
from agentlab.library.insights import InsightLibrary
from agentlab.library.rephrasing import Rewrite
from agentlab.library.skills import SkillLibrary
from agentlab.models.redaction import known
from agentlab.protocols import Observer
from agentlab.records import Records, Workspace
from agentlab.registry import resolve
from agentlab.sandbox import settle_box
from agentlab.types import (
    AttemptSpec,
    EnvironmentRef,
    Frozen,
    JsonObject,
    Limits,
    Offer,
    Scope,
    Task,
    attempt_id,
    derive_id,
    derive_seed,
    digest,
)

A = TypeVar("A", bound=BaseModel)
logger = logging.getLogger(__name__)

LONGEST_SESSION = 64
"""Characters of a conversation's name."""


class Terms(Frozen):
    """How an agent works, beside its config."""

    scope: Scope
    learning: Learning
    learn_after: int
    tool_calls: int
    withhold: bool


class Engine:
    """Makes the attempts of one agent and learns from them. Close it when done."""

    def __init__(
        self,
        config: PracticeConfig,
        terms: Terms,
        library: Path | str | None,
        observers: Sequence[Observer] = (),
    ) -> None:
        refuse_unguarded()
        self.config = config
        self.terms = terms
        make_executor(config.acting, {})
        resolve("evaluator", config.evaluator)
        self._ref = EnvironmentRef(name=config.environment, options=config.environment_options)
        self._home = base_name(config.environment)
        self.environment = make_environment(self._ref)
        self._chats = bool(config.chat_model("executor"))
        place = library or os.environ.get("AGENTLAB_WORKSPACE") or ".agentlab"
        self.records = Records.open(Workspace.open(place))
        where = settle_box(config.box)
        self._library = SkillLibrary(
            self.records,
            self._home,
            toolset=toolset_name(self.environment.tools),
            foreign=where.takes_foreign_code,
            scope=terms.scope,
        )
        self._insights = (
            InsightLibrary(self.records, self._home, scope=terms.scope) if self._chats else None
        )
        said: JsonObject = {
            "command": "agent",
            "environment": config.environment,
            "environment_options": self._ref.options,
            "model": config.model,
            "tool_calls": terms.tool_calls,
            "withhold": terms.withhold,
            "learning": terms.learning,
        }
        if is_chat_model(config.model):
            said |= {"executor": config.acting, "evaluator": config.evaluator}
        versions = package_versions(where)
        self.run_id = _begin(self.records, said, versions, config.seed, terms.scope)
        measured = terms.withhold and terms.learning != "off"
        self._offering = Offering(
            self.records,
            self._library,
            self._insights,
            environment=self._home,
            scope=terms.scope,
            attribution=AttributionConfig() if measured else None,
            retrieval=config.retrieval,
            advice=config.advice,
            # Of this run's own: agents that live for one request would all draw the same.
            seed=derive_seed(config.seed, self.run_id),
        )
        self._asking = Asking(self.environment, config.environment, free=self._chats)
        self._rewriting = Rewriting(self.records, self._home, terms.scope)
        self._pool = WorkerPool(
            os.cpu_count() or 1, box=where.name, blobs=self.records.workspace.blobs
        )
        self.seating = Seating(self.records, config)
        self._attempting = Attempting(self.records, self._pool, self.seating, Watchers(observers))
        self._slots = itertools.count()
        self._made = itertools.count(1)
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="agentlab-aside")
        self._learner: threading.Thread | None = None
        self._learning_now = threading.Lock()
        self.closed = False

    async def attempt(
        self,
        task: Task | str,
        shape: type[A] | None,
        seconds: float | None,
        session: str,
        *,
        own_loop: bool = False,
    ) -> RunResult[A]:
        """Attempt a task; see `Agent.run`."""
        self._check(task, shape, seconds, session)
        slot = next(self._slots)
        said = known().text(task) if isinstance(task, str) else ""
        rewrite = None
        if said and self.terms.learning == "on":
            # Now and then all requests are looked at for it, which nobody else should wait for.
            rewrite = await asyncio.to_thread(self._rewrite, said)
        offer = self._offering.rewriting(rewrite, slot) if rewrite is not None else None
        instead = rewrite.instead if rewrite and offer and not offer.withheld else None
        made = (
            self._asking.task(instead or said, self.config.seed) if isinstance(task, str) else task
        )
        offered = self._offering.draw(made, slot)
        if said and shape is not None:
            made = told_of(made, shape)
        spec = self._spec(made, slot, offered, offer, seconds)
        asked = Asked(said, instead or said, session if self.terms.learning != "off" else "")
        outcome, answer, fault = await self._attempting.make(
            spec, offered, asked, shape, own_loop=own_loop
        )
        if self._offering.is_due:
            self._aside.submit(self._offering.catch_up)
        self._count()
        return result_of(spec, outcome, answer, fault, asked)

    def _rewrite(self, said: str) -> Rewrite | None:
        """What to attempt instead, where the words leave open what they mean.

        Words of the grammar say what is to be verified; others in their place would be another
        goal, and its success no sign that the user got what was asked for.
        """
        found = self._rewriting.of(said)
        return None if found is None or self._asking.understands(said) else found

    def _check(
        self, task: Task | str, shape: type[BaseModel] | None, seconds: float | None, session: str
    ) -> None:
        if isinstance(task, Task) and task.environment != self._home:
            raise UsageError(
                f"The task is of the environment {task.environment!r}, the agent of "
                f"{self._ref.name!r}; make an agent for it."
            )
        if shape is not None and not self._chats:
            raise UsageError(
                f"The executor {self.config.acting!r} gives no answers; name a chat model, such "
                "as model='openai:MODEL', to ask for one."
            )
        if seconds is not None and not 0 < seconds <= 1e6:
            raise UsageError(f"A timeout of {seconds} s cannot be kept; give more than 0.")
        if len(session) > LONGEST_SESSION:
            raise UsageError(f"A session's name has at most {LONGEST_SESSION} characters.")
        if self.closed:
            raise UsageError("The agent is closed; make another one.")

    def _spec(
        self,
        task: Task,
        slot: int,
        offered: Offered,
        rewriting: Offer | None,
        seconds: float | None,
    ) -> AttemptSpec:
        return AttemptSpec(
            id=attempt_id(self.run_id, 0, slot, "production"),
            run_id=self.run_id,
            round=0,
            slot=slot,
            kind="production",
            task=task,
            group_id=derive_id("group", self.run_id, task.id),
            seed=derive_seed(self.config.seed, slot),
            environment=self._ref,
            executor=self.config.acting,
            limits=Limits(
                tool_calls=self.terms.tool_calls, seconds=seconds or self.config.attempt_seconds
            ),
            skills=offered.skills,
            insights=offered.insights,
            offers=offered.offers if rewriting is None else (*offered.offers, rewriting),
            library_version=f"{self._home}@{self._library.version}",
            scope=self.terms.scope.path,
        )

    def _count(self) -> None:
        """Begin to learn in the background, where enough attempts have been made since."""
        due = self.terms.learn_after and next(self._made) % self.terms.learn_after == 0
        if not due or self.terms.learning != "on" or not self._learning_now.acquire(blocking=False):
            return

        def work() -> None:
            try:
                asyncio.run(self.learn())
            except AgentLabError as error:
                logger.warning("The agent did not learn from its attempts: %s", error)
            finally:
                self._learning_now.release()

        self._learner = threading.Thread(target=work, name="agentlab-learn", daemon=True)
        self._learner.start()

    async def learn(self) -> LearningReport:
        """Learn from the scope's attempts now.

        Raises:
            UsageError: learning is off.
        """
        if self.terms.learning == "off":
            raise UsageError("This agent's learning is off; make one with learning='on'.")
        report = await learn(
            self.records, self.config, scope=self.terms.scope, stop=lambda: self.closed
        )
        self._rewriting.look_again()
        self._offering.follow()
        return report

    def close(self) -> None:
        """End the workers and close the library; what is under way has ended before."""
        if self._learner is not None:
            self._learner.join()
        self._aside.shutdown(cancel_futures=True)
        self._pool.close()
        if self._insights is not None:
            self._insights.close()
        self._library.close()
        self.records.runs.set_status(self.run_id, "finished")
        self.records.close()


def _begin(
    records: Records, config: JsonObject, versions: JsonObject, seed: int, scope: Scope
) -> str:
    """A run of this agent's own, numbered among those of the same configuration and scope."""
    base = f"agent-{seed}-{digest(config, scope.path)[:8]}"
    number = sum(name.startswith(f"{base}-") for name in records.runs.ids()) + 1
    while not records.runs.create(
        f"{base}-{number}", config=config, versions=versions, seed=seed, scope=scope
    ):
        number += 1
    return f"{base}-{number}"
