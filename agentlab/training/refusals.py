"""Why something was not exported: one reason for each attempt, counted and written down.

A row that cannot be said truthfully in a format is refused, never bent: no mask of zeros that
trains on nothing, no log-probability of 0 where none was recorded, no group of one.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class Refusal(NamedTuple):
    """What was left out, and why."""

    rollout: str
    """The attempt's id, or a group's."""
    reason: str
    """One of few, so that it can be counted."""
    detail: str = ""


class RefusedError(Exception):
    """Raised inside an export where something cannot be said; it becomes a `Refusal`.

    It never reaches a caller of this package.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


def tallied(refusals: list[Refusal]) -> dict[str, int]:
    """How many were refused for which reason, most frequent first."""
    counted = Counter(refusal.reason for refusal in refusals)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
