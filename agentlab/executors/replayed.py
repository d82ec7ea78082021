"""Going back in an environment that cannot: reset it, and make the same calls again.

Search needs to return to states that it has seen. Where the environment has no snapshots, a state
is the calls that led to it, and returning means making them once more from a fresh start. That is
slow and asks that the environment does the same thing twice; where it does not, search plans with
a wrong idea of what will happen, and the execution of the plan, which is the attempt, shows it.

What is made again is not charged: it stands for a restored snapshot, not for another try. It does
take time, and that counts against the attempt's seconds.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from agentlab.errors import UsageError
from agentlab.protocols import Environment, HasState
from agentlab.types import (
    JsonObject,
    Observation,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    canonical_json,
)


class Retraced(NamedTuple):
    """A state: the calls that led to it, and what it looks like."""

    calls: tuple[ToolCall, ...]
    observation: Observation
    shown: str

    @property
    def key(self) -> Hashable:
        """States that look alike are taken for one; what does not show cannot tell them apart.

        What the last call answered is a part of how a state looks, so a search may come by one
        state under several looks, which costs calls and loses nothing.
        """
        return self.shown


class Replayed:
    """An environment in which a task was just begun, with snapshots by repetition.

    Args:
        environment: the environment, reset for the task.
        task: the task.
        seed: the seed of that reset.
        observation: what that reset showed.
    """

    def __init__(
        self, environment: Environment, task: Task, seed: int, observation: Observation
    ) -> None:
        self._environment = environment
        self._task = task
        self._seed = seed
        self._observation = observation
        self._calls: tuple[ToolCall, ...] = ()

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """The environment's tools."""
        return self._environment.tools

    async def reset(self, task: Task, seed: int) -> Observation:
        """Begin a task afresh."""
        self._task, self._seed = task, seed
        self._calls = ()
        self._observation = await self._environment.reset(task, seed)
        return self._observation

    async def step(self, call: ToolCall) -> StepResult:
        """One call; a refused one leaves no trace in the way back."""
        result = await self._environment.step(call)
        if result.error is None:
            self._calls = (*self._calls, call)
            self._observation = result.observation
        return result

    async def close(self) -> None:
        """Close the environment."""
        await self._environment.close()

    async def snapshot(self) -> Retraced:
        """The way to the state now."""
        observation = self._observation
        entities = [entity.model_dump(mode="json") for entity in observation.entities]
        shown: list[object] = [observation.text, observation.data, entities]
        if isinstance(self._environment, HasState):
            shown.append(await self._environment.state())
        return Retraced(self._calls, observation, canonical_json(shown))

    async def restore(self, snapshot: object) -> Observation:
        """Go the way of a snapshot once more.

        Raises:
            UsageError: it is not a snapshot of this kind.
        """
        if not isinstance(snapshot, Retraced):
            raise UsageError("An environment without snapshots can only retrace its own steps.")
        if snapshot.calls != self._calls:
            await self.reset(self._task, self._seed)
            for call in snapshot.calls:
                result = await self.step(call)
                if result.terminated or result.truncated:
                    break
        return self._observation


class ReplayedState(Replayed):
    """The same for an environment whose state can be read."""

    async def state(self) -> JsonObject:
        """The environment's state now."""
        assert isinstance(self._environment, HasState)
        return await self._environment.state()


def replayed(environment: Environment, task: Task, seed: int, observation: Observation) -> Replayed:
    """The environment, just reset, with snapshots by repetition."""
    kind = ReplayedState if isinstance(environment, HasState) else Replayed
    return kind(environment, task, seed, observation)
