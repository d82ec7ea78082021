"""`Library`: what an environment's library serves, for programs that call it themselves.

An `Agent` chooses its calls; here somebody else does, a LangGraph agent, a loop around the OpenAI
client, a script. They get the verified skills as tools, an environment to use them in, and answers
that say whether a skill did what it says. What was offered is on record before the first call and
what came of it when the episode ends, so that items go on being measured.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agentlab.config import AttributionConfig, BoxName, RetrievalConfig
from agentlab.environments.registration import base_name, make_environment
from agentlab.errors import AgentLabError, InvalidTaskError, UnknownNameError, UsageError
from agentlab.graph.jobs import keep_blobs
from agentlab.graph.opening import package_versions
from agentlab.graph.practice import toolset_name
from agentlab.lending.offering import Offering
from agentlab.lending.portal import Portal
from agentlab.lending.shapes import OpenAITool, langchain_tools, openai_tool
from agentlab.lending.visit import CallResult, Visit
from agentlab.library.skills import Found, SkillLibrary, closure
from agentlab.models.prompts import DATA
from agentlab.protocols import HasGrammar, HasSurvey, HasTasks
from agentlab.records import Records, Workspace
from agentlab.sandbox import open_settled, settle_box
from agentlab.types import (
    AttemptOutcome,
    EnvironmentRef,
    JsonObject,
    Skill,
    Task,
    ToolSpec,
    digest,
)
from agentlab.types.scope import SHARED, Scope

if TYPE_CHECKING:
    from langchain_core.tools import StructuredTool

log = logging.getLogger(__name__)

MOST_TOOLS = 128
"""Tools that providers take in one request."""


class Library:
    """The skills that a library serves for one environment, with a place to use them in.

    One episode at a time; open another for another user. Safe to use from several threads, from
    a running event loop and without one. Generated code runs in a box and never in this process.

    Example:
        >>> with Library("courier") as library:
        ...     opening = library.begin(library.tasks(1, seed=5)[0])
        ...     names = [tool["function"]["name"] for tool in library.as_openai_tools()]
        ...     result = library.call("no_such_skill", {})
        >>> set(names) <= {"at", "delivered", "holding", "unlocked"}  # some may be withheld
        True
        >>> result.completed, result.error
        (False, "There is no tool named 'no_such_skill'. There are: ...")
    """

    def __init__(
        self,
        environment: str,
        *,
        workspace: Path | str | None = None,
        environment_options: JsonObject | None = None,
        environment_tools: bool = False,
        withhold: bool = True,
        tool_calls: int = 1000,
        seed: int = 0,
        box: BoxName = "auto",
        scope: Scope | None = None,
        tenant: str = "",
        user: str = "",
    ) -> None:
        """Open it. Close it when done.

        Args:
            environment: a registered name.
            workspace: whose library; `AGENTLAB_WORKSPACE` or `.agentlab`.
            environment_options: options of the environment.
            environment_tools: whether the environment's own tools stand beside the skills.
            withhold: whether skills are withheld now and then from an episode with a task, so
                that their effect is measured; an episode without one says nothing of it.
            tool_calls: what each episode may spend.
            seed: of the draws that withhold skills, with the run and the episode's number.
            box: where skill code runs.
            scope: for whom: what is the tenant's and the user's own serves beside what is
                everybody's, and what is on record of it stays theirs.
            tenant: the same in words, with or without a `user`.
            user: whose library of that tenant's.

        Raises:
            UnknownNameError: there is no such environment, or no such box.
            UsageError: both `scope` and `tenant` are given, or a name is no plain one.
            RecordsError: the workspace cannot be used.
            SkillRefusedError: the box cannot be used here.
        """
        if scope is not None and (tenant or user):
            raise UsageError("Give a library a `scope`, or a `tenant` with a `user`; not both.")
        scope = scope or Scope(tenant=tenant, user=user)
        self._ref = EnvironmentRef(name=environment, options=environment_options or {})
        self._environment = make_environment(self._ref)
        self._own_tools = environment_tools
        self._visit: Visit | None = None
        self._next = 0
        self._closed = False
        where = settle_box(box)
        place = workspace or os.environ.get("AGENTLAB_WORKSPACE") or ".agentlab"
        self._records = Records.open(Workspace.open(place))
        keep_blobs(self._environment, self._records.blobs)
        # The exact index keeps no file, so any number of programs may lend one library.
        self._library = SkillLibrary(
            self._records,
            base_name(environment),
            toolset=toolset_name(self._environment.tools),
            backend="exact",
            foreign=where.takes_foreign_code,
            scope=scope,
        )
        self._runtime = open_settled(where.name)
        config: JsonObject = {
            "command": "library",
            "environment": environment,
            "environment_options": self._ref.options,
            "tool_calls": tool_calls,
            "withhold": withhold,
        }
        told = config if scope == SHARED else {**config, "scope": scope.path}
        base = f"library-{seed}-{digest(told)[:8]}"
        versions = package_versions(where)
        self._run_id = base + "-1"
        while not self._records.runs.create(
            self._run_id, config=config, versions=versions, seed=seed, scope=scope
        ):
            self._run_id = f"{base}-{int(self._run_id.rpartition('-')[2]) + 1}"
        self._offering = Offering(
            self._records,
            self._library,
            run_id=self._run_id,
            environment=self._ref,
            room=MOST_TOOLS - (len(self._environment.tools) if environment_tools else 0),
            attribution=AttributionConfig() if withhold else None,
            tool_calls=tool_calls,
            seed=seed,
            scope=scope,
        )
        self._portal = Portal("library")

    @property
    def run_id(self) -> str:
        """Under which its episodes are on record."""
        return self._run_id

    @property
    def skills(self) -> tuple[Skill, ...]:
        """What serves now, by name."""
        return self._portal.run(self._skills())

    def find(self, query: str, *, k: int = 16) -> tuple[Found, ...]:
        """The served skills that fit a text, best first; none is an answer.

        Args:
            query: an instruction, without metadata.
            k: how many at most.
        """
        return self._portal.run(self._find(query, k))

    async def afind(self, query: str, *, k: int = 16) -> tuple[Found, ...]:
        """As `find`, from a running event loop."""
        return await self._portal.arun(self._find(query, k))

    def tasks(self, count: int, *, seed: int = 0) -> Sequence[Task]:
        """Tasks of the environment's own, of its practice split, to try things on.

        Raises:
            UsageError: the environment brings none.
        """
        if not isinstance(self._environment, HasTasks):
            raise UsageError("This environment brings no tasks of its own; compose one.")
        return self._environment.tasks("practice", count, seed)

    def begin(self, task: Task | None = None, *, setup: str | None = None, seed: int = 0) -> str:
        """Begin an episode; one that is under way is ended and recorded first.

        Args:
            task: what is to be done; the episode is then an attempt that is scored by the task's
                verifier. Without one the environment is there to be used.
            setup: family of start states, where there is no task; the first that can be set up.
            seed: which start state of it.

        Returns:
            The task and what the environment shows, for the first message to a model. What others
            wrote in it stands between marks, and it says so.

        Raises:
            UsageError: the task is of another environment, or there is no start state.
            EnvironmentFaultError: the environment cannot be reset.
        """
        return self._portal.run(self._begin(task, setup, seed))

    async def abegin(
        self, task: Task | None = None, *, setup: str | None = None, seed: int = 0
    ) -> str:
        """As `begin`, from a running event loop."""
        return await self._portal.arun(self._begin(task, setup, seed))

    def call(self, name: str, arguments: Mapping[str, object] | str) -> CallResult:
        """Call a tool of `as_openai_tools` or `as_tools`.

        Without an episode under way, one begins where the environment's first start state is.

        Args:
            name: as it was told.
            arguments: as JSON text, the way models give them, or read already.

        Returns:
            What came of it. A name, arguments or a moment that do not fit are told there.

        Raises:
            EnvironmentFaultError: the environment broke, and the episode is over with it.
        """
        return self._portal.run(self._call(name, arguments))

    async def acall(self, name: str, arguments: Mapping[str, object] | str) -> CallResult:
        """As `call`, from a running event loop; cancelling it ends the skill and the episode."""
        return await self._portal.arun(self._call(name, arguments))

    def as_openai_tools(self) -> list[OpenAITool]:
        """The tools of the present episode, for `tools=` of a chat completion.

        Of more than 128, which is what providers take, those that fit the task are told.

        Raises:
            UsageError: there are more, and no task says which.
        """
        return [openai_tool(spec) for spec in self._portal.run(self._specs())]

    def as_tools(self) -> list[StructuredTool]:
        """The same as LangChain tools, for LangGraph's agents and whatever else takes those.

        A tool stays good for later episodes: it acts in the one that is under way.

        Raises:
            UsageError: as `as_openai_tools`.
        """

        def call(name: str, arguments: JsonObject) -> str:
            return self.call(name, arguments).text

        async def acall(name: str, arguments: JsonObject) -> str:
            return (await self.acall(name, arguments)).text

        return langchain_tools(self._portal.run(self._specs()), call, acall)

    @property
    def instructions(self) -> str:
        """What a model is to be told once of quoted data, for a system prompt."""
        return DATA

    def end(self) -> AttemptOutcome | None:
        """End the episode and record it.

        Returns:
            What it came to, with the verifier's score where there was a task; None where no
            episode was under way.
        """
        return self._portal.run(self._end())

    async def aend(self) -> AttemptOutcome | None:
        """As `end`, from a running event loop."""
        return await self._portal.arun(self._end())

    def close(self) -> None:
        """End the episode, the box and the environment. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        with ExitStack() as stack:  # each is closed, whatever the ones before it say
            stack.callback(self._records.close)
            stack.callback(self._records.runs.set_status, self._run_id, "finished")
            stack.callback(self._library.close)
            stack.callback(self._portal.close)
            stack.callback(lambda: self._portal.run(self._environment.close()))
            stack.callback(lambda: self._portal.run(self._runtime.close()))
            try:
                self._portal.run(self._end())
            except AgentLabError as error:
                log.warning("The last episode that was lent is not on record: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _begin(self, task: Task | None, setup: str | None, seed: int) -> str:
        if task is not None and task.environment != base_name(self._ref.name):
            raise UsageError(
                f"The task is of the environment {task.environment!r}, the library of "
                f"{self._ref.name!r}; open the library of that."
            )
        await self._end()
        chosen = task or self._start(setup, seed)
        slot, self._next = self._next, self._next + 1
        spec = self._offering.spec(chosen, slot, goal=task is not None)
        # What was drawn is on record before the first call, so that no draw is lost selectively.
        self._records.attempts.plan(self._run_id, 0, [spec])
        self._visit = await Visit.begin(
            spec,
            self._environment,
            self._runtime,
            self._serves,
            goal=task is not None,
            tools=self._own_tools,
        )
        return self._visit.opening

    async def _skills(self) -> tuple[Skill, ...]:
        self._library.refresh()
        return tuple(sorted(self._library.skills.values(), key=lambda skill: skill.name))

    async def _find(self, query: str, k: int) -> tuple[Found, ...]:
        self._library.refresh()
        return tuple(self._library.retrieve(query, RetrievalConfig(k=k)))

    async def _specs(self) -> tuple[ToolSpec, ...]:
        specs = (await self._under_way()).toolbox.specs
        if len(specs) > MOST_TOOLS:
            raise UsageError(
                f"There are {len(specs)} tools and providers take {MOST_TOOLS}; begin with a task, "
                "and those that fit it are told."
            )
        return specs

    async def _under_way(self) -> Visit:
        if self._visit is None:
            await self._begin(None, None, 0)
        assert self._visit is not None
        return self._visit

    async def _call(self, name: str, arguments: Mapping[str, object] | str) -> CallResult:
        return await (await self._under_way()).call(name, arguments)

    async def _end(self) -> AttemptOutcome | None:
        visit, self._visit = self._visit, None
        if visit is None:
            return None
        outcome = await visit.end()
        self._records.attempts.record(visit.spec, outcome)
        return outcome

    def _serves(self, skill_id: str) -> bool:
        """Whether a skill serves, and all that it calls is what the episode began with."""
        self._library.refresh()
        skill = self._library.skills.get(skill_id)
        if skill is None or self._visit is None:
            return False
        begun = closure([skill], {each.name: each for each in self._visit.spec.skills})
        now = self._library.with_callees([skill])
        return {each.id for each in begun} == {each.id for each in now}

    def _start(self, setup: str | None, seed: int) -> Task:
        """A start state without a goal."""
        environment = self._environment
        if isinstance(environment, HasGrammar):
            setups = environment.grammar().spec.setups
            if setup is not None and setup not in setups:
                raise UnknownNameError("start state", setup, setups)
            for family in (setup,) if setup is not None else setups:
                with contextlib.suppress(InvalidTaskError):
                    return environment.grammar().compose(None, family, seed)
        if isinstance(environment, HasSurvey):
            return environment.start(seed)
        raise UsageError(
            f"The environment {self._ref.name!r} offers no start state of its own; begin with a "
            "task."
        )
