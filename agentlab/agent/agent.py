"""The library at work inside an application: `Agent`, and nothing of how it does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar, get_args, overload

from pydantic import BaseModel

from agentlab.agent.engine import Engine, Terms
from agentlab.agent.results import AttemptEnded, Learning, LearningReport, RunResult
from agentlab.config import BoxName, parse_config
from agentlab.errors import UsageError
from agentlab.events import Event, watching
from agentlab.lending.portal import Portal
from agentlab.models.redaction import known
from agentlab.protocols import HasTasks, Observer
from agentlab.types import JsonObject, Scope, Task

A = TypeVar("A", bound=BaseModel)


class Agent:
    """Attempts tasks in one environment with one library, for one scope.

    An agent may live as long as the application; several attempts may be under way at a time, in
    threads and event loops, and several agents of several processes may use one workspace.

    Args:
        environment: a registered name.
        model: an executor that needs no chat model, such as `search`, or a chat model, such as
            `openai:gpt-5`.
        library: the workspace whose library it uses; `AGENTLAB_WORKSPACE` or `.agentlab`.
        environment_options: options of the environment.
        tool_calls: what each attempt may spend.
        seed: of the draws that withhold items, with the run and the attempt's number.
        withhold: whether items are withheld now and then, so that their effect is measured.
        box: where skill code runs.
        executor: how a chat model attempts tasks; empty is `react`.
        evaluator: who scores; empty is the verifier, or with a chat model the judge, which asks
            the verifier first.
        base_url: where chat models are; empty is `OPENAI_BASE_URL`.
        scope: whose the attempts are: it is offered that scope's items and those around it, and
            what is recorded and learnt is that scope's alone.
        tenant: in place of `scope`, together with `user`.
        user: of the tenant.
        learning: `off`, `observe` or `on`; see `agent.results.Learning`.
        learn_after: attempts after which, with learning on, an agent learns by itself in the
            background; 0 leaves that to `learn`.
        timeout: seconds that an attempt may take.
        observers: are told of each attempt when it is on record.

    Raises:
        UsageError: a name is unknown, both `scope` and `tenant` are given, or `learning` is none of
            its words.
        ConfigError: an option cannot be what it is given as.

    Example:
        >>> with agentlab.Agent("courier", tool_calls=5, tenant="acme") as agent:
        ...     result = agent.run("Go to the market.", timeout=30)
        ...     agent.feedback(result, comment="a first try")
        ...     str(agent.scope)
        True
        'acme'
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
        scope: Scope | None = None,
        tenant: str = "",
        user: str = "",
        learning: Learning = "observe",
        learn_after: int = 0,
        timeout: float = 120.0,
        observers: Sequence[Observer] = (),
    ) -> None:
        if scope is not None and (tenant or user):
            raise UsageError("Give an agent a `scope`, or a `tenant` with a `user`; not both.")
        if learning not in get_args(Learning):
            words = " or ".join(map(repr, get_args(Learning)))
            raise UsageError(f"An agent's `learning` is {words}, not {learning!r}.")
        if learn_after < 0:
            raise UsageError("An agent's `learn_after` is a number of attempts, or 0 for never.")
        said = {"executor": executor, "evaluator": evaluator}
        config = parse_config(
            {
                "environment": environment,
                "environment_options": environment_options or {},
                "model": model,
                "seed": seed,
                "box": box,
                "attempt_seconds": timeout,
                "tool_calls": tool_calls,
                "endpoint": {"base_url": base_url},
                **{name: value for name, value in said.items() if value},
            }
        )
        terms = Terms(
            scope=scope or Scope(tenant=tenant, user=user),
            learning=learning,
            learn_after=learn_after,
            tool_calls=tool_calls,
            withhold=withhold,
        )
        self._engine = Engine(config, terms, library, observers)
        self._portal = Portal("agent")
        self._held = AsyncExitStack()

    @property
    def workspace(self) -> Path:
        """The directory in which its library and its attempts are."""
        return self._engine.records.workspace.path

    @property
    def scope(self) -> Scope:
        """Whose its attempts are."""
        return self._engine.terms.scope

    # --- attempts -------------------------------------------------------------------------------

    @overload
    def run(
        self,
        task: Task | str,
        *,
        answer: None = None,
        timeout: float | None = None,
        session: str = "",
    ) -> RunResult[None]: ...

    @overload
    def run(
        self,
        task: Task | str,
        *,
        answer: type[A],
        timeout: float | None = None,
        session: str = "",
    ) -> RunResult[A]: ...

    def run(
        self,
        task: Task | str,
        *,
        answer: type[A] | None = None,
        timeout: float | None = None,
        session: str = "",
    ) -> RunResult[Any]:
        """Attempt a task and record the attempt; blocks until it is done.

        From any thread, in a notebook, and inside a running event loop, which it then holds up:
        await `arun` there.

        Args:
            task: a task of the environment, or an instruction in words.
            answer: a pydantic model that the executor's answer is to be, in `result.answer`.
            timeout: seconds, in place of the agent's; an attempt that takes longer is cut off.
            session: names the conversation that an instruction belongs to. One that is not met
                and said again in other words in the same conversation is learnt from.

        Raises:
            UsageError: the task is of another environment, the words cannot be attempted, an
                answer is asked of an executor that gives none, or the agent is closed.
            RecordsError: the attempt cannot be recorded.
        """
        return self._portal.run(self._engine.attempt(task, answer, timeout, session, own_loop=True))

    @overload
    async def arun(
        self,
        task: Task | str,
        *,
        answer: None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - cuts the attempt off, not the wait
        session: str = "",
    ) -> RunResult[None]: ...

    @overload
    async def arun(
        self,
        task: Task | str,
        *,
        answer: type[A],
        timeout: float | None = None,  # noqa: ASYNC109 - cuts the attempt off, not the wait
        session: str = "",
    ) -> RunResult[A]: ...

    async def arun(
        self,
        task: Task | str,
        *,
        answer: type[A] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - cuts the attempt off, not the wait
        session: str = "",
    ) -> RunResult[Any]:
        """As `run`, in the running event loop; several may be under way at a time.

        Cancelled, it lets go of what it holds, puts the attempt on record as cancelled, and
        raises `CancelledError`.
        """
        return await self._engine.attempt(task, answer, timeout, session)

    async def astream(
        self,
        task: Task | str,
        *,
        answer: type[A] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - cuts the attempt off, not the wait
        session: str = "",
    ) -> AsyncGenerator[Event]:
        """As `arun`, event by event: what is offered, steps, model calls, and the result.

        The last one is an `AttemptEnded`, which holds the result. Steps that a worker process
        makes are told when it is done. Leaving the stream early cancels the attempt; use
        `contextlib.aclosing` where it matters when.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue()

        async def work() -> RunResult[A]:
            with watching(queue.put_nowait):
                return await self._engine.attempt(task, answer, timeout, session)

        running = asyncio.ensure_future(work())
        running.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
            yield AttemptEnded(run_id=self._engine.run_id, result=running.result())
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait((running,))

    def stream(
        self,
        task: Task | str,
        *,
        answer: type[A] | None = None,
        timeout: float | None = None,
        session: str = "",
    ) -> Generator[Event]:
        """As `astream`, for callers that do not await. Closing the generator cancels it."""
        queue: SimpleQueue[Event | None] = SimpleQueue()

        async def work() -> None:
            try:
                stream = self.astream(task, answer=answer, timeout=timeout, session=session)
                async with aclosing(stream) as events:
                    async for event in events:
                        queue.put(event)
            finally:
                queue.put(None)

        wait, cancel, result = self._portal.begin(work())
        try:
            while (event := queue.get()) is not None:
                yield event
            wait(None)
            result()
        finally:
            cancel()
            wait(None)

    def tasks(self, count: int, *, seed: int = 0) -> Sequence[Task]:
        """Tasks of the environment's own, of its practice split, to try the agent on.

        Raises:
            UsageError: the environment brings none.
        """
        if not isinstance(self._engine.environment, HasTasks):
            raise UsageError("This environment brings no tasks of its own; compose one.")
        return self._engine.environment.tasks("practice", count, seed)

    # --- what people say, and what is learnt ----------------------------------------------------

    def feedback(
        self,
        run: RunResult[Any] | str,
        *,
        success: bool | None = None,
        comment: str = "",
    ) -> bool:
        """Keep what a person says of an attempt, now or later, from this process or another.

        It becomes the attempt's score, and with that the outcome of what was offered there, unless
        a verifier decided; a judge is outranked. Saying the same twice changes nothing.

        Args:
            run: a result, or its `attempt_id`.
            success: whether it did what was wanted; None leaves a comment alone.
            comment: why; secrets of this process are taken out.

        Returns:
            False where the same was said last.

        Raises:
            UnknownNameError: no such attempt is on record in this agent's scope.
            UsageError: `success` is neither, or the agent is closed.
        """
        if self._engine.closed:
            raise UsageError("The agent is closed; another one can say the same of that attempt.")
        if success not in (True, False, None):  # 1 and 0 are what some languages say
            raise UsageError(f"Feedback's `success` is True, False or None, not {success!r}.")
        key = run if isinstance(run, str) else run.attempt_id
        return self._engine.records.feedback.add(
            key, success=success, comment=known().text(comment), scope=self.scope
        )

    def learn(self) -> LearningReport:
        """Learn from this scope's attempts now; blocks until what came of it is judged.

        What succeeded is distilled into candidates, which serve once they were verified.

        Raises:
            UsageError: learning is off, or the agent is closed.
        """
        return self._portal.run(self.alearn())

    async def alearn(self) -> LearningReport:
        """As `learn`, in the running event loop."""
        return await self._engine.learn()

    # --- its life -------------------------------------------------------------------------------

    def close(self) -> None:
        """Cancel what is under way, end the workers and close the library. Safe to call twice."""
        if not self._engine.closed:
            self._engine.closed = True
            self._portal.close()
            self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        """Keep the connections of this loop open between attempts."""
        await self._held.enter_async_context(self._engine.seating.seated())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._held.aclose()
        await asyncio.to_thread(self.close)
