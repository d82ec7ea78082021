"""One caller's environment, held between calls, and skills carried out in it one at a time.

Skill code runs in a box, a fresh one for each call; its tool calls are ordinary steps here, each
recorded. Whatever goes wrong with a call is told in what comes of it. An environment that failed,
or whose call was cut off in the middle, is not used again: the next episode gets a new one.
Nothing here writes records or speaks the protocol.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.environments.registration import make_environment
from agentlab.errors import AgentLabError, EnvironmentFaultError
from agentlab.executors.fitting import unfit
from agentlab.executors.recorder import Recorder
from agentlab.graph.jobs import keep_blobs
from agentlab.graph.replays import effect_after
from agentlab.models.redaction import known
from agentlab.protocols import Environment, EpisodeOver
from agentlab.records.blobs import Blobs
from agentlab.sandbox import BoxRuntime, RuntimeLimits, open_settled
from agentlab.serve.mcp.apart import PATIENCE, foreign
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.own_tools import BeginArguments
from agentlab.serve.mcp.starting_states import task_for
from agentlab.types import (
    EnvironmentRef,
    Invocation,
    JsonObject,
    Observation,
    Skill,
    StepResult,
    Task,
    ToolCall,
    Trajectory,
    Usage,
)

log = logging.getLogger(__name__)


class Done(NamedTuple):
    """What came of one call."""

    trajectory: Trajectory | None
    """None where the environment failed before anything could be recorded."""
    usage: Usage
    seen: Observation | None
    """What the environment shows after; None where it failed."""
    completed: bool = False
    effect: bool | None = None
    """What the effect check says; None where it could not be asked."""
    reason: str = ""
    """Why it did not do what it says."""
    broken: bool = False
    """Whether the environment failed, which is no fault of the skill."""
    goal: bool | None = None
    """Whether the episode's own goal is reached, where it has one."""
    changed: JsonObject | None = None
    """Facts of the state that differ afterwards."""
    told: bool = True
    """Whether it says anything of the skill; not where that never began, or was broken off."""

    @property
    def success(self) -> bool | None:
        """Whether the skill did what it says; None where that is not known."""
        if self.broken or not self.told:
            return None
        if self.effect is None:
            return None if self.completed else False
        return self.completed and self.effect


BROKEN_OFF = Done(None, Usage(), None, reason="the client broke it off", told=False)
"""A call that was broken off where it could no longer tell what it had done."""


def stuck(limits: ServeLimits) -> Done:
    """What there is of a call whose environment blocks: that it did, and none of its steps."""
    reason = f"it did not end within {limits.call_seconds:g} s, and its environment blocks"
    return Done(None, Usage(attempts=1), None, reason=reason, broken=True)


class Episode:
    """An environment in use.

    Args:
        ref: how to make the environment.
        box: where skill code runs, as settled.
        limits: of each call.
        blobs: where pictures are kept.
    """

    def __init__(
        self, ref: EnvironmentRef, box: str, limits: ServeLimits, blobs: Blobs | None
    ) -> None:
        self._ref = ref
        self._box = box
        self._limits = limits
        self._blobs = blobs
        self._environment: Environment | None = None
        self._runtime: BoxRuntime | None = None
        self.task: Task | None = None
        """What it began with; None where nothing has begun, or it has to begin anew."""
        self.seen: Observation | None = None
        self.over = False
        """Whether the environment ended the episode."""

    async def begin(self, asked: BeginArguments) -> Observation:
        """Put the environment into a start state.

        Raises:
            UsageError: it cannot begin as asked.
            EnvironmentFaultError: the environment failed.
        """
        self.task = None
        try:
            task, self.seen = await foreign(lambda: self._begun(asked))
        except TimeoutError:
            await self.drop()
            raise EnvironmentFaultError(
                f"The environment did not begin within {self._limits.call_seconds:g} s."
            ) from None
        except EnvironmentFaultError:
            await self.drop()
            raise
        except asyncio.CancelledError:
            await self.drop()
            raise
        except AgentLabError:
            raise
        except Exception as error:  # a foreign environment, which may fail in any way
            await self.drop()
            told = known().text(f"{type(error).__name__}: {error}")
            raise EnvironmentFaultError(told) from None
        self.task, self.over = task, False
        return self.seen

    async def _begun(self, asked: BeginArguments) -> tuple[Task, Observation]:
        if self._environment is None:
            self._environment = make_environment(self._ref)
            keep_blobs(self._environment, self._blobs)
        task = task_for(self._environment, self._ref.name, asked)
        async with asyncio.timeout(self._limits.call_seconds):
            return task, await self._environment.reset(task, 0)

    async def call(self, skill: Skill, callees: Sequence[Skill], arguments: JsonObject) -> Done:
        """Carry out a verified skill; whatever goes wrong is in what comes of it.

        So is that it was cancelled: what was done until then is told, and the episode is over.
        """
        environment, seen = self._environment, self.seen
        assert environment is not None and seen is not None and self.task is not None
        work = _Work(environment, seen, skill, arguments, self._open(), self._limits)
        try:
            async with asyncio.timeout(self._limits.call_seconds):
                done = await foreign(lambda: work.run(callees))
        except TimeoutError:
            await self.drop()
            return work.stopped(f"it did not end within {self._limits.call_seconds:g} s")
        except asyncio.CancelledError:
            await self.drop()
            return work.stopped(BROKEN_OFF.reason)._replace(told=False)
        except (AgentLabError, OSError) as error:
            await self.drop()
            return work.failed(known().text(str(error)))
        except Exception as error:  # a foreign environment, which may fail in any way
            await self.drop()
            return work.failed(known().text(f"{type(error).__name__}: {error}"))
        self.seen = done.seen
        self.over = work.over
        return done

    async def drop(self) -> None:
        """Give the environment up; the next episode makes a new one."""
        self.task, self.seen = None, None
        environment, self._environment = self._environment, None
        runtime, self._runtime = self._runtime, None
        closing = [
            asyncio.create_task(_closed(kept))
            for kept in (runtime, environment)
            if kept is not None
        ]
        if not closing:
            return
        _, open_still = await asyncio.wait(closing, timeout=PATIENCE / 2)
        for each in open_still:
            each.cancel()
            log.warning("An environment did not close in time and was left open.")

    async def close(self) -> None:
        """As `drop`. Safe to call twice."""
        await self.drop()

    def _open(self) -> BoxRuntime:
        if self._runtime is None:
            limits = RuntimeLimits(tool_calls=self._limits.tool_calls)
            self._runtime = open_settled(self._box, limits=limits)
        return self._runtime


