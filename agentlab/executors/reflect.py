"""A wrapper that tries again after a failure, told by a model what went wrong.

Shinn et al. 2023, "Reflexion: Language Agents with Verbal Reinforcement Learning", algorithm 1, as
in its code for text worlds: on failure a reflection is written from the trajectory, and the next
try sees the last three. It ends with success, after so many retries, or when a reflection says
what an earlier one has said. Where we differ: the tries share the limits of one attempt, an unknown
verdict ends them, and an attempt with a retry is marked as assisted, so that its success counts in
no rate. A reflection is advice, quoted as data like an insight.
"""

from __future__ import annotations

import time

from pydantic import Field

from agentlab.errors import BudgetSpentError, ConfigError
from agentlab.executors.acting import Ended, model_of, offered_skills
from agentlab.executors.metering import CountedModel
from agentlab.executors.trying import (
    Tries,
    Verdict,
    advised,
    environments_verdict,
    happened,
    offering,
)
from agentlab.models.prompts import Prompt
from agentlab.models.structured import ask
from agentlab.protocols import ChatModel, ExecutionContext, Executor
from agentlab.types import AttemptSpec, ChatRequest, Frozen, Sampling, Trajectory, derive_seed

SHOWN = 3
"""Reflections that the next try sees: the last ones."""
WORDS = 120
"""Of a reflection, as the prompt asks for them."""
LONGEST = 4_000
"""Characters of a reflection."""
TRANSCRIPT = 12_000
"""Characters of a failed try that the model reflects on."""


class ReflectInputs(Frozen):
    """What the prompt is filled in with."""

    task: str
    happened: str
    earlier: tuple[str, ...]
    skills: tuple[str, ...]
    most: int


class Reflection(Frozen):
    """What a model says of a failed try."""

    lesson: str = Field(min_length=1, max_length=LONGEST)
    """What went wrong, and what to do next time."""
    skills: tuple[str, ...]
    """Names of the offered skills that are worth trying; read only for an executor that takes
    no advice."""


PROMPT = Prompt("agentlab.executors", "reflect", ReflectInputs)


class ReflectExecutor:
    """Tries with another executor, and after a failure again, with reflections.

    An executor that takes no advice (one without `reads_advice`, such as search) would do the same
    again: it is tried again only where the reflection leaves skills out, and offered the others.
    As search fails by using up what it has, such tries have an equal part of the limits each.

    Args:
        inner: makes each try.
        retries: most tries after the first.
        max_tokens: most tokens of a reflection's reply.
        verdict: whether a try succeeded; the environment's own word where it is not given.

    Raises:
        ConfigError: `retries` is negative.
    """

    wraps = True
    needs_model = True

    def __init__(
        self,
        inner: Executor,
        *,
        retries: int = 2,
        max_tokens: int = 1024,
        verdict: Verdict = environments_verdict,
    ) -> None:
        if retries < 0:
            raise ConfigError(f"reflect: 'retries' must be 0 or more, not {retries}.")
        self._inner = inner
        self._retries = retries
        self._sampling = Sampling(max_tokens=max_tokens)
        self._verdict = verdict
        self.cpu_bound = bool(getattr(inner, "cpu_bound", False))
        self.reads_advice = bool(getattr(inner, "reads_advice", False))

    async def execute(self, context: ExecutionContext) -> Ended:
        """Try the task, at most `retries` times again. See `protocols.Executor`.

        Raises:
            UsageError: the context has no model.
            ModelFaultError: the model's endpoint failed for good.
        """
        model = model_of(context, "reflect")
        tries = Tries(context, self._inner)
        spec = context.spec
        lessons: list[str] = []
        done = await tries.once(spec, share=self._share(spec, tries))
        while tries.count <= self._retries and tries.left:
            # Unknown is no failure: only what is known to have failed is tried again.
            if await self._verdict(context, done.trajectory) is not False:
                break
            reflection = await self._reflect(spec, model, done.trajectory, lessons, tries)
            if reflection is None or reflection.lesson in lessons:
                break
            lessons.append(reflection.lesson)
            following = self._following(context.spec, spec, reflection, lessons)
            if following is None or not tries.left:
                break
            spec = following
            done = await tries.once(spec, share=self._share(spec, tries))
        return tries.finish()

    def _share(self, spec: AttemptSpec, tries: Tries) -> float:
        """The part of what is left that the next try may use: all where none can follow it."""
        if self.reads_advice or not offered_skills(spec):
            return 1.0
        return 1 / max(1, self._retries + 1 - tries.count)

    def _following(
        self, whole: AttemptSpec, before: AttemptSpec, reflection: Reflection, lessons: list[str]
    ) -> AttemptSpec | None:
        """The next try, or None where it would be the same again."""
        if self.reads_advice:
            shown = lessons[-SHOWN:]
            return advised(whole, shown, first=len(lessons) - len(shown) + 1)
        had = {skill.name for skill in offered_skills(before)}
        kept = had & set(reflection.skills)
        return offering(before, kept) if kept != had else None

    async def _reflect(
        self,
        spec: AttemptSpec,
        model: ChatModel,
        trajectory: Trajectory,
        lessons: list[str],
        tries: Tries,
    ) -> Reflection | None:
        """What a model says of a failed try; None where that was unusable or not affordable."""
        inputs = ReflectInputs(
            task=spec.task.instruction,
            happened=happened(trajectory, most=TRANSCRIPT),
            earlier=tuple(lessons[-SHOWN:]) or ("none",),
            skills=tuple(f"{s.name}: {s.summary}" for s in offered_skills(spec)) or ("none",),
            most=WORDS,
        )
        seed = derive_seed("reflect", spec.seed, tries.count) & 0x7FFFFFFF
        request = ChatRequest(
            messages=PROMPT.messages(inputs),
            sampling=self._sampling.model_copy(update={"seed": seed}),
            prompt=PROMPT.ref,
        )
        counted = CountedModel(model)
        began = time.monotonic()
        try:
            return await ask(counted, request, Reflection)
        except BudgetSpentError:
            return None
        finally:
            tries.charge(counted.tokens, time.monotonic() - began)
