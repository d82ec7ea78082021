"""A recorded attempt as spans: the agent, its model calls, its tools and skills, its score.

They are made afterwards, with the times that were recorded, because attempts run in other
processes. What was said and seen is left out unless it is asked for; every text is bounded, and
the secrets of this process are taken out of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from pydantic import JsonValue

from agentlab.models.redaction import known
from agentlab.telemetry import conventions as c
from agentlab.types import AttemptOutcome, AttemptSpec, JsonObject, ModelCall, Times

LONGEST = 256
"""Characters of a text that is no content."""
LONGEST_CONTENT = 8_000
"""Characters of one message, argument or result."""
MOST_MESSAGES = 40
"""The last of a conversation that are told."""
SECOND = 1_000_000_000

Attributes = dict[str, str | bool | int | float | Sequence[str]]


class Whose(NamedTuple):
    """The run to which spans belong."""

    run_id: str
    config: JsonObject

    def model(self, role: str) -> str:
        """The chat model of a role as configured, `kind:name`; empty where it has none."""
        roles = self.config.get("roles")
        own = roles.get(role) if isinstance(roles, dict) else None
        named = own.get("model") if isinstance(own, dict) else None
        return str(named or self.config.get("model") or "")


class Spans:
    """Makes the spans of attempts and of model calls."""

    def __init__(self, tracer: Tracer, *, content: bool) -> None:
        self._tracer = tracer
        self._content = content

    def start(
        self,
        name: str,
        context: Context,
        attributes: Attributes,
        *,
        at: int | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        """A span that is yet to be ended; `at` is in nanoseconds since 1970."""
        return self._tracer.start_span(
            short(name), context, kind, bounded(attributes), start_time=at
        )

    def attempt(
        self, whose: Whose, spec: AttemptSpec, outcome: AttemptOutcome, parent: Context, now: int
    ) -> None:
        """The spans of one attempt, ended.

        Args:
            whose: the run.
            spec: what was to be attempted.
            outcome: what came of it.
            parent: of its outermost span.
            now: nanoseconds since 1970, where the attempt does not say when it was.
        """
        times = outcome.times
        began = (
            _nanoseconds(times.began) if times else now - _nanoseconds(outcome.usage.wall_seconds)
        )
        ended = _nanoseconds(times.ended) if times else now
        calls = outcome.trajectory.model_calls if outcome.trajectory is not None else ()
        model = whose.model("executor")
        attributes: Attributes = {
            c.OPERATION: c.INVOKE_AGENT,
            c.KIND: "attempt",
            c.PROVIDER: provider(model),
            c.AGENT: spec.executor,
            c.CONVERSATION: spec.id,
            c.RUN: spec.run_id,
            c.ROUND: spec.round,
            c.SLOT: spec.slot,
            c.ATTEMPT: spec.id,
            c.ATTEMPT_KIND: spec.kind,
            c.ENVIRONMENT: spec.environment.name,
            c.TASK: spec.task.id,
            c.SPLIT: spec.task.split,
            c.TOOL_CALLS: outcome.usage.tool_calls,
            c.STEPS: outcome.usage.steps,
            c.TOKENS: outcome.usage.tokens,
            c.USD: outcome.usage.usd,
            c.OFFERED: sum(not offer.withheld for offer in spec.offers),
            c.WITHHELD: sum(offer.withheld for offer in spec.offers),
        }
        if calls:
            attributes[c.REQUEST_MODEL] = model
            attributes[c.INPUT_TOKENS] = sum(_count(call, "prompt_tokens") for call in calls)
            attributes[c.OUTPUT_TOKENS] = sum(_count(call, "output_tokens") for call in calls)
        if outcome.success is not None:
            attributes[c.SUCCESS] = outcome.success
        span = self.start(f"{c.INVOKE_AGENT} {spec.executor}", parent, attributes, at=began)
        if self._content:
            span.set_attribute(c.INSTRUCTION, text(spec.task.instruction))
        inside = set_span_in_context(span, parent)
        for call in calls:
            self.chat(whose, call, inside, ended)
        self._steps(outcome, inside, began)
        if outcome.status == "completed":
            self._score(span, outcome, ended)
        else:  # nobody evaluated it
            span.set_attribute(c.ERROR, outcome.status)
            # What went wrong may quote what was seen.
            span.set_status(Status(StatusCode.ERROR, self._told(outcome.error)))
        span.end(ended)

    def chat(self, whose: Whose, call: ModelCall, parent: Context, now: int) -> None:
        """The span of one model call, ended."""
        began = _nanoseconds(call.began) if call.began is not None else now
        asked = call.policy_start or call.model
        attributes: Attributes = {
            c.OPERATION: c.CHAT,
            c.KIND: "model call",
            c.PROVIDER: provider(whose.model(call.role)),
            c.REQUEST_MODEL: asked,
            c.RESPONSE_MODEL: call.model,
            c.ROLE: call.role,
            c.RUN: whose.run_id,
            c.INPUT_TOKENS: _count(call, "prompt_tokens"),
            c.OUTPUT_TOKENS: _count(call, "output_tokens"),
            c.TOKENS: call.tokens,
            c.USD: call.usd,
        }
        if cached := _count(call, "cached_tokens"):
            attributes[c.CACHED_TOKENS] = cached
        if isinstance(reason := call.response.get("stop_reason"), str):
            attributes[c.FINISH_REASONS] = [reason]
        for name, key in (
            (c.TEMPERATURE, "temperature"),
            (c.TOP_P, "top_p"),
            (c.MAX_TOKENS, "max_tokens"),
            (c.SEED, "seed"),
        ):
            if isinstance(value := call.sampling.get(key), int | float):
                attributes[name] = value
        if call.began is None:
            attributes[c.UNTIMED] = True
        span = self.start(f"{c.CHAT} {asked}", parent, attributes, at=began, kind=SpanKind.CLIENT)
        if self._content:
            asked_of = call.request.get("messages")
            messages = asked_of if isinstance(asked_of, list) else []
            span.set_attribute(c.INPUT_MESSAGES, _messages(messages[-MOST_MESSAGES:]))
            span.set_attribute(c.OUTPUT_MESSAGES, _messages([call.response.get("message")]))
        span.end(began + _nanoseconds(call.seconds or 0.0))

    def _steps(self, outcome: AttemptOutcome, parent: Context, began: int) -> None:
        """Tools under the skills that called them; what has no time is where the last one ended."""
        if outcome.trajectory is None:
            return
        steps = outcome.trajectory.steps
        when = _places(outcome.times, len(steps), began)
        contexts = [parent] * len(steps)
        skills: list[tuple[Span, int]] = []
        for call in outcome.trajectory.invocations:
            inner = range(call.first_step, min(call.end_step, len(steps)))
            if not inner:
                continue
            attributes: Attributes = {
                c.OPERATION: c.EXECUTE_TOOL,
                c.KIND: "skill",
                c.TOOL: call.skill,
                c.TOOL_TYPE: c.FUNCTION,
                c.SKILL: call.skill_id,
            }
            # A skill that another called is inside that one.
            outer = contexts[inner[0]]
            name = f"{c.EXECUTE_TOOL} {call.skill}"
            span = self.start(name, outer, attributes, at=when[inner[0]].began)
            if self._content:
                span.set_attribute(c.ARGUMENTS, text(_json(call.arguments)))
            for place in inner:
                contexts[place] = set_span_in_context(span, outer)
            skills.append((span, when[inner[-1]].ended))
        for step, place, context in zip(steps, when, contexts, strict=True):
            attributes = {
                c.OPERATION: c.EXECUTE_TOOL,
                c.KIND: "tool",
                c.TOOL: step.call.tool,
                c.TOOL_TYPE: c.FUNCTION,
                c.STEPS: step.result.steps,
            }
            if not place.known:
                attributes[c.UNTIMED] = True
            name = f"{c.EXECUTE_TOOL} {step.call.tool}"
            span = self.start(name, context, attributes, at=place.began)
            if self._content:
                span.set_attribute(c.ARGUMENTS, text(_json(step.call.arguments)))
                span.set_attribute(c.RESULT, text(step.result.observation.text))
            if step.result.error is not None:
                span.set_attribute(c.ERROR, "refused")
                span.set_status(Status(StatusCode.ERROR, self._told(step.result.error)))
            span.end(place.ended)
        for span, ended in reversed(skills):
            span.end(ended)

    def _score(self, span: Span, outcome: AttemptOutcome, at: int) -> None:
        score = outcome.score
        label = {True: "success", False: "failure", None: "unknown"}[score.success]
        attributes: Attributes = {c.EVALUATION_NAME: score.source, c.SCORE_LABEL: label}
        if score.value is not None:
            attributes[c.SCORE_VALUE] = score.value
        if self._content and score.explanation:
            attributes[c.EXPLANATION] = text(score.explanation)
        span.add_event(c.EVALUATION, attributes, at)

    def _told(self, error: str | None) -> str | None:
        return text(error) if self._content and error else None


class _Place(NamedTuple):
    """When a step was."""

    began: int
    ended: int
    known: bool


def _places(times: Times | None, count: int, began: int) -> list[_Place]:
    found: list[_Place] = []
    last = began
    for number in range(count):
        known = times.steps[number] if times is not None and number < len(times.steps) else None
        if times is None or known is None:
            found.append(_Place(last, last, False))
            continue
        first, last = (_nanoseconds(times.began + each) for each in known)
        found.append(_Place(first, last, True))
    return found


def provider(model: str) -> str:
    """Who a model is asked of, by the kind in its name; what needs no model is agentlab itself."""
    kind, colon, _ = model.partition(":")
    return kind if colon and kind not in ("policy", "local", "scripted") else "agentlab"


def short(said: str) -> str:
    """A text that is no content: one line, bounded, without secrets."""
    return _cut(" ".join(known().text(said).split()), LONGEST)


def text(said: str) -> str:
    """Content, bounded and without secrets."""
    return _cut(known().text(said), LONGEST_CONTENT)


def bounded(attributes: Attributes) -> Attributes:
    """The attributes with every text cut short."""
    return {name: short(v) if isinstance(v, str) else v for name, v in attributes.items()}


def _cut(said: str, longest: int) -> str:
    # Half of a surrogate pair cannot be sent.
    said = said.encode("utf-8", "replace").decode()
    return said if len(said) <= longest else f"{said[: longest - 1]}…"


def _messages(messages: Sequence[JsonValue]) -> str:
    """Messages as the conventions' schema has them: a role, and parts."""
    return _json([_message(each) for each in messages if isinstance(each, dict)])


def _message(message: Mapping[str, JsonValue]) -> JsonObject:
    parts: list[JsonValue] = []
    said, answers = str(message.get("text") or ""), message.get("tool_use_id")
    if answers is not None:
        parts.append({"type": "tool_call_response", "id": answers, "response": text(said)})
    elif said:
        parts.append({"type": "text", "content": text(said)})
    uses = message.get("tool_uses")
    for use in uses if isinstance(uses, list) else []:
        if isinstance(use, dict):
            arguments = text(str(use.get("arguments", "")))
            name, key = use.get("name"), use.get("id")
            parts.append({"type": "tool_call", "id": key, "name": name, "arguments": arguments})
    return {"role": message.get("role"), "parts": parts}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _count(call: ModelCall, name: str) -> int:
    value = call.response.get(name)
    return value if isinstance(value, int) else 0


def _nanoseconds(seconds: float) -> int:
    return int(seconds * SECOND)
