"""Typed answers: what the executor said at the end, as a value of a type.

The executor is told of the form before it begins, where the words of the task are the user's. What
it said is read; where that does not fit, the model is told once what is wrong with it and answers
again, from what it saw. What still does not fit is no answer, and the result says why.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from agentlab.errors import BudgetSpentError, ModelFaultError
from agentlab.executors.acting import shown
from agentlab.graph.seats import AttemptSeats, total
from agentlab.models.prompts import DATA, quoted
from agentlab.models.structured import UnusableReplyError, parse, schema_of
from agentlab.types import (
    AttemptOutcome,
    ChatRequest,
    Message,
    Task,
    Trajectory,
    canonical_json,
)

A = TypeVar("A", bound=BaseModel)

LAST_STEPS = 8
"""Steps whose observations are told again where an answer has to be written once more."""


def told_of(task: Task, shape: type[BaseModel]) -> Task:
    """The task with the form of its answer in its words; it is then another task."""
    schema = canonical_json(schema_of(shape))
    return task.model_copy(
        update={
            "instruction": f"{task.instruction}\n\nGive your final answer as one JSON object of "
            f"this schema, and nothing else: {schema}"
        }
    )


def read(text: str | None, shape: type[A]) -> tuple[A | None, str]:
    """The answer, or why there is none."""
    if text is None:
        return None, "The attempt ended without an answer."
    try:
        return parse(text, shape), ""
    except UnusableReplyError as error:
        return None, str(error)


async def asked_again(
    outcome: AttemptOutcome, task: Task, shape: type[A], seats: AttemptSeats | None
) -> tuple[A | None, str, AttemptOutcome]:
    """The typed answer of an attempt that completed; its model is asked once where it has none.

    Returns:
        The answer, why there is none, and the outcome with what asking took.
    """
    done = outcome.trajectory
    if done is None:
        return None, outcome.error or "The attempt left no record.", outcome
    answer, fault = read(done.answer, shape)
    model = seats.executor if seats is not None else None
    if answer is not None or model is None or seats is None:
        return answer, fault, outcome
    before = len(seats.calls)
    try:
        reply = await model.chat(_request(task, done, shape, fault))
    except (ModelFaultError, BudgetSpentError) as error:
        return None, f"{fault} It could not be asked for again: {error}", outcome
    answer, again = read(reply.message.text, shape)
    calls = seats.calls[before:]
    trajectory = done.model_copy(update={"model_calls": (*done.model_calls, *calls)})
    if answer is not None:
        trajectory = trajectory.model_copy(update={"answer": reply.message.text})
    told = outcome.model_copy(
        update={"trajectory": trajectory, "usage": outcome.usage + total(calls)}
    )
    return answer, again, told


def _request(task: Task, done: Trajectory, shape: type[BaseModel], fault: str) -> ChatRequest:
    seen = [done.initial, *(step.result.observation for step in done.steps)][-LAST_STEPS:]
    lines = "\n".join(shown(each) for each in seen)
    said = quoted(done.answer or "(nothing)")
    return ChatRequest(
        messages=(
            Message(
                role="system",
                text=(
                    "An attempt at a task has ended. Write its final answer as one JSON object "
                    f"that fits the schema, from what was seen, and nothing else. {DATA}"
                ),
            ),
            Message(
                role="user",
                text=(
                    f"Task: {task.instruction}\n\nWhat was seen last:\n{lines}\n\nThe answer that "
                    f"was given: {said}\nIt cannot be used: {quoted(fault)}\n\nSchema: "
                    f"{canonical_json(schema_of(shape))}"
                ),
            ),
        ),
        schema_name=shape.__name__,
        reply_schema=schema_of(shape),
    )
