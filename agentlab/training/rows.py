"""Rows: an attempt's model calls joined into sequences that a trainer can read token by token.

Calls are joined by exact token prefix alone. Where a call's prompt begins with all that a row
holds, prompt and output of the calls before included, the rest of the prompt is appended without
loss and the output with loss. Where it does not (a template that strips thoughts, a folded
history, a tool schema that changed), the call begins a row of its own, a fork: nothing is ever
rendered or tokenized again. Rows of one attempt share its rollout id and weigh 1 / number of rows,
so that an attempt that forked counts once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

MergeKind = Literal["clean", "fork"]


class TokenCall(NamedTuple):
    """What one model call was, in tokens."""

    prompt: tuple[int, ...]
    output: tuple[int, ...]
    log_probabilities: tuple[float, ...] | None = None
    """Of each output token under the policy that drew it, as float64 of what came on the wire."""


class Span(NamedTuple):
    """Where a call's output lies in a row: `[start, end)`."""

    call: int
    """The call's place in the attempt."""
    start: int
    end: int


class Row(NamedTuple):
    """A sequence of token ids with what of it the policy drew."""

    input_ids: tuple[int, ...]
    spans: tuple[Span, ...]
    log_probabilities: tuple[float, ...]
    """One for each token of the spans, in order; empty where the endpoint gave none."""
    merge: MergeKind

    @property
    def mask(self) -> tuple[int, ...]:
        """1 where the policy drew the token, else 0."""
        found = [0] * len(self.input_ids)
        for span in self.spans:
            found[span.start : span.end] = [1] * (span.end - span.start)
        return tuple(found)

    @property
    def drawn(self) -> int:
        """How many tokens the policy drew."""
        return sum(span.end - span.start for span in self.spans)


class Rows(NamedTuple):
    """The rows of one attempt."""

    rows: tuple[Row, ...]

    @property
    def weight(self) -> float:
        """What each of them counts."""
        return 1 / len(self.rows)


def fault(call: TokenCall) -> str | None:
    """What is wrong with a call's tokens; None when they can be trained on."""
    if not call.prompt:
        return "a call without prompt ids"
    if not call.output:
        return "a call without output ids"
    drawn = call.log_probabilities
    if drawn is not None:
        if len(drawn) != len(call.output):
            return f"{len(call.output)} output ids and {len(drawn)} log-probabilities"
        # A sum is no number as soon as one of its parts is none.
        if drawn and not (math.isfinite(sum(drawn)) and max(drawn) <= 0):
            return "a log-probability that is none"
    return None


def join(calls: Sequence[TokenCall]) -> Rows:
    """The calls of one attempt as rows, in the order in which those begin.

    A call that continues several rows goes to the longest.

    Args:
        calls: at least one, in order; each without `fault`, and log-probabilities in all or none.
    """
    open_rows: list[_Open] = []
    for place, call in enumerate(calls):
        best: _Open | None = None
        for row in open_rows:
            if row.continued_by(call.prompt) and (best is None or len(row.ids) > len(best.ids)):
                best = row
        if best is None:
            best = _Open()
            open_rows.append(best)
        best.take(place, call)
    return Rows(
        tuple(
            Row(
                row.ids,
                tuple(row.spans),
                tuple(row.log_probabilities),
                "fork" if number else "clean",
            )
            for number, row in enumerate(open_rows)
        )
    )


class _Open:
    """A row that further calls may continue."""

    def __init__(self) -> None:
        self.ids: tuple[int, ...] = ()
        self.spans: list[Span] = []
        self.log_probabilities: list[float] = []

    def continued_by(self, prompt: tuple[int, ...]) -> bool:
        return len(prompt) >= len(self.ids) and prompt[: len(self.ids)] == self.ids

    def take(self, place: int, call: TokenCall) -> None:
        start = len(call.prompt)
        self.ids = call.prompt + call.output
        self.spans.append(Span(place, start, len(self.ids)))
        self.log_probabilities.extend(call.log_probabilities or ())
