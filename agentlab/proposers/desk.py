"""Where a proposal is written: one model, one environment, and what the round has shown so far.

Proposers that ask a model differ in what they say to it. The rest is the same and is here: asking
under a seed, turning replies into tasks, carrying those out, sending back what failed (at most
twice), and counting what was dropped. Several desks work side by side, since a model is slow; what
they make does not depend on which of them was free first.

A task that is well formed but unfit after its repairs is handed in all the same: admission refuses
it, and so its reason is on record and can be shown to the next prompt. What cannot be checked at
all, or is reserved, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from agentlab.errors import EnvironmentFaultError, ModelFaultError, UsageError
from agentlab.models.prompts import Prompt, Trusted
from agentlab.models.structured import ask
from agentlab.proposers.drafts import FAILING, Draft, DraftRefusedError, Drafts, task_of
from agentlab.proposers.rehearsal import Fault, rehearse
from agentlab.proposers.surroundings import Scene
from agentlab.protocols import ChatModel, ProposalContext, SkillRuntime
from agentlab.sandbox import BoxRuntime, open_runtime
from agentlab.types import (
    ChatRequest,
    Frozen,
    Message,
    PromptRef,
    Sampling,
    Task,
    ToolCall,
    derive_seed,
)

PACKAGE = "agentlab.proposers"
UNUSABLE = "unusable reply"
"""How what is counted of a reply begins that could not be read; why follows in brackets."""
REPAIRS = 2
"""How often a task that does not hold is sent back with what happened."""
LANES = 8
"""Desks at a time."""
TEMPERATURE, TOP_P = 1.0, 0.9
"""As PAE samples its proposals."""
MOST_TOKENS = 4_096
"""Tokens of one reply."""

CODE_CHECKED = (
    "The state can be read as JSON. A task brings Python that defines exactly "
    "`verify(initial, final, answer)`: it gets the state before and after and returns True only "
    "where what was asked has been done, and nothing that was not asked. It imports nothing, "
    "calls nothing outside, and does not depend on how the task was done. `answer` may be None."
)
LANGUAGE_CHECKED = (
    "The environment has a language of its own for tasks, shown in its description. It checks an "
    "instruction in that language by itself: leave `verify` empty."
)
JUDGE_CHECKED = (
    "No state can be read here, so a judge will look at what was done: ask only for what shows "
    "in it, name one explicit target, and leave `verify`, `solution` and `failing` empty."
)
OR_JUDGED = (
    "That state is only what the page shows. Where it cannot decide a task, leave `verify`, "
    "`solution` and `failing` empty, name one explicit target, and a judge will look at what shows."
)
FAILING_CASES = (
    f"Give at least {FAILING} failing cases: short lists of tool calls that look like an attempt "
    "and leave undone, or do differently, what is asked."
)

Shape = TypeVar("Shape", bound=BaseModel)


class RepairInputs(Frozen):
    """What a repair is told."""

    failure: str


_REPAIR = Prompt(PACKAGE, "repair", RepairInputs)


class Page(NamedTuple):
    """What a model is asked, and where the tasks in its reply start."""

    scene: Scene
    prompt: PromptRef
    messages: tuple[Message, ...]
    update: Mapping[str, Any] = {}
    """Further fields of the tasks."""
    solution: tuple[ToolCall, ...] | None = None
    """Calls that are known to do it; they replace what the reply gives as solution, and the same
    without the last ones fill up the failing cases."""


class Desk:
    """One environment, one runtime and one model, for one proposal at a time.

    Args:
        context: what the proposer works from.
        source: the proposer's name.
        dropped: counts what is dropped, by kind of reason.
        box: where generated verifiers run.

    Raises:
        UsageError: there is no model.
    """

    def __init__(
        self, context: ProposalContext, *, source: str, dropped: Counter[str], box: str
    ) -> None:
        self.model = needed_model(context, source)
        self.context = context
        self.source = source
        self.dropped = dropped
        self.environment = context.environment()
        self._box = box
        self._runtime: BoxRuntime | None = None

    async def close(self) -> None:
        """End environment and runtime."""
        if self._runtime is not None:
            await self._runtime.close()
            self._runtime = None
        await self.environment.close()

    def runtime(self) -> SkillRuntime:
        """Where code that a model wrote runs; a fresh box for each call."""
        if self._runtime is None:
            self._runtime = open_runtime(self._box, single_use=True)
        return self._runtime

    def drop(self, reason: str) -> None:
        """Count something that comes to nothing."""
        self.dropped[reason.partition(":")[0].strip()] += 1

    def request(
        self, prompt: PromptRef, messages: Sequence[Message], *labels: object
    ) -> ChatRequest:
        """A request whose seed comes from the run's seed, the round and the labels."""
        seed = derive_seed(self.context.seed, self.context.round, self.source, *labels, "model")
        return ChatRequest(
            messages=tuple(messages),
            prompt=prompt,
            # Endpoints take seeds of 31 bits everywhere, longer ones only here and there.
            sampling=Sampling(
                temperature=TEMPERATURE, top_p=TOP_P, max_tokens=MOST_TOKENS, seed=seed >> 32
            ),
        )

    async def several(self, page: Page, *labels: object, limit: int, solved: bool) -> list[Task]:
        """At most `limit` tasks from one reply.

        Raises:
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
            EnvironmentFaultError: the environment raised.
        """
        why: list[str] = []
        request = self.request(page.prompt, page.messages, *labels)
        reply = await ask(self.model, request, Drafts, unusable=why.append)
        if reply is None:
            self.drop(_unusable(why))
            return []
        made: list[Task] = []
        for draft in reply.tasks[:limit]:
            task, fault = await self._settle(draft, page, solved=solved)
            if task is None:
                self.drop(fault.text if fault else "")
            else:
                made.append(task)
        return made

    async def single(self, page: Page, *labels: object, solved: bool) -> list[Task]:
        """One task from one reply, repaired at most twice.

        Raises:
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
            EnvironmentFaultError: the environment raised.
        """
        messages = page.messages
        task: Task | None = None
        fault: Fault | None = None
        for turn in range(REPAIRS + 1):
            request = self.request(page.prompt, messages, *labels, turn)
            why: list[str] = []
            draft = await ask(self.model, request, Draft, unusable=why.append)
            if draft is None:
                fault = fault or Fault("broken", _unusable(why))
                break
            task, fault = await self._settle(draft, page, solved=solved)
            if fault is None:
                break
            messages = (
                *page.messages,
                Message(role="assistant", text=draft.model_dump_json()),
                *_REPAIR.messages(RepairInputs(failure=fault.text)),
            )
        if task is None:
            self.drop(fault.text if fault else UNUSABLE)
            return []
        return [task]

    async def _settle(
        self, draft: Draft, page: Page, *, solved: bool
    ) -> tuple[Task | None, Fault | None]:
        """The task, unless it is broken, and what is wrong with it."""
        try:
            task = task_of(
                _known(draft, page.solution),
                page.scene,
                self.environment.tools,
                self.context.split_rule,
                source=self.source,
                solved=solved,
                update=page.update,
            )
        except DraftRefusedError as error:
            return None, Fault("broken", str(error))
        rehearsed = await rehearse(task, self.environment, self.runtime)
        broken = rehearsed.fault is not None and rehearsed.fault.kind == "broken"
        return (None if broken else rehearsed.task), rehearsed.fault


