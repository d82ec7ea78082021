"""How an attempt is told to a model that is to learn from it: bounded, with what is left out said.

Everything here is somebody else's text and goes into a prompt as quoted data. What is too long is
cut at a character and says so; of a long trajectory the first and the last steps are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentlab.types import Entity, PastAttempt, Step, ToolSpec, canonical_json

TEXT = 400
"""Characters of an observation, an answer or what an evaluator said."""
STATE = 2500
"""Characters of a state."""
SCHEMA = 1500
"""Characters of a tool's schema."""
STEPS = 24
"""Steps of a trajectory; half of them from its beginning."""
ENTITIES = 40
"""Entities of the first observation."""


def practised(attempts: Iterable[PastAttempt]) -> list[PastAttempt]:
    """Those that may be learnt from: practice tasks with a trajectory and a known outcome.

    The record store hands out no others; a curator does not rely on it.
    """
    return [
        attempt
        for attempt in attempts
        if attempt.task.split == "practice"
        and attempt.trajectory is not None
        and attempt.success is not None
    ]


def told(attempt: PastAttempt, *, states: bool = False) -> str:
    """The attempt in words: task, outcome, steps.

    Args:
        attempt: with its trajectory.
        states: whether the entities at the beginning and the states before and after are told.
    """
    outcome = {True: "solved", False: "failed", None: "unknown"}[attempt.success]
    lines = [f"Task: {cut(attempt.task.instruction)}", f"Outcome: {outcome}."]
    if attempt.feedback:
        lines.append(f"The evaluator said: {cut(attempt.feedback)}")
    trajectory = attempt.trajectory
    if trajectory is None:
        return "\n".join([*lines, "What was done is not on record."])
    lines.append(f"At the beginning: {cut(trajectory.initial.text)}")
    if states:
        lines.extend(_entities(trajectory.initial.entities))
        lines.append(f"State before: {cut(canonical_json(trajectory.initial_state), STATE)}")
    lines.extend(_steps(trajectory.steps))
    if trajectory.answer is not None:
        lines.append(f"Answer: {cut(trajectory.answer)}")
    if states and trajectory.steps:
        lines.append(f"State after: {cut(canonical_json(trajectory.steps[-1].state), STATE)}")
    return "\n".join(lines)


def cut(text: str, most: int = TEXT) -> str:
    """The text, or its beginning and how much is missing."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text) - most} more characters left out)"


def tool_lines(tools: Iterable[ToolSpec]) -> tuple[str, ...]:
    """The tools, a line each: name, what it does, schema of its arguments."""
    return tuple(
        f"{tool.name}: {cut(tool.description)} "
        f"Arguments: {cut(canonical_json(tool.parameters), SCHEMA)}"
        for tool in tools
    )


def _entities(entities: Sequence[Entity]) -> list[str]:
    lines = [
        f"Shown: type {entity.type}, reference {cut(canonical_json(entity.reference))}, "
        f"properties {cut(canonical_json(entity.properties))}"
        for entity in entities[:ENTITIES]
    ]
    left = len(entities) - ENTITIES
    return [*lines, f"({left} more shown things left out)"] if left > 0 else lines


def _steps(steps: Sequence[Step]) -> list[str]:
    numbered = list(enumerate(steps, start=1))
    half = STEPS // 2
    left = len(numbered) - STEPS
    if left <= 0:
        return [_step(number, step) for number, step in numbered]
    return [
        *(_step(number, step) for number, step in numbered[:half]),
        f"({left} steps left out)",
        *(_step(number, step) for number, step in numbered[-half:]),
    ]


def _step(number: int, step: Step) -> str:
    result = step.result
    said = f"refused: {result.error}" if result.error else result.observation.text
    arguments = cut(canonical_json(step.call.arguments))
    return f"Step {number}: {step.call.tool}({arguments}) -> {cut(said)}"
