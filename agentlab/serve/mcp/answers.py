"""What a client is told: structured data, and the same in words.

Whatever an environment shows was written by others. It is cleaned of control characters and
secrets, bounded, and put between the marks of quoted data where a model may read it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

from pydantic import Field, JsonValue

from agentlab.models.prompts import quoted
from agentlab.models.redaction import known
from agentlab.serve.mcp.episode import Done
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.pages import plain
from agentlab.types import (
    Entity,
    Frozen,
    JsonObject,
    Observation,
    ScoreSource,
    Skill,
    Task,
    canonical_json,
)


class Thing(Frozen):
    """Something that arguments can point at."""

    type: str
    reference: JsonValue
    """What to pass."""
    properties: JsonObject


class View(Frozen):
    """What the environment shows."""

    text: str = ""
    things: tuple[Thing, ...] = ()
    left_out: int = 0
    """Things that are there and not told."""


class CallAnswer(Frozen):
    """What came of a skill."""

    call: str
    """Its id, for `feedback`."""
    skill: str
    version: int
    worked: bool
    """It returned, and its effect check passed."""
    completed: bool
    effect: bool | None = None
    """What the effect check says; null where it could not be asked."""
    reason: str = ""
    """Why it did not do what it says."""
    over: bool = False
    """Whether the episode is over; `begin` starts another."""
    goal: bool | None = None
    """Whether the episode's goal is reached, once it is over."""
    tool_calls: int = 0
    steps: int = 0
    seconds: float = 0.0
    changed: JsonObject = Field(default_factory=dict)
    """Facts of the state that differ afterwards."""
    shows: View = View()


class BeginAnswer(Frozen):
    """An episode that has begun."""

    instruction: str
    setup: str
    seed: int
    verified: bool
    """Whether the environment itself can say that the instruction was followed."""
    shows: View


class SearchLine(Frozen):
    """A skill that fits."""

    name: str
    """Of the tool to call."""
    signature: str
    summary: str
    score: float


class SearchAnswer(Frozen):
    """What fits a query."""

    skills: tuple[SearchLine, ...]
    advice: tuple[str, ...]
    withheld: tuple[str, ...] = ()
    """Tools that are not offered, with the reason."""


class FeedbackAnswer(Frozen):
    """What became of feedback."""

    call: str
    recorded: bool
    """False where the same was said last."""
    success: bool | None
    """Whether the call counts as a success now; null where nobody knows."""
    by: ScoreSource | None
    """Who says so; a verifier, such as the skill's effect check, outranks a human."""


def view_of(observation: Observation | None, limits: ServeLimits) -> View:
    """What is told of an observation."""
    if observation is None:
        return View()
    things: list[Thing] = []
    room = limits.text
    for entity in observation.entities[: limits.things]:
        thing = _thing(entity)
        room -= len(canonical_json(thing.model_dump(mode="json")))
        if room < 0:
            break
        things.append(thing)
    return View(
        text=plain(known().text(observation.text), limits.text),
        things=tuple(things),
        left_out=len(observation.entities) - len(things),
    )


def call_answer(
    call: str, name: str, skill: Skill, done: Done, *, over: bool, limits: ServeLimits
) -> CallAnswer:
    """What is told of a call."""
    changed: JsonObject = cast("JsonObject", _clean(known().json(done.changed or {})))
    if len(canonical_json(changed)) > limits.text:
        told_instead: JsonObject = {"(left out)": f"{len(changed)} facts, too long to tell"}
        changed = told_instead
    return CallAnswer(
        call=call,
        skill=name,
        version=skill.version,
        worked=done.success is True,
        completed=done.completed,
        effect=done.effect,
        reason=plain(known().text(done.reason), 2000),
        over=over,
        goal=done.goal,
        tool_calls=done.usage.tool_calls,
        steps=done.usage.steps,
        seconds=round(done.usage.wall_seconds, 3),
        changed=changed,
        shows=view_of(done.seen, limits),
    )


def begin_answer(task: Task, observation: Observation, limits: ServeLimits) -> BeginAnswer:
    """What is told of an episode's start."""
    return BeginAnswer(
        instruction=plain(task.instruction, limits.text),
        setup=plain(task.template.partition(": ")[0], 200),
        seed=task.seed,
        verified=task.mission is not None,
        shows=view_of(observation, limits),
    )


def told(answer: Frozen) -> str:
    """An answer in words, for a model."""
    if isinstance(answer, CallAnswer):
        return _call_told(answer)
    if isinstance(answer, BeginAnswer):
        return f"The episode has begun. {_view_told(answer.shows)}"
    if isinstance(answer, SearchAnswer):
        lines = [f"- {each.signature}: {quoted(each.summary)}" for each in answer.skills]
        lines += [f"- Advice: {quoted(each)}" for each in answer.advice]
        lines += [f"- Withheld: {each}" for each in answer.withheld]
        return "\n".join(lines) or "Nothing in the library fits."
    return json.dumps(answer.model_dump(mode="json"), ensure_ascii=False)


def _call_told(answer: CallAnswer) -> str:
    if answer.worked:
        head = f"{answer.skill} worked: its effect check passed."
    elif answer.effect is None and answer.completed:
        head = f"{answer.skill} returned; whether it had its effect is not known."
    else:
        head = f"{answer.skill} did not work: {quoted(answer.reason or 'no reason is known')}."
    lines = [f"{head} {answer.tool_calls} tool calls, {answer.steps} steps. Call {answer.call}."]
    if answer.goal is not None:
        lines.append("The goal is reached." if answer.goal else "The goal was not reached.")
    if answer.over:
        lines.append("The episode is over; begin starts another.")
    lines.append(_view_told(answer.shows))
    return "\n".join(lines)


def _view_told(view: View) -> str:
    lines = [view.text or "Nothing is shown."]
    lines += [canonical_json(thing.model_dump(mode="json")) for thing in view.things]
    return f"What there is now: {quoted(chr(10).join(lines))}"


def _thing(entity: Entity) -> Thing:
    return Thing(
        type=plain(entity.type, 200),
        reference=_clean(known().json(entity.reference)),
        properties=cast("JsonObject", _clean(known().json(entity.properties))),
    )


def _clean(value: JsonValue) -> JsonValue:
    """The value without halves of surrogate pairs, which no message can carry."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {str(_clean(name)): _clean(part) for name, part in value.items()}
    return value


def advice_lines(texts: Sequence[str], limits: ServeLimits) -> tuple[str, ...]:
    """Pieces of advice, bounded."""
    return tuple(plain(known().text(text), limits.description) for text in texts)