def _unusable(why: Sequence[str]) -> str:
    """`unusable reply (it holds no JSON object)`: the kind of fault, without particulars."""
    told = re.split(r"[.:]", why[-1], maxsplit=1)[0].strip() if why else ""
    return f"{UNUSABLE} ({told[:1].lower()}{told[1:]})" if told else UNUSABLE


def _known(draft: Draft, solution: tuple[ToolCall, ...] | None) -> Draft:
    if solution is None:
        return draft
    failing = list(draft.failing)
    for shorter in (solution[:-1], solution[: len(solution) // 2]):
        if len(failing) < FAILING and shorter and shorter not in failing:
            failing.append(shorter)
    return draft.model_copy(update={"solution": solution, "failing": tuple(failing)})


def checking(scene: Scene) -> Trusted:
    """How tasks that start in a scene are checked, as a prompt is told it."""
    parts: list[str] = []
    if scene.grammar is not None:
        parts.append(LANGUAGE_CHECKED)
    if scene.state is not None:
        parts.append(CODE_CHECKED)
    if scene.state is not None and scene.grammar is None and scene.shown_only:
        parts.append(OR_JUDGED)
    return " ".join([*parts, FAILING_CASES]) if parts else JUDGE_CHECKED


def needed_model(context: ProposalContext, source: str) -> ChatModel:
    """The context's model.

    Raises:
        UsageError: there is none.
    """
    if context.model is None:
        raise UsageError(
            f"The proposer {source!r} asks a chat model and this run has none; name one, such as "
            "`--model openai:NAME`, or choose the proposer 'grammar'."
        )
    return context.model


Work = Callable[[Desk], Awaitable[Sequence[Task]]]


async def side_by_side(
    context: ProposalContext,
    works: Sequence[Work],
    *,
    source: str,
    dropped: Counter[str],
    box: str = "auto",
    lanes: int = LANES,
) -> list[Task]:
    """What the works make, in their order, each task once and `context.count` at most.

    Raises:
        UsageError: there is no model, or the configuration is wrong.
        ModelFaultError: the endpoint failed for good.
        BudgetSpentError: a budget does not allow a call.
        EnvironmentFaultError: nothing was made, and the environment raised.
    """
    needed_model(context, source)
    idle: list[Desk] = []
    desks: list[Desk] = []
    free = asyncio.Semaphore(lanes)

    async def one(work: Work) -> Sequence[Task]:
        async with free:
            if not idle:
                desk = Desk(context, source=source, dropped=dropped, box=box)
                desks.append(desk)
                idle.append(desk)
            desk = idle.pop()
            try:
                return await work(desk)
            finally:
                idle.append(desk)

    try:
        # Each is waited for: one that fails must not leave others at work behind it.
        found = await asyncio.gather(*(one(work) for work in works), return_exceptions=True)
    finally:
        for desk in desks:
            await desk.close()
    tasks: dict[str, Task] = {}
    fault: EnvironmentFaultError | ModelFaultError | None = None
    for made in found:
        if isinstance(made, EnvironmentFaultError | ModelFaultError):
            what = "environment" if isinstance(made, EnvironmentFaultError) else "model"
            dropped[f"{what} fault"] += 1
            fault = fault or made
        elif isinstance(made, BaseException):
            raise made
        else:
            for task in made:
                tasks.setdefault(task.id, task)
    if not tasks and fault is not None:
        raise fault
    return list(tasks.values())[: context.count]
