"""What an attempt by a model has spent, and whether it may go on.

The limits of an attempt are its own and hold whatever a run's budget says. Two things differ from
search (`searcher.Meter`): tokens are counted, and a refused call counts against the limit too,
because a model that repeats itself pays for every turn and would otherwise never be stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from agentlab.executors.searcher import Meter
from agentlab.protocols import ChatModel
from agentlab.types import (
    ChatReply,
    ChatRequest,
    Limits,
    Message,
    StepResult,
    Usage,
    canonical_json,
)

CHARACTERS = 4
"""Of a token, where the endpoint does not count."""
LEAST_SHARE = 4
"""A told count is believed down to one part in so many of the estimate: endpoints that tell
nothing, or nonsense, would otherwise lift the limit."""


def estimate(messages: tuple[Message, ...]) -> int:
    """Tokens of messages, by their characters; a few for what stands around each."""
    return sum(
        (len(message.text) + sum(len(use.name) + len(use.arguments) for use in message.tool_uses))
        // CHARACTERS
        + 4
        for message in messages
    )


def estimate_request(request: ChatRequest) -> int:
    """Tokens of a request, tools included, by its characters."""
    tools = sum(
        len(tool.name) + len(tool.description) + len(canonical_json(tool.parameters))
        for tool in request.tools
    )
    return estimate(request.messages) + tools // CHARACTERS


def tokens_of(request: ChatRequest, reply: ChatReply) -> int:
    """What a call took: as told, unless that is too little to be true."""
    estimated = estimate_request(request) + estimate((reply.message,))
    return max(reply.prompt_tokens + reply.output_tokens, estimated // LEAST_SHARE)


class ModelMeter(Meter):
    """Counts calls, steps, seconds and tokens of one attempt.

    Processor time is that of skill code alone: attempts of this kind share a process, whose own
    belongs to none of them.

    Args:
        limits: what the attempt may spend.
        besides: processor seconds that skill code has used so far.
        waited: seconds so far in which the endpoint was down and calls were held back; they do
            not count as the attempt's.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        besides: Callable[[], float] = lambda: 0.0,
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        super().__init__(limits, besides=besides)
        self.refused: int = 0
        self._waited = waited
        self._waited_before = waited()
        self.tokens = 0

    @property
    def seconds_left(self) -> float:
        """Wall clock left, in seconds; may be negative."""
        held = self._waited() - self._waited_before
        return self._limits.seconds + held - (time.monotonic() - self._started)

    @property
    def left(self) -> int:
        """Tool calls left; 0 also when steps, seconds or tokens are spent."""
        limits = self._limits
        if limits.tokens is not None and self.tokens >= limits.tokens:
            return 0
        if limits.steps is not None and self.steps >= limits.steps:
            return 0
        if self.seconds_left <= 0:
            return 0
        return max(0, limits.tool_calls - self.tool_calls - self.refused)

    def charge_turn(self) -> None:
        """Count a turn in which nothing was carried out as a refused call."""
        self.refused += 1

    def usage(self) -> Usage:
        """Everything so far; tokens as `tokens_of` counts them, money not at all."""
        return Usage(
            attempts=1,
            tool_calls=self.tool_calls,
            steps=self.steps,
            tokens=self.tokens,
            cpu_seconds=max(0.0, self._besides() - self._before),
            wall_seconds=time.monotonic() - self._started,
        )


class CountedModel:
    """A chat model whose tokens are counted, for the calls that a wrapper makes itself."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self.tokens = 0

    @property
    def name(self) -> str:
        """Of the model beneath."""
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """As the model beneath. See `protocols.ChatModel`."""
        reply = await self._model.chat(request)
        self.tokens += tokens_of(request, reply)
        return reply


def remaining(limits: Limits, spent: Usage, *, refused: int = 0) -> Limits | None:
    """What is left of the limits, or None when something is used up.

    Args:
        limits: of the whole attempt.
        spent: so far.
        refused: calls beside those in `spent` that count as well.
    """
    calls = limits.tool_calls - spent.tool_calls - refused
    seconds = limits.seconds - spent.wall_seconds
    steps = None if limits.steps is None else limits.steps - spent.steps
    tokens = None if limits.tokens is None else limits.tokens - spent.tokens
    if calls <= 0 or seconds <= 0 or (steps is not None and steps <= 0):
        return None
    if tokens is not None and tokens <= 0:
        return None
    return Limits(tool_calls=calls, steps=steps, seconds=seconds, tokens=tokens)


def part_of(limits: Limits, share: float) -> Limits:
    """A share of the limits, at least one of each."""
    if share >= 1.0:
        return limits
    steps, tokens = limits.steps, limits.tokens
    return Limits(
        tool_calls=max(1, int(limits.tool_calls * share)),
        steps=None if steps is None else max(1, int(steps * share)),
        seconds=limits.seconds * share,
        tokens=None if tokens is None else max(1, int(tokens * share)),
    )


def refusals(results: tuple[StepResult, ...]) -> int:
    """How many of the calls were refused."""
    return sum(result.error is not None for result in results)
