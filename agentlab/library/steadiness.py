"""Whether a skill that served no longer works, or only had bad luck.

Admission asks of a candidate that it hardly ever fails, and ends with the first failure that it
cannot explain. To take a served skill out on the same grounds would cost a good one whenever a
page is slow. So what fails once is looked at again, from other starts and for a fixed number of
them, and counts as broken only where its share of successes is shown to lie below what admission
lets through. Pure: replays in, verdict out.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.library.admission import passed
from agentlab.library.controls import untouched
from agentlab.statistics import wilson
from agentlab.types import Replay

LOOKS = 2
"""Replays of the second look, for each that admission asks for."""
CONFIDENCE = 0.99
"""Of the interval. With five replays asked for, a skill is broken that fails five of ten: one
that works nine times of ten fails that often in 0.2 % of second looks, one that works half of the
time in 62 %."""


def least_share(needed: int) -> float:
    """The share of successes that admission lets through: one failure beside those it needs."""
    return needed / (needed + 1)


def shares(replays: Sequence[Replay]) -> tuple[int, int]:
    """How many replays passed, and of how many; those where the effect held before say nothing."""
    told = [replay for replay in replays if not untouched(replay)]
    return sum(map(passed, told)), len(told)


def broken(replays: Sequence[Replay], needed: int) -> bool:
    """Whether the share of successes is shown to be too low. False where nothing was tried."""
    good, n = shares(replays)
    return n > 0 and wilson(good, n, confidence=CONFIDENCE).high < least_share(needed)


def settled(replays: Sequence[Replay], needed: int) -> bool:
    """Whether the rest of a second look cannot change the verdict.

    So it ends as a whole one would: the verdict is that of all `LOOKS * needed` replays.
    """
    good, n = shares(replays)
    whole = max(LOOKS * needed, n)
    at_best = wilson(good + whole - n, whole, confidence=CONFIDENCE).high
    at_worst = wilson(good, whole, confidence=CONFIDENCE).high
    limit = least_share(needed)
    return n >= whole or at_best < limit or at_worst >= limit
