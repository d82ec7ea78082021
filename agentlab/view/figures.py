"""Numbers as a page shows them: each with its interval and the n that it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.analysis.figures import percent, signed_span, span
from agentlab.statistics import Estimate
from agentlab.types import Frozen
from agentlab.types.report import ArmReport, Difference, EvaluationReport, Rate


class Figure(Frozen):
    """A number, what it lies between, and how many units it rests on."""

    text: str
    """The number in words: `71%`, `+0.43`."""
    spread: str
    """Its 95 % interval in words."""
    n: int
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.text} ({self.spread}, n={self.n:,})"


def rate_figure(found: Estimate | Rate | None) -> Figure | None:
    """A share, as per cent; None where nothing was measured."""
    if found is None:
        return None
    low, high = found.interval
    return Figure(
        text=percent(found.value),
        spread=span(low, high),
        n=found.n,
        value=found.value,
        low=low,
        high=high,
    )


def arm_figure(arm: ArmReport | EvaluationReport | None) -> Figure | None:
    """The success rate of an arm; None where it has no verdict."""
    if arm is None or not arm.n:
        return None
    return rate_figure(Estimate(arm.success_rate, *arm.interval, arm.n))


def difference_figure(found: Estimate | Difference | None) -> Figure | None:
    """A difference with its sign; None where nothing was measured."""
    if found is None:
        return None
    low, high = found.interval
    return Figure(
        text=f"{found.value:+.2f}",
        spread=signed_span(low, high),
        n=found.n,
        value=found.value,
        low=low,
        high=high,
    )


class Series(Frozen):
    """One line of a chart; None is a gap. Intervals are drawn as a band around it."""

    label: str
    figures: tuple[Figure | None, ...]


class Chart(Frozen):
    """Lines over whole numbers, drawn by a script and given as a table to whoever sees none."""

    id: str
    title: str
    x_label: str
    x: tuple[int, ...]
    series: tuple[Series, ...]
    share: bool = True
    """Whether the values are shares between 0 and 1."""
    note: str = ""
    """What the lines mean, in a sentence or two."""

    @property
    def drawn(self) -> dict[str, object]:
        """What the script draws, as JSON."""
        return {
            "title": self.title,
            "x_label": self.x_label,
            "share": self.share,
            "x": list(self.x),
            "series": [
                {
                    "label": line.label,
                    "values": _of(line.figures, "value"),
                    "low": _of(line.figures, "low"),
                    "high": _of(line.figures, "high"),
                    "told": [None if f is None else str(f) for f in line.figures],
                }
                for line in self.series
                if any(f is not None for f in line.figures)
            ],
        }


def _of(figures: Sequence[Figure | None], name: str) -> list[float | None]:
    return [None if f is None else round(float(getattr(f, name)), 6) for f in figures]
