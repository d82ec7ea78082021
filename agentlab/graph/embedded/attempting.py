"""An agent as a node: a task from the state is attempted, and what came of it is written back.

The agent is anything with `arun`; `agentlab.Agent` is what is meant. Under a checkpointer each
execution of the node asks for its task under a mark of its own. When LangGraph runs it again, after
a kill, say, an attempt that is on record by then is found by that and given back: an attempt has
its effect once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol, TypedDict, cast, runtime_checkable

from pydantic import ValidationError

from agentlab.errors import UsageError
from agentlab.events import Event
from agentlab.graph.embedded.node import Node, Turn, value_of
from agentlab.graph.embedded.workspace import opened
from agentlab.types import JsonObject, Scope, Task, Trajectory

ASKED = "node "
"""How the source of a task begins that a node asked for."""
ELSEWHERE = (
    "The attempt {attempt!r} is not on record in the workspace that this node looks into, so a "
    "node that runs again could not find it; name the agent's own with as_node(agent, workspace=…)."
)


class Attempted(TypedDict):
    """What the node of an agent writes: plain values, for any checkpointer.

    Example:
        >>> sorted(Attempted.__annotations__)[:3]
        ['answer', 'attempt_id', 'explanation']
    """

    attempt_id: str
    success: bool | None
    """None where it is unknown, or where the environment failed."""
    explanation: str
    answer: str | None
    """What the agent said at the end, where it says anything."""
    tool_calls: int
    skills_used: list[str]
    """Names."""


class Ran(Protocol):
    """What an agent gives back; `agentlab.RunResult` is one."""

    @property
    def attempt_id(self) -> str:
        """Of the attempt on record."""
        ...

    @property
    def success(self) -> bool | None:
        """None where it is unknown."""
        ...

    @property
    def explanation(self) -> str:
        """Why."""
        ...

    @property
    def trajectory(self) -> Trajectory | None:
        """What happened; None where it ended before anything did."""
        ...

    @property
    def tool_calls(self) -> int:
        """How many were made."""
        ...

    @property
    def skills_used(self) -> tuple[str, ...]:
        """Names."""
        ...


@runtime_checkable
class RunsTasks(Protocol):
    """What is put into a graph; `agentlab.Agent` is one."""

    async def arun(self, task: Task) -> Ran:
        """Attempt a task and record the attempt."""
        ...


@runtime_checkable
class EndsRun(Protocol):
    """The last event of a stream."""

    @property
    def result(self) -> Ran:
        """What came of it."""
        ...


@runtime_checkable
class StreamsRuns(Protocol):
    """An agent that also tells what happens as it happens."""

    def astream(self, task: Task) -> AsyncGenerator[Event]:
        """As `arun`, event by event; the last one has the `result`."""
        ...


@runtime_checkable
class HasWorkspace(Protocol):
    """An agent that says where it keeps its records."""

    @property
    def workspace(self) -> Path:
        """The directory."""
        ...


@runtime_checkable
class HasScope(Protocol):
    """An agent that says whose its attempts are."""

    @property
    def scope(self) -> Scope:
        """The scope."""
        ...


def agent_node(
    agent: RunsTasks,
    *,
    read: str = "task",
    write: str = "result",
    workspace: Path | str | None = None,
) -> Node:
    """A node that has an agent attempt the task in the state. See `as_node`."""
    place = workspace
    if place is None and isinstance(agent, HasWorkspace):
        place = agent.workspace
    whose = agent.scope if isinstance(agent, HasScope) else None

    async def work(state: Any, turn: Turn) -> dict[str, Any]:
        asked = _task(value_of(state, read), read)
        if turn.mark is not None:
            asked = asked.model_copy(update={"source": ASKED + turn.mark})
        known = _on_record(asked, place, whose) if turn.mark is not None else None
        if known is None:
            known = _attempted(await _ran(agent, asked, turn))
            if turn.mark is not None and not _is_recorded(known["attempt_id"], place):
                raise UsageError(ELSEWHERE.format(attempt=known["attempt_id"]))
        ended = cast("JsonObject", dict(known))
        turn.tell({"event": "AttemptFinished", "task_id": asked.id, **ended})
        return {write: known}

    return Node("agentlab agent", work, reads=(read,), writes=write)


def _task(value: object, key: str) -> Task:
    if isinstance(value, Task):
        return value
    if isinstance(value, Mapping):
        try:
            return Task.model_validate(value)
        except ValidationError as error:
            why = error.errors()[0]
            raise UsageError(
                f"What the state has under {key!r} is no task ({why['loc']}: {why['msg']}); put a "
                "Task there, or what its model_dump(mode='json') gives."
            ) from None
    raise UsageError(
        f"What the state has under {key!r} is {type(value).__name__} and no task; put a Task "
        "there, or what its model_dump(mode='json') gives."
    )


async def _ran(agent: RunsTasks, asked: Task, turn: Turn) -> Ran:
    """What came of the task; its events are streamed as they happen where the agent tells them."""
    if not isinstance(agent, StreamsRuns):
        told: JsonObject = {"task_id": asked.id, "instruction": asked.instruction}
        turn.tell({"event": "AttemptBegun", **told})
        return await agent.arun(asked)
    result: Ran | None = None
    async with aclosing(agent.astream(asked)) as events:
        async for event in events:
            if isinstance(event, EndsRun):
                result = event.result
            else:
                turn.tell({"event": event.kind, **event.payload()})
    if result is None:
        raise UsageError(
            f"The stream of {type(agent).__name__} ended without a result; its last event has one."
        )
    return result


def _is_recorded(attempt_id: str, place: Path | str | None) -> bool:
    with opened(place) as records:
        return bool(records.trajectories.outcomes([attempt_id]))


def _on_record(asked: Task, place: Path | str | None, whose: Scope | None) -> Attempted | None:
    """What came of exactly this task, where an attempt at it is on record, by nobody else."""
    with opened(place) as records:
        answer = records.asked.answer(asked, scope=whose)
        if answer is None:
            return None
        outcome = records.trajectories.outcome(answer.attempt_id)
        return Attempted(
            attempt_id=outcome.attempt_id,
            success=outcome.success,
            explanation=outcome.error or outcome.score.explanation,
            answer=outcome.trajectory.answer if outcome.trajectory else None,
            tool_calls=outcome.usage.tool_calls,
            skills_used=[records.items.skill(each).item.name for each in outcome.skills_used],
        )


def _attempted(ran: Ran) -> Attempted:
    return Attempted(
        attempt_id=ran.attempt_id,
        success=ran.success,
        explanation=ran.explanation,
        answer=ran.trajectory.answer if ran.trajectory else None,
        tool_calls=ran.tool_calls,
        skills_used=list(ran.skills_used),
    )
