"""What is said to a model, kept within a bound.

A conversation is a head (the prompt) and turns, each an assistant's message with what answers it.
Where it grows past the bound, old observations are folded first, each into a line that says how
much was left out, then whole turns, into a summary of the calls that were made in them. No message
is cut in its middle, and no call is parted from its answer: a turn goes as a whole.

Tokens are four characters each until a reply tells how many a request really had; from then on
the characters are weighed by that. The bound is on messages; the tools' schemas come besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentlab.executors.metering import estimate, estimate_request
from agentlab.models.prompts import quoted
from agentlab.types import ChatReply, ChatRequest, Message

ROOM = 0.75
"""Part of the bound to which folding goes down, so that it is not due again at the next turn and
endpoints can keep what they have computed for the beginning."""
SUMMARY_SHARE = 0.2
"""Part of the bound that the summary of left-out turns may take."""
SCALE = (0.5, 4.0)
"""Between which a told count may correct the estimate; others are taken for nonsense."""
FOLDED = "(left out here: what was seen, about {tokens} tokens)"
SUMMARY = (
    "(Summary: {turns} earlier turns with {calls} calls are left out here, about {tokens} tokens. "
    "{listed})"
)


class Turn(NamedTuple):
    """What the model said and what answers it: a tool message for each call, or one of a user."""

    said: Message
    answers: tuple[Message, ...]

    @property
    def messages(self) -> tuple[Message, ...]:
        """In order."""
        return (self.said, *self.answers)


class _Left(NamedTuple):
    """What of the beginning is left out as whole turns."""

    turns: int = 0
    calls: int = 0
    tokens: int = 0
    lines: tuple[str, ...] = ()


class Conversation:
    """Head and turns, folded when they grow past the bound.

    Args:
        head: the first messages; never folded.
        most_tokens: the bound.
    """

    def __init__(self, head: Sequence[Message], *, most_tokens: int) -> None:
        self.head = tuple(head)
        self.most_tokens = most_tokens
        self._turns: list[Turn] = []
        self._whole: list[int] = []
        """Tokens of each kept turn before anything of it was folded."""
        self._folded = 0
        """How many of the kept turns have their observations folded."""
        self._left = _Left()
        self._scale = 1.0

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Those that are kept, oldest first."""
        return tuple(self._turns)

    @property
    def left_out(self) -> tuple[int, int]:
        """Turns left out as a whole, and kept turns whose observations are folded."""
        return self._left.turns, self._folded

    def add(self, said: Message, answers: Sequence[Message]) -> None:
        """Add a turn."""
        turn = Turn(said, tuple(answers))
        self._turns.append(turn)
        self._whole.append(estimate(turn.messages))

    def learn(self, request: ChatRequest, reply: ChatReply) -> None:
        """Correct the estimate by what an endpoint told of a request."""
        sent, told = estimate_request(request), reply.prompt_tokens
        if sent > 0 and told > 0 and SCALE[0] <= told / sent <= SCALE[1]:
            self._scale = told / sent

    def tokens(self) -> int:
        """Of all messages as they would be sent now."""
        return round(estimate(self._all()) * self._scale)

    def messages(self) -> tuple[Message, ...] | None:
        """What to send: within the bound, or None where even the least does not fit."""
        if self.tokens() > self.most_tokens:
            self._fold(round(self.most_tokens * ROOM))
        return self._all() if self.tokens() <= self.most_tokens else None

    def _all(self) -> tuple[Message, ...]:
        turns = (message for turn in self._turns for message in turn.messages)
        return (*self.head, *self._summary(), *turns)

    def _fold(self, most: int) -> None:
        """Fold down to `most` tokens; the last turn's observations go only past the bound."""
        last = len(self._turns) - 1
        while self._folded < last and self.tokens() > most:
            self._turns[self._folded] = _without_observations(self._turns[self._folded])
            self._folded += 1
        while len(self._turns) > 1 and self.tokens() > most:
            self._leave_out()
        if self._turns and self.tokens() > self.most_tokens:
            self._turns[-1] = _without_observations(self._turns[-1])
            self._folded = len(self._turns)

    def _leave_out(self) -> None:
        turn, tokens = self._turns.pop(0), self._whole.pop(0)
        self._folded = max(0, self._folded - 1)
        left = self._left
        self._left = _Left(
            left.turns + 1,
            left.calls + len(turn.said.tool_uses),
            left.tokens + round(tokens * self._scale),
            (*left.lines, *(_line(use.name, use.arguments) for use in turn.said.tool_uses)),
        )

    def _summary(self) -> tuple[Message, ...]:
        left = self._left
        if not left.turns:
            return ()
        room = int(self.most_tokens * SUMMARY_SHARE / self._scale) * 3
        kept: list[str] = []
        for line in reversed(left.lines):
            room -= len(line) + 1
            if room < 0:
                break
            kept.insert(0, line)
        more = len(left.lines) - len(kept)
        listed = ""
        if kept:
            listed = f"The last {len(kept)} of those calls: " if more else "The calls: "
            listed += quoted("\n".join(kept))
        elif more:
            listed = "The calls are not listed."
        text = SUMMARY.format(turns=left.turns, calls=left.calls, tokens=left.tokens, listed=listed)
        return (Message(role="user", text=text),)


def _without_observations(turn: Turn) -> Turn:
    return Turn(turn.said, tuple(_folded(answer) for answer in turn.answers))


def _folded(answer: Message) -> Message:
    text = FOLDED.format(tokens=len(answer.text) // 4)
    if len(text) >= len(answer.text):
        return answer
    return answer.model_copy(update={"text": text})


def _line(name: str, arguments: str) -> str:
    shown = arguments if len(arguments) <= 120 else f"(arguments of {len(arguments)} characters)"
    return f"{name} {shown}"
