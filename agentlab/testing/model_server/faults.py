"""What goes wrong, when: a function of a seed, of what is asked, and of how often it was asked.

Two kinds are kept apart. A *failure* is an answer that a client must try again: how many in a row
a request meets is drawn once from its content (each with the plan's rate, never more than the
plan's most), so that the first tries fail and every later one is answered. A call therefore never
meets more than that many, in whatever order calls of the same content arrive, and asking for the
same thing again later costs no further failures: the rate over all requests is the plan's where
contents differ, and lower where they repeat. A client that names its calls with an
`Idempotency-Key` has each call counted by itself. A *distortion* (false usage, a malformed tool
call) is an answer that arrives and is wrong; it is drawn from the content alone, so that tries
change nothing about it.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Literal, get_args

from pydantic import Field, JsonValue

from agentlab.types import ChatRequest, Frozen, JsonObject, ToolUse, derive_seed, derive_uniform

Failure = Literal[
    "429", "429-seconds", "429-date", "500", "503", "timeout", "hangup", "cut", "malformed"
]
"""`429` has no Retry-After, the next two have it in seconds and as a date. `timeout` gets no
answer, `hangup` a connection that is closed without one, `cut` half of a body or of a stream,
`malformed` a body or a chunk that is no JSON."""
FAILURES: tuple[Failure, ...] = get_args(Failure)

UsageLie = Literal["missing", "zero", "huge", "negative"]
USAGE_LIES: tuple[UsageLie, ...] = get_args(UsageLie)

BadCall = Literal[
    "bad_json",
    "not_object",
    "unknown_tool",
    "wrong_types",
    "huge",
    "empty",
    "not_utf8",
    "surrogate",
]
"""`not_utf8` is a byte in the body that no UTF-8 holds; `surrogate` is JSON that is well formed
and whose text can not be encoded."""
BAD_CALLS: tuple[BadCall, ...] = get_args(BadCall)

HUGE = 1_000_000
"""Letters of a huge argument."""
RAW_BYTE = "\udcff"
"""Stands in a reply for the byte 0xff, until the body is made of it."""


class FaultPlan(Frozen):
    """What is to go wrong. The default is nothing.

    Example:
        >>> FaultPlan(rate=0.3, seed=1).rate
        0.3
    """

    seed: int = 0
    rate: float = Field(default=0.0, ge=0, le=1)
    """Of requests that fail."""
    failures: tuple[Failure, ...] = Field(default=FAILURES, min_length=1)
    """Drawn from with equal chances."""
    most_in_a_row: int = Field(default=4, ge=0)
    """Failures that one call meets at most."""
    retry_after: float = Field(default=1.0, ge=0)
    """Seconds that Retry-After asks for, rounded up."""
    hang: float = Field(default=30.0, ge=0)
    """Seconds after which a `timeout` closes the connection, if the client has not."""
    outages: tuple[tuple[float, float], ...] = ()
    """From when to when, in seconds of the server's clock since its start, every request gets
    a 503."""
    usage_rate: float = Field(default=0.0, ge=0, le=1)
    usage_lies: tuple[UsageLie, ...] = Field(default=USAGE_LIES, min_length=1)
    call_rate: float = Field(default=0.0, ge=0, le=1)
    """Of the replies with tool calls, those whose first call is malformed."""
    bad_calls: tuple[BadCall, ...] = Field(default=BAD_CALLS, min_length=1)


class Faults:
    """A plan at work: it remembers how often each thing was asked."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self._tries: Counter[str] = Counter()

    def failure(self, key: str) -> Failure | None:
        """What this try meets; None when it is answered.

        Args:
            key: of the content, or of the call where the client names it.
        """
        attempt = self._tries[key]
        self._tries[key] += 1
        plan = self.plan
        for number in range(min(attempt + 1, plan.most_in_a_row)):
            if derive_uniform(plan.seed, "fails", key, number) >= plan.rate:
                return None
        if attempt >= plan.most_in_a_row:
            return None
        draw = derive_seed(plan.seed, "failure", key, attempt)
        return plan.failures[draw % len(plan.failures)]

    def usage_lie(self, key: str) -> UsageLie | None:
        """How the usage is told wrongly; None when it is told as it is."""
        plan = self.plan
        if derive_uniform(plan.seed, "usage", key) >= plan.usage_rate:
            return None
        return plan.usage_lies[derive_seed(plan.seed, "lie", key) % len(plan.usage_lies)]

    def bad_call(self, key: str) -> BadCall | None:
        """How the reply's first tool call is malformed; None when it is not."""
        plan = self.plan
        if derive_uniform(plan.seed, "call", key) >= plan.call_rate:
            return None
        return plan.bad_calls[derive_seed(plan.seed, "bad", key) % len(plan.bad_calls)]

    @property
    def most_tries(self) -> int:
        """How often the most asked thing was asked."""
        return max(self._tries.values(), default=0)

    def down(self, seconds: float) -> bool:
        """Whether there is an outage so long after the start."""
        return any(begin <= seconds < end for begin, end in self.plan.outages)


