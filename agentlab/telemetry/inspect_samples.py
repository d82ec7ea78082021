"""One attempt as a sample of an Inspect log: messages, events, score and usage in its schema.

Written after the documented log format (version 2) and read back by the real `inspect_ai` in
`make test-trainers`; that package is not needed here. Times are those on record, and what nobody
timed is where the attempt began.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

from pydantic import JsonValue

from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    Invocation,
    JsonObject,
    ModelCall,
    Score,
    Step,
)

CORRECT, INCORRECT = "C", "I"
"""How Inspect spells a verdict; one that is unknown is no score there either."""
STOPS = {"length": "max_tokens"}
"""Reasons why a reply ended that have another name there."""
SCHEMA = (
    "type", "format", "description", "default", "enum", "items", "properties",
    "additionalProperties", "anyOf", "required",
)  # fmt: skip
"""Of a tool's parameters, what that schema knows."""
LATE = 0.000_001
"""Seconds between two events of one moment, so that they stay in their order."""


def sample(spec: AttemptSpec, outcome: AttemptOutcome, *, epoch: int, began: float) -> JsonObject:
    """The sample of an attempt.

    Args:
        spec: what was to be attempted.
        outcome: what came of it.
        epoch: which attempt at its task this is, from 1.
        began: seconds since 1970, where the attempt itself does not say.
    """
    times = outcome.times
    start = times.began if times is not None else began
    end = times.ended if times is not None else began + outcome.usage.wall_seconds
    trajectory = outcome.trajectory
    calls = trajectory.model_calls if trajectory is not None else ()
    steps = trajectory.steps if trajectory is not None else ()
    scores: JsonObject | None = None
    if outcome.success is not None:
        scores = {"success": _score(outcome.score)}
    body: JsonObject = {
        "id": spec.task.id,
        "epoch": epoch,
        "input": spec.task.instruction,
        "target": "",
        "messages": _conversation(spec, calls, steps),
        "output": _last_output(calls, trajectory.answer if trajectory is not None else None),
        "scores": scores,
        "metadata": _about(spec, outcome),
        "store": {},
        "events": _events(spec, outcome, start, end),
        "model_usage": usage_by(calls, lambda call: call.model),
        "role_usage": usage_by(calls, lambda call: call.role),
        "started_at": moment(start),
        "completed_at": moment(end),
        "total_time": round(end - start, 6),
        "working_time": round(end - start, 6),
        "uuid": spec.id,
        "attachments": {},
    }
    if outcome.status != "completed":
        body["error"] = fault(outcome.error or outcome.status)
    return body


def fault(message: str) -> JsonObject:
    """An error as the log spells it; a traceback is not kept."""
    return {"message": message, "traceback": "", "traceback_ansi": ""}


def moment(seconds: float) -> str:
    """A time, UTC, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def usage(calls: Sequence[ModelCall]) -> JsonObject:
    """What calls took together."""
    found: JsonObject = {
        "input_tokens": sum(_count(call, "prompt_tokens") for call in calls),
        "output_tokens": sum(_count(call, "output_tokens") for call in calls),
        "total_tokens": sum(call.tokens for call in calls),
        "total_cost": round(sum(call.usd for call in calls), 9),
    }
    if cached := sum(_count(call, "cached_tokens") for call in calls):
        found["input_tokens_cache_read"] = cached
    return found


def usage_by(calls: Sequence[ModelCall], of: Callable[[ModelCall], str]) -> JsonObject:
    """Usage by whatever `of` says of a call."""
    return {
        key: usage([call for call in calls if of(call) == key])
        for key in sorted({of(call) for call in calls})
    }


def _about(spec: AttemptSpec, outcome: AttemptOutcome) -> JsonObject:
    return {
        "attempt": spec.id,
        "kind": spec.kind,
        "split": spec.task.split,
        "round": spec.round,
        "slot": spec.slot,
        "template": spec.task.template,
        "executor": spec.executor,
        "status": outcome.status,
        "ending": outcome.ending,
        "reason": outcome.reason,
        "assisted": outcome.assisted,
        "offered": [offer.name for offer in spec.offers if not offer.withheld],
        "withheld": [offer.name for offer in spec.offers if offer.withheld],
        "skills_used": list(outcome.skills_used),
        "usage": cast("JsonValue", outcome.usage.model_dump(mode="json")),
    }


def _score(score: Score) -> JsonObject:
    told: JsonObject = {
        "source": score.source,
        "confidence": score.confidence,
        "value": score.value,
        "evidence": score.evidence,
    }
    return {
        "value": CORRECT if score.success else INCORRECT,
        "explanation": score.explanation or None,
        "metadata": told,
    }


# --- messages ---------------------------------------------------------------------------------


def _conversation(
    spec: AttemptSpec, calls: Sequence[ModelCall], steps: Sequence[Step]
) -> list[JsonValue]:
    """What the executor's model was told last and said; else the steps, as one would tell them."""
    acted = [call for call in calls if call.role == "executor"]
    if acted:
        return [*_asked(acted[-1]), _assistant(acted[-1])]
    told: list[JsonValue] = [{"role": "user", "content": spec.task.instruction, "source": "input"}]
    for number, step in enumerate(steps):
        key = f"{spec.id}-{number}"
        call: JsonObject = {
            "id": key,
            "function": step.call.tool,
            "arguments": step.call.arguments,
            "type": "function",
        }
        told.append({"role": "assistant", "content": "", "tool_calls": [call]})
        answer: JsonObject = {
            "role": "tool",
            "content": step.result.observation.text,
            "tool_call_id": key,
            "function": step.call.tool,
        }
        if step.result.error is not None:
            answer["error"] = {"type": "unknown", "message": step.result.error}
        told.append(answer)
    return told