async def _closed(kept: BoxRuntime | Environment) -> None:
    try:
        await foreign(kept.close)
    except Exception as error:  # foreign code, which must not keep the other open
        log.warning("%s did not close: %s", type(kept).__name__, error)


class _Work:
    """One call under way."""

    def __init__(
        self,
        environment: Environment,
        seen: Observation,
        skill: Skill,
        arguments: JsonObject,
        runtime: BoxRuntime,
        limits: ServeLimits,
    ) -> None:
        self._environment = environment
        self._before = seen
        self._skill = skill
        self._arguments = arguments
        self._runtime = runtime
        self._limits = limits
        self._record = Recorder(environment, seen)
        self._results: list[StepResult] = []
        self._began = time.monotonic()
        self._cpu = runtime.cpu_seconds

    @property
    def over(self) -> bool:
        return bool(self._results) and (self._results[-1].terminated or self._results[-1].truncated)

    async def run(self, callees: Sequence[Skill]) -> Done:
        await self._record.start()
        initial = self._record.trajectory().initial_state
        why = unfit(self._skill, self._arguments, initial, self._before.entities)
        if why is not None:
            return self._done(reason=why)._replace(told=False)
        await self._runtime.open((self._skill, *callees), self._environment.tools)
        returned = await self._runtime.call(self._skill.name, self._arguments, self._perform)
        final = self._final()
        effect, why = await effect_after(
            self._skill, initial, final, self._arguments, self._runtime
        )
        if not returned.completed:
            why = returned.error or "it was stopped"
        return self._done(completed=returned.completed, effect=effect, reason=why)

    def stopped(self, reason: str) -> Done:
        """What there is of a call that was cut off."""
        return self._done(reason=reason, lost=True)

    def failed(self, reason: str) -> Done:
        """What there is of a call whose environment failed."""
        return self._done(reason=reason, lost=True)._replace(broken=True)

    async def _perform(self, call: ToolCall) -> StepResult:
        if self.over:
            raise EpisodeOver
        result = await self._record.perform(call)
        self._results.append(result)
        return result

    def _final(self) -> JsonObject | None:
        trajectory = self._record.trajectory()
        return trajectory.steps[-1].state if trajectory.steps else trajectory.initial_state

    def _done(
        self,
        *,
        completed: bool = False,
        effect: bool | None = None,
        reason: str = "",
        lost: bool = False,
    ) -> Done:
        trajectory = self._record.trajectory()
        steps = trajectory.steps
        if steps:
            made = Invocation(
                skill=self._skill.name,
                skill_id=self._skill.id,
                arguments=self._arguments,
                first_step=0,
                end_step=len(steps),
            )
            trajectory = trajectory.model_copy(update={"invocations": (made,)})
        last = steps[-1].result if steps else None
        before, after = trajectory.initial_state or {}, self._final() or {}
        return Done(
            trajectory=trajectory,
            usage=Usage(
                attempts=1,
                tool_calls=len(steps),
                steps=sum(step.result.steps for step in steps),
                cpu_seconds=max(0.0, self._runtime.cpu_seconds - self._cpu),
                wall_seconds=time.monotonic() - self._began,
            ),
            seen=None if lost else self._before if last is None else last.observation,
            completed=completed,
            effect=effect,
            reason=reason,
            goal=last.succeeded if last is not None and self.over else None,
            changed={k: v for k, v in after.items() if before.get(k) != v},
        )