def lied(usage: JsonObject, lie: UsageLie) -> JsonObject | None:
    """The usage as a wrong one; None is none at all."""
    if lie == "missing":
        return None
    factor = {"zero": 0, "huge": 1_000_000, "negative": -1}[lie]
    return {k: v * factor if isinstance(v, int) else v for k, v in usage.items()}


def malformed(use: ToolUse, kind: BadCall, request: ChatRequest, seed: int) -> ToolUse:
    """A tool call, made malformed; the same for the same arguments.

    Args:
        use: a call that makes sense.
        kind: what is to be wrong with it.
        request: that it answers, for the schemas of its tools.
        seed: draws where and how.
    """
    rng = random.Random(derive_seed(seed, kind, use.name, use.arguments))
    name, arguments = use.name, use.arguments
    match kind:
        case "bad_json":
            place = rng.randrange(len(arguments)) if arguments else 0
            arguments = rng.choice(
                (
                    arguments[:place] + "{",
                    arguments + "}",
                    arguments.replace('"', "'") + ",",
                    f"Sure! {arguments}",
                    "{'a': undefined}",
                )
            )
        case "not_object":
            arguments = rng.choice(("null", "[]", "3", '"text"', "true", "[[{}]]", "NaN"))
        case "unknown_tool":
            name = rng.choice(
                (f"{name}_now", "delete_everything", "", "a" * 300, "../tool", "工具")
            )
        case "wrong_types":
            arguments = json.dumps(_wrong_types(use.name, request, rng))
        case "huge":
            arguments = json.dumps({rng.choice(("path", "to", "x")): "a" * HUGE})
        case "empty":
            arguments = rng.choice(("", " ", "\n"))
        case "not_utf8":
            arguments = json.dumps({"x": "?"}).replace("?", RAW_BYTE)
        case "surrogate":
            arguments = '{"x": "\\ud800' + rng.choice(("", "a", "\\u0000")) + '"}'
    return use.model_copy(update={"name": name, "arguments": arguments})


_OTHER: dict[str, tuple[JsonValue, ...]] = {
    "string": (7, None, ["a"], {"a": 1}),
    "object": ("a", 7, None, [1]),
    "integer": ("seven", 1.5, None, {}),
    "number": ("seven", None, [1.0]),
    "boolean": ("perhaps", 2, None),
    "array": ("a", 7, {"a": 1}),
}


def _wrong_types(name: str, request: ChatRequest, rng: random.Random) -> JsonValue:
    """Arguments of the right names and wrong types, or of no name that the tool has."""
    tool = next((tool for tool in request.tools if tool.name == name), None)
    properties = tool.parameters.get("properties") if tool is not None else None
    if not isinstance(properties, dict) or not properties:
        return {"nothing_like_it": [None]}
    made: JsonObject = {}
    for key, part in properties.items():
        kind = part.get("type") if isinstance(part, dict) else None
        made[key] = rng.choice(_OTHER.get(kind if isinstance(kind, str) else "", (None, [], 7)))
    return made
