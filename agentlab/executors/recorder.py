"""Carrying out a plan for the record: each step with its result and the state after it."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from agentlab.events import StepTaken, is_watched, show
from agentlab.executors.searcher import Meter, PlannedMove
from agentlab.protocols import Environment, HasState
from agentlab.types import (
    Invocation,
    JsonObject,
    Observation,
    Step,
    StepResult,
    Times,
    ToolCall,
    Trajectory,
)

StepTime = tuple[float, float]
"""When a step began and ended, in seconds since 1970."""
EXACT = 6
"""Decimals of a second that are kept."""


class Stopwatch:
    """When the steps of one attempt were made, whichever of its tries they belong to."""

    def __init__(self) -> None:
        self._began, self._clock = time.time(), time.perf_counter()
        # By the step itself, which is kept so that no other comes to its place.
        self._noted: dict[int, tuple[Step, StepTime]] = {}

    def now(self) -> float:
        """Seconds since 1970, which no change of the machine's clock takes back."""
        return self._began + time.perf_counter() - self._clock

    def note(self, step: Step, when: StepTime) -> None:
        """Keep when a step was made."""
        self._noted[id(step)] = (step, when)

    def of(self, steps: Sequence[Step]) -> tuple[StepTime | None, ...]:
        """When each of these steps was made; None for one that nobody noted."""
        found = (self._noted.get(id(step)) for step in steps)
        return tuple(each and each[1] for each in found)

    def times(self, trajectory: Trajectory | None) -> Times:
        """The times of an attempt that is over, with those of its steps."""
        steps = self.of(trajectory.steps) if trajectory is not None else ()
        return Times(
            began=self._began,
            ended=self.now(),
            steps=tuple(
                each and (round(each[0] - self._began, EXACT), round(each[1] - self._began, EXACT))
                for each in steps
            ),
        )


_watch: ContextVar[Stopwatch | None] = ContextVar("agentlab_stopwatch", default=None)


@contextmanager
def timed() -> Generator[Stopwatch]:
    """A stopwatch for what the block records, and what it starts."""
    watch = Stopwatch()
    before = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(before)


def note_times(steps: Sequence[Step], times: Sequence[StepTime | None]) -> None:
    """Keep when steps were made that another process has recorded."""
    watch = _watch.get()
    if watch is not None:
        for step, when in zip(steps, times, strict=False):
            if when is not None:
                watch.note(step, when)


def step_event(position: int, step: Step) -> StepTaken:
    """What is told of a step while an attempt is under way."""
    return StepTaken(
        run_id="",
        position=position,
        tool=step.call.tool,
        arguments=step.call.arguments,
        shown=step.result.observation.text,
        error=step.result.error,
    )


class Recorder:
    """Performs calls in the real environment and keeps the trajectory."""

    def __init__(self, environment: Environment, initial: Observation) -> None:
        self._environment = environment
        self._initial = initial
        self._initial_state: JsonObject | None = None
        self._steps: list[Step] = []
        self._invocations: list[Invocation] = []

    async def start(self) -> None:
        """Read the state before the first step, where it can be read."""
        self._initial_state = await self._state()

    async def _state(self) -> JsonObject | None:
        if isinstance(self._environment, HasState):
            return await self._environment.state()
        return None

    async def perform(self, call: ToolCall) -> StepResult:
        """One step, recorded."""
        watch = _watch.get()
        began = watch.now() if watch is not None else 0.0
        result = await self._environment.step(call)
        ended = watch.now() if watch is not None else 0.0
        step = Step(call=call, result=result, state=await self._state())
        if watch is not None:
            watch.note(step, (began, ended))
        self._steps.append(step)
        if is_watched():
            show(step_event(len(self._steps) - 1, step))
        return result

    async def follow(
        self, moves: Sequence[PlannedMove], *, meter: Meter | None = None
    ) -> StepResult | None:
        """Carry out a plan until it ends, is refused, or the episode or the budget is over.

        Args:
            moves: the plan.
            meter: is charged for each call; None where the search has paid for them.
        """
        result: StepResult | None = None
        for move in moves:
            first = len(self._steps)
            for call in move.calls:
                if meter is not None and meter.left <= 0:
                    break
                result = await self.perform(call)
                if meter is not None:
                    meter.charge(result)
                if result.terminated or result.truncated or result.error is not None:
                    break
            if move.skill is not None and len(self._steps) > first:
                self._invocations.append(
                    Invocation(
                        skill=move.skill.name,
                        skill_id=move.skill.id,
                        arguments=move.arguments or {},
                        first_step=first,
                        end_step=len(self._steps),
                    )
                )
            if result is not None and (
                result.terminated or result.truncated or result.error is not None
            ):
                break
        return result

    def trajectory(self) -> Trajectory:
        """What was recorded."""
        return Trajectory(
            initial=self._initial,
            initial_state=self._initial_state,
            steps=tuple(self._steps),
            invocations=tuple(self._invocations),
        )
