"""How often somebody may ask: an allowance that fills up with time."""

from __future__ import annotations

import time
from collections.abc import Callable


class Allowance:
    """A token bucket: `burst` at once, `rate` a second in the long run.

    Args:
        rate: how many a second it fills up by.
        burst: how many it holds.
        clock: seconds that only grow.
    """

    def __init__(
        self, rate: float, burst: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left = burst
        self._seen = clock()

    def take(self) -> float:
        """Take one; 0 where it was there, else the seconds after which one will be."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) * self._rate)
        self._seen = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate
