"""One attempt by a model, in the making: its calls are carried out, recorded and charged.

What a strategy decides is its own; this is what all of them do alike. A skill's inner calls are
ordinary steps, and no call, skill or request goes past the attempt's limits.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from pydantic import JsonValue

from agentlab.errors import BudgetSpentError, UsageError
from agentlab.executors.metering import ModelMeter, tokens_of
from agentlab.executors.recorder import Recorder
from agentlab.models.faults import ContextFullError
from agentlab.models.prompts import quoted
from agentlab.protocols import (
    ChatModel,
    EpisodeOver,
    Execution,
    ExecutionContext,
    SkillReturn,
)
from agentlab.types import (
    AttemptSpec,
    ChatReply,
    ChatRequest,
    Invocation,
    JsonObject,
    Observation,
    Skill,
    StepResult,
    ToolCall,
    Trajectory,
    canonical_json,
    derive_seed,
)

log = logging.getLogger(__name__)

LEAST_WAIT = 0.05
"""Seconds between two looks at the clock while an endpoint that is down is waited for."""
Ending = Literal["episode", "answer", "limits", "budget", "malformed", "context"]
"""Why an attempt ended: the environment ended it, the model gave its answer, the attempt's limits
or a run's budget were spent, three replies in a row could not be used, or what must be said is
longer than the context."""


class Ended(Execution):
    """An execution that also says why it ended."""

    ending: Ending = "episode"
    reason: str = ""
    """The same in a sentence, where there is more to say."""
    tries: int = 1
    """How often the task was tried; more than once is assisted."""


def model_of(context: ExecutionContext, executor: str) -> ChatModel:
    """The context's model.

    Raises:
        UsageError: there is none.
    """
    if context.model is None:
        raise UsageError(
            f"The executor {executor!r} needs a chat model; name one such as 'openai:<model>', or "
            "use the executor 'search', which needs none."
        )
    return context.model


def offered_skills(spec: AttemptSpec) -> list[Skill]:
    """The skills that the attempt is offered, without those that are only called by them."""
    offered = {offer.item_id for offer in spec.offers if not offer.withheld}
    return [skill for skill in spec.skills if not spec.offers or skill.id in offered]


def advice_of(spec: AttemptSpec) -> tuple[str, ...]:
    """The offered insights as lines for a prompt, each with its id; one line that says none."""
    lines: list[str] = []
    for insight in spec.insights:
        parts = [f"[{insight.id}] When: {insight.condition}"]
        if insight.negative_condition:
            parts.append(f"Not when: {insight.negative_condition}")
        parts.append(f"Advice: {insight.advice}")
        if insight.example:
            parts.append(f"Example: {insight.example}")
        lines.append(" | ".join(parts))
    return tuple(lines) or ("none",)


def shown(observation: Observation) -> str:
    """What the model is shown of an observation: its text, and what calls can point at.

    All of it was written by others and stands between the marks of quoted data.
    """
    lines = [observation.text]
    if observation.entities:
        lines.append("Things that arguments can refer to, as {type, reference, properties}:")
        lines += [
            canonical_json(
                {"type": thing.type, "reference": thing.reference}
                | ({} if thing.properties == thing.reference else {"properties": thing.properties})
            )
            for thing in observation.entities
        ]
    return quoted("\n".join(lines))


class _Record(Recorder):
    """A recorder to which skill calls are added as they end."""

    @property
    def steps(self) -> int:
        return len(self._steps)

    def invoked(self, skill: Skill, arguments: JsonObject, first: int) -> None:
        if len(self._steps) > first:
            self._invocations.append(
                Invocation(
                    skill=skill.name,
                    skill_id=skill.id,
                    arguments=arguments,
                    first_step=first,
                    end_step=len(self._steps),
                )
            )


class Acting:
    """An attempt under way. Make one with `begin`."""

    def __init__(
        self, context: ExecutionContext, model: ChatModel | None, initial: Observation
    ) -> None:
        self.spec = context.spec
        self.initial = initial
        self.seen = initial
        """The last observation."""
        self.over = False
        """Whether the environment ended the episode."""
        self._context = context
        self._model = model
        self._record = _Record(context.environment, initial)
        self._turns = 0
        self.meter = ModelMeter(
            context.spec.limits,
            besides=lambda: getattr(context.runtime, "cpu_seconds", 0.0),
            waited=lambda: getattr(model, "paused_seconds", 0.0),
        )

    @classmethod
    async def begin(cls, context: ExecutionContext, model: ChatModel | None) -> Acting:
        """Reset the environment and start to record; without a model, others choose the calls."""
        acting = cls(
            context, model, await context.environment.reset(context.spec.task, context.spec.seed)
        )
        await acting._record.start()
        return acting

    @property
    def steps(self) -> int:
        """How many calls are recorded."""
        return self._record.steps

    async def say(self, request: ChatRequest) -> ChatReply | Ending:
        """The model's reply, or why there is none: what may be spent is spent.

        A call is not waited for beyond the attempt's time; one that is given up was made, and
        whoever meters the model has to count it.
        """
        if self.meter.left <= 0:
            return "limits"
        if self._model is None:
            raise UsageError("This attempt was begun without a chat model, so none can be asked.")
        self._turns += 1
        spec = self.spec
        # From the attempt's own seed: others at the task draw differently, arms of a comparison
        # alike, and the same again when it is run again.
        seed = derive_seed("chat", spec.seed, self._turns) & 0x7FFFFFFF
        request = request.model_copy(
            update={"sampling": request.sampling.model_copy(update={"seed": seed})}
        )
        call = asyncio.ensure_future(self._model.chat(request))
        try:
            while not call.done():
                if (left := self.meter.seconds_left) <= 0:
                    return "limits"
                await asyncio.wait((call,), timeout=max(left, LEAST_WAIT))
            reply = call.result()
        except BudgetSpentError:
            return "budget"
        except ContextFullError:
            if self._turns == 1:
                raise  # not even the task fits, which no policy can help
            return "context"
        finally:
            call.cancel()
        self.meter.tokens += tokens_of(request, reply)
        return reply

    async def use_tool(self, call: ToolCall) -> StepResult:
        """One step, recorded and charged.

        Raises:
            EpisodeOver: the episode is over or the limits are spent; nothing was done.
        """
        if self.over or self.meter.left <= 0:
            raise EpisodeOver
        result = await self._record.perform(call)
        self.meter.charge(result)
        self.seen = result.observation
        self.over = result.terminated or result.truncated
        if result.succeeded:
            self.meter.reached()
        return result

    async def use_skill(self, skill: Skill, arguments: JsonObject) -> SkillReturn:
        """Call an opened skill; what it does is recorded as steps and as its invocation."""
        first = self.steps
        try:
            return await self._context.runtime.call(skill.name, arguments, self.perform)
        finally:
            self.invoked(skill, arguments, first)
            if self.steps == first:
                self.meter.charge_turn()

    async def perform(self, call: ToolCall) -> StepResult:
        """As `use_tool`, for code in a box, which is stopped when the episode ends."""
        result = await self.use_tool(call)
        if self.over:
            raise EpisodeOver
        return result

    def invoked(self, skill: Skill, arguments: JsonObject, first: int) -> None:
        """Record a skill call that covers the steps since `first`, if there are any."""
        self._record.invoked(skill, arguments, first)

    def finish(self, ending: Ending, *, answer: str | None = None, reason: str = "") -> Ended:
        """What the attempt gave."""
        trajectory: Trajectory = self._record.trajectory()
        if answer is not None:
            trajectory = trajectory.model_copy(update={"answer": answer})
        ended = Ended(trajectory, self.meter.usage(), self.meter.first_success)
        ended.ending, ended.reason = ending, reason
        log.debug("The attempt %s ended (%s). %s", self.spec.id, ending, reason)
        return ended


def told(returned: SkillReturn, acting: Acting) -> str:
    """What a model is told of a skill call that ended."""
    if not returned.completed:
        head = f"The skill did not complete: {quoted(returned.error or 'it was stopped')}"
    else:
        value: JsonValue = returned.value
        head = "The skill completed" + (
            "." if value is None else f" and returned {quoted(canonical_json(value))}."
        )
    return f"{head}\nWhat there is now: {shown(acting.seen)}"
