"""What the engine is asked: replies to be made, and errands between two passes.

Whoever asks waits in another thread, and always learns how it ended: with what was asked for, with
an error of its own, or with why there is nobody left who could do it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Literal, NamedTuple

from agentlab.serve.local_server.asked import Drawing, Refusal
from agentlab.serve.local_server.drawing import Drawn
from agentlab.serve.local_server.weights import Served

Finish = Literal["stop", "length"]


class Ended(NamedTuple):
    """A reply is whole."""

    reason: Finish


class Failed(NamedTuple):
    """It will not be."""

    error: Exception


Event = Drawn | Ended | Failed
Tell = Callable[[Event], None]


class Job:
    """One reply in the making.

    Args:
        served: who is asked.
        prompt: in tokens.
        drawing: how.
        salt: parts what is kept warm.
        generator: its own.
        tell: called in the engine's thread for each token and at the end.
        stops_at: looks at the tokens so far for a text that ends the reply.
    """

    def __init__(
        self,
        served: Served,
        prompt: Sequence[int],
        drawing: Drawing,
        *,
        salt: str,
        generator: random.Random,
        tell: Tell,
        stops_at: Callable[[list[int]], bool] | None = None,
    ) -> None:
        self.served = served
        self.prompt = tuple(prompt)
        self.drawing = drawing
        self.salt = salt
        self.generator = generator
        self.tell = tell
        self.stops_at = stops_at
        self.output: list[int] = []
        self.given_up = False


class Errand(NamedTuple):
    """Something to be done between two passes, and where its outcome is awaited."""

    future: Future[Any]
    work: Callable[[], Any]

    def carry_out(self) -> None:
        """Do it, unless nobody waits any more."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.work())
        except BaseException as error:  # told to whoever asked
            self.future.set_exception(told(error))

    def call_off(self, why: Exception) -> None:
        """Say that it is not done."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(why)


def told(error: BaseException) -> Exception:
    """An error as it is told: what a library in Rust ends with is no `Exception`."""
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def unavailable(why: str) -> Refusal:
    """The server as it is cannot do it."""
    return Refusal(why, status=503, kind="ServiceUnavailable")