def _asked(call: ModelCall) -> list[JsonValue]:
    messages = call.request.get("messages")
    names: dict[str, str] = {}
    return [
        _message(each, names)
        for each in (messages if isinstance(messages, list) else [])
        if isinstance(each, dict)
    ]


def _message(message: Mapping[str, JsonValue], names: dict[str, str]) -> JsonObject:
    """A message; `names` learns which tool each call is of, for its answer."""
    role, text = str(message.get("role") or "user"), str(message.get("text") or "")
    pictures = message.get("pictures")
    if isinstance(pictures, list) and pictures:
        text += f"\n[{len(pictures)} pictures]"
    body: JsonObject = {"role": role, "content": text}
    uses = message.get("tool_uses")
    if role == "assistant" and isinstance(uses, list) and uses:
        made = [_tool_call(use) for use in uses if isinstance(use, dict)]
        names.update({str(use["id"]): str(use["function"]) for use in made})
        body["tool_calls"] = cast("JsonValue", made)
    answers = message.get("tool_use_id")
    if role == "tool" and isinstance(answers, str):
        body |= {"tool_call_id": answers, "function": names.get(answers)}
    return body


def _tool_call(use: Mapping[str, JsonValue]) -> JsonObject:
    written = str(use.get("arguments") or "")
    body: JsonObject = {
        "id": str(use.get("id") or ""),
        "function": str(use.get("name") or ""),
        "type": "function",
    }
    try:
        arguments: JsonValue = json.loads(written) if written else {}
    except (ValueError, RecursionError):
        arguments = None
    if isinstance(arguments, dict):
        return {**body, "arguments": arguments}
    return {**body, "arguments": {}, "parse_error": f"no JSON object: {written[:200]}"}


def _assistant(call: ModelCall) -> JsonObject:
    message = call.response.get("message")
    body = _message(message if isinstance(message, dict) else {}, {})
    return {**body, "role": "assistant", "source": "generate", "model": call.model}


def _output(call: ModelCall) -> JsonObject:
    stop = str(call.response.get("stop_reason") or "unknown")
    said = _assistant(call)
    return {
        "model": call.model,
        "choices": [{"message": said, "stop_reason": STOPS.get(stop, stop)}],
        "completion": said["content"],
        "usage": usage([call]),
        "time": call.seconds,
    }


def _last_output(calls: Sequence[ModelCall], answer: str | None) -> JsonObject:
    acted = [call for call in calls if call.role == "executor"]
    if acted:
        return _output(acted[-1])
    return {"model": "", "choices": [], "completion": answer or ""}


# --- events -----------------------------------------------------------------------------------


class _Told:
    """Events in the order of their times."""

    def __init__(self, attempt_id: str, began: float) -> None:
        self._attempt = attempt_id
        self._began = began
        self._events: list[tuple[float, JsonObject]] = []

    def add(self, kind: str, at: float, body: JsonObject, *, span: str | None = None) -> None:
        """An event at a time in seconds since 1970."""
        event: JsonObject = {
            "event": kind,
            "uuid": f"{self._attempt}-{len(self._events)}",
            "span_id": span,
            "timestamp": moment(at),
            "working_start": round(max(0.0, at - self._began), 6),
            **body,
        }
        self._events.append((at, event))

    def all(self) -> list[JsonValue]:
        """All of them; those of one moment as they were added."""
        return [event for _, event in sorted(self._events, key=lambda each: each[0])]


