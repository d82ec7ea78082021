"""Carrying out a plan for the record: each step with its result and the state after it."""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.executors.searcher import Meter, PlannedMove
from agentlab.protocols import Environment, HasState
from agentlab.types import (
    Invocation,
    JsonObject,
    Observation,
    Step,
    StepResult,
    ToolCall,
    Trajectory,
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
        result = await self._environment.step(call)
        self._steps.append(Step(call=call, result=result, state=await self._state()))
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
