"""Numbers as a person reads them, each rate with its n and its interval. ASCII only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentlab.types.report import ArmReport, Difference, EvaluationReport


def percent(share: float) -> str:
    """`0.713` as `71%`."""
    return f"{100 * share:.0f}%"


def span(low: float, high: float) -> str:
    """An interval of a rate: `62% to 79%`."""
    return f"{percent(low)} to {percent(high)}"


def signed_span(low: float, high: float) -> str:
    """An interval of a difference: `+0.33 to +0.52`."""
    return f"{low:+.2f} to {high:+.2f}"


def rate(arm: ArmReport | EvaluationReport) -> str:
    """A rate in a sentence: `71% (62% to 79%, n=120)`."""
    return f"{percent(arm.success_rate)} ({span(*arm.interval)}, n={arm.n})"


def difference(value: Difference) -> str:
    """A difference in a sentence: `+0.43 (+0.33 to +0.52, n=120)`."""
    return f"{value.value:+.2f} ({signed_span(*value.interval)}, n={value.n})"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 skill`, `2 skills`, `1,000 tool calls`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """`0:42`, `12:05`, `3:00:00`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