def _events(
    spec: AttemptSpec, outcome: AttemptOutcome, start: float, end: float
) -> list[JsonValue]:
    told = _Told(spec.id, start)
    init: JsonObject = {
        "sample": {"id": spec.task.id, "input": spec.task.instruction, "target": ""},
        "state": {},
    }
    told.add("sample_init", start, init)
    trajectory = outcome.trajectory
    if trajectory is not None:
        for call in trajectory.model_calls:
            _model_event(told, call, start if call.began is None else call.began)
        when = _places(outcome, len(trajectory.steps), start)
        spans = _skill_spans(told, spec.id, trajectory.invocations, when)
        for number, step in enumerate(trajectory.steps):
            _tool_event(told, f"{spec.id}-{number}", step, when[number], spans.get(number))
    if outcome.success is not None:
        score: JsonObject = {"score": _score(outcome.score), "target": "", "intermediate": False}
        told.add("score", end, {**score, "scorer": outcome.score.source})
    if outcome.status != "completed":
        told.add("error", end, {"error": fault(outcome.error or outcome.status)})
    return told.all()


def _model_event(told: _Told, call: ModelCall, at: float) -> None:
    sampling = {name: call.sampling.get(name) for name in ("temperature", "top_p", "max_tokens")}
    tools = call.request.get("tools")
    told.add(
        "model",
        at,
        {
            "model": call.model,
            "role": call.role,
            "input": _asked(call),
            "tools": [
                _tool_info(each)
                for each in (tools if isinstance(tools, list) else [])
                if isinstance(each, dict)
            ],
            "tool_choice": "auto",
            "config": {name: value for name, value in sampling.items() if value is not None},
            "output": _output(call),
            "completed": moment(at + (call.seconds or 0.0)),
            "working_time": call.seconds,
        },
    )


def _tool_info(tool: Mapping[str, JsonValue]) -> JsonObject:
    schema = tool.get("parameters")
    known = _schema(schema) if isinstance(schema, dict) else {}
    return {
        "name": str(tool.get("name") or ""),
        "description": str(tool.get("description") or ""),
        "parameters": {
            "type": "object",
            "properties": known.get("properties", {}),
            "required": known.get("required", []),
            "additionalProperties": False,
        },
    }


def _schema(schema: Mapping[str, JsonValue]) -> JsonObject:
    """What of a JSON schema Inspect's own has a field for."""
    found: JsonObject = {}
    for name in SCHEMA:
        value = schema.get(name)
        if value is None:
            continue
        if name == "properties" and isinstance(value, dict):
            parts: JsonObject = {}
            for key, part in value.items():
                if isinstance(part, dict):
                    parts[key] = _schema(part)
            value = parts
        elif name in ("items", "additionalProperties") and isinstance(value, dict):
            value = _schema(value)
        elif name == "anyOf" and isinstance(value, list):
            value = [cast("JsonValue", _schema(p)) for p in value if isinstance(p, dict)]
        elif name == "type" and not isinstance(value, str):
            continue
        found[name] = value
    return found


Place = tuple[float, float]


def _places(outcome: AttemptOutcome, count: int, start: float) -> list[Place]:
    """When each step was, and in order whatever is known."""
    times = outcome.times
    found: list[Place] = []
    last = start
    for number in range(count):
        known = times.steps[number] if times is not None and number < len(times.steps) else None
        if known is None:
            found.append((last, last))
        else:
            found.append((start + known[0], start + known[1]))
        last = found[-1][1] + LATE
    return found


def _tool_event(told: _Told, key: str, step: Step, when: Place, span: str | None) -> None:
    body: JsonObject = {
        "type": "function",
        "id": key,
        "function": step.call.tool,
        "arguments": step.call.arguments,
        "result": step.result.observation.text,
        "completed": moment(when[1]),
        "working_time": round(when[1] - when[0], 6),
    }
    if step.result.error is not None:
        body["error"] = {"type": "unknown", "message": step.result.error}
    told.add("tool", when[0], body, span=span)


def _skill_spans(
    told: _Told, attempt_id: str, calls: Sequence[Invocation], when: Sequence[Place]
) -> dict[int, str]:
    """A span around the steps of each skill call; which step is in which."""
    inside: dict[int, str] = {}
    for number, call in enumerate(calls):
        places = range(call.first_step, min(call.end_step, len(when)))
        if not places:
            continue
        key = f"{attempt_id}-skill-{number}"
        inside |= dict.fromkeys(places, key)
        begins: JsonObject = {
            "id": key,
            "type": "skill",
            "name": call.skill,
            "metadata": {"skill": call.skill_id, "arguments": call.arguments},
        }
        told.add("span_begin", when[places[0]][0] - LATE, begins, span=key)
        told.add("span_end", when[places[-1]][1] + LATE, {"id": key}, span=key)
    return inside


def _count(call: ModelCall, name: str) -> int:
    value = call.response.get(name)
    return value if isinstance(value, int) else 0
