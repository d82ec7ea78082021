"""Tries a request again when what went wrong may pass, at most five times in all.

Pauses grow and are spread by a draw that depends on the seed, the request and the try, so that
callers who failed together do not come back together and a run remains the same when it is run
again. What an endpoint asks for in `Retry-After` is waited for; when it asks for more than a
call should wait in place, the call fails and `Circuit` waits instead.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agentlab.models.faults import PassingFaultError
from agentlab.protocols import ChatModel
from agentlab.types import ChatReply, ChatRequest, derive_uniform

TRIES = 5
FIRST = 0.5
"""Seconds of the first pause; each further one may be twice as long."""
LONGEST = 30.0
"""Seconds of the longest pause that was not asked for."""
IN_PLACE = 60.0
"""Seconds that a call waits at most because the endpoint asks for it."""

Sleep = Callable[[float], Awaitable[None]]


def wall_clock() -> datetime:
    """Now, for a `Retry-After` that is a date."""
    return datetime.now(UTC)


class Retrying:
    """A chat model that tries again. Implements `protocols.ChatModel`.

    Args:
        model: whose `PassingFaultError` is worth another try; other errors are let through.
        seed: of the draws that spread the pauses.
        tries: requests in all, at most.
        first: seconds of the first pause.
        sleep: waits; tests inject one that does not.
        now: the date, to which a `Retry-After` date is compared.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        seed: int = 0,
        tries: int = TRIES,
        first: float = FIRST,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._model = model
        self._seed = seed
        self._tries = tries
        self._first = first
        self._sleep = sleep
        self._now = now

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The reply of the first try that succeeds.

        Raises:
            PassingFaultError: none did; the last failure, as a `ModelFaultError` like others.
            ModelFaultError: it failed in a way that does not pass.
        """
        tried = 1
        while True:
            try:
                return await self._model.chat(request)
            except PassingFaultError as fault:
                asked = seconds_asked(fault.retry_after, self._now())
                if tried >= self._tries or asked > IN_PLACE:
                    raise PassingFaultError(
                        f"{fault} (after {tried} of {self._tries} tries)",
                        outage=fault.outage,
                        wait=asked,
                    ) from None
                pause = max(asked, self._pause(request, tried))
            await self._sleep(pause)
            tried += 1

    def _pause(self, request: ChatRequest, tried: int) -> float:
        """Seconds before the next try: half of the bound at least, so that it does grow."""
        bound = min(LONGEST, self._first * 2 ** (tried - 1))
        draw = derive_uniform(self._seed, "retry", request.model_dump(mode="json"), tried)
        return bound * (0.5 + 0.5 * draw)


def seconds_asked(retry_after: str | None, now: datetime) -> float:
    """Seconds that a `Retry-After` asks for (RFC 9110, section 10.2.3); 0 where it says nothing.

    Args:
        retry_after: seconds, with a fraction where a server sends one, or an HTTP date.
        now: aware of its zone.
    """
    if retry_after is None:
        return 0.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            date = parsedate_to_datetime(retry_after)
        except (ValueError, OverflowError):
            return 0.0
        # A date without a zone is in UTC, as every HTTP date is.
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (aware - now).total_seconds()
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
