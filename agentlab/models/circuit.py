"""Pauses a run while an endpoint is down, and lets it go on alone when it is back.

One circuit stands before each endpoint. While it is closed, calls pass. Calls that failed in
all their tries because the endpoint is down open it; then calls wait, in line, and the first in
line asks again from time to time, alone. As soon as one is answered, all go on. A call that met
the outage is not lost: it goes again. After the pattern of M. Nygard, "Release It!", chapter
"Stability Patterns"; unlike there, calls wait instead of failing at once, because an attempt
that fails for want of a model is work to do again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from agentlab.errors import ModelFaultError
from agentlab.models.faults import PassingFaultError
from agentlab.models.retrying import Sleep
from agentlab.protocols import ChatModel
from agentlab.types import ChatReply, ChatRequest

THRESHOLD = 2
"""Calls in a row that failed in all their tries."""
FIRST = 10.0
LONGEST = 60.0
"""Seconds between two probes, at first and at last; doubled in between."""
PATIENCE = 6 * 3600.0
"""Seconds of an outage after which calls fail."""
DOUBT = 900.0
"""The same where all that is known is a status 500, which may be about one request."""

Pause = Callable[[str | None], None]
"""Is told the reason in a sentence when a pause begins, and None when it ends."""


class Circuit:
    """What is known of one endpoint, shared by every model that asks it. For one event loop.

    Args:
        proven: whether the endpoint is known to have answered before. One that has not is not
            waited for, as its address is the likelier fault.
        pause: told when a pause begins and ends.
        threshold: failed calls in a row that open it.
        patience: seconds of an outage after which calls fail.
        clock: seconds, never going back.
        sleep: waits; tests inject one that moves their clock.
    """

    def __init__(
        self,
        *,
        proven: bool = False,
        pause: Pause | None = None,
        threshold: int = THRESHOLD,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._proven = proven
        self._tell = pause
        self._threshold = threshold
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._failures = 0
        self._answers = 0
        self._opened: float | None = None
        self._due = 0.0
        self._interval = FIRST
        self._paused = 0.0
        self._line = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether calls are waiting now."""
        return self._opened is not None

    @property
    def paused_seconds(self) -> float:
        """Seconds of all pauses so far, the present one included.

        A limit on an attempt's wall clock should not count them.
        """
        return self._paused + (0.0 if self._opened is None else self._clock() - self._opened)

    @property
    def answers(self) -> int:
        """How many calls were answered."""
        return self._answers

    async def call(self, model: ChatModel, request: ChatRequest) -> ChatReply:
        """The model's reply, when the endpoint is there to give one."""
        before: int | None = None
        while True:
            if self.is_open:
                async with self._line:  # first come, first served; a failed probe joins the end
                    if not self.is_open:
                        continue
                    await self._sleep(max(0.0, self._due - self._clock()))
                    reply = await self._try(model, request, before)
            else:
                reply = await self._try(model, request, before)
            if reply is not None:
                return reply
            before = self._answers if before is None else before

    async def _try(
        self, model: ChatModel, request: ChatRequest, before: int | None
    ) -> ChatReply | None:
        """The reply, or None where the call shall go again.

        `before` is how many calls the endpoint had answered when this one failed first. When it
        has answered another since and fails this one again, it is not down.
        """
        try:
            reply = await model.chat(request)
        except PassingFaultError as fault:
            if fault.outage == "no":
                self._answered()  # it is there, if only to say nonsense
                raise
            self._failed(fault)
            known = self._proven or self._answers > 0
            others = before is not None and self._answers > before
            if not known or others or self._waited_enough(fault):
                raise
            return None
        except ModelFaultError:
            self._answered()
            raise
        self._answered()
        return reply

    def _waited_enough(self, fault: PassingFaultError) -> bool:
        bound = self._patience if fault.outage == "yes" else min(DOUBT, self._patience)
        return self._opened is not None and self._clock() - self._opened >= bound

    def _answered(self) -> None:
        self._failures = 0
        self._answers += 1
        if self._opened is not None:
            self._paused += self._clock() - self._opened
            self._opened = None
            self._interval = FIRST
            if self._tell is not None:
                self._tell(None)

    def _failed(self, fault: PassingFaultError) -> None:
        self._failures += 1
        now = self._clock()
        if self._opened is None:
            # A long wait that the endpoint asked for is as good as several failures.
            if self._failures < self._threshold and fault.wait == 0:
                return
            if not self._proven and self._answers == 0:
                return
            self._opened = now
            if self._tell is not None:
                self._tell(f"The run is paused until the endpoint answers again: {fault}")
        elif now < self._due:
            return  # a call from before the pause, not a probe
        else:
            self._interval = min(LONGEST, self._interval * 2)
        self._due = now + max(self._interval, fault.wait)


class Circuited:
    """A chat model behind a circuit. Implements `protocols.ChatModel`."""

    def __init__(self, model: ChatModel, circuit: Circuit) -> None:
        self._model = model
        self._circuit = circuit

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The reply; waits while the endpoint is down.

        Raises:
            ModelFaultError: it failed for good, or the outage outlasted the patience.
        """
        return await self._circuit.call(self._model, request)
