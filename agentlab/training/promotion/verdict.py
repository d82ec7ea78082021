"""What a gate says, as data and in plain words: promoted or not, why, and what was learnt.

The e-process decides (see `statistics.paired`). Intervals stand beside it so that people see sizes;
those over the deciding pairs were taken at a moment that the pairs themselves chose, so they
flatter a winner a little, and the held-out figures, which decide nothing, do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentlab.records.gates import GateStatus
from agentlab.statistics import Result, compare, proportion
from agentlab.training.serving.liveness import Liveness
from agentlab.types import Frozen
from agentlab.types.report import ArmReport, Difference, Interval

DRAWS = 2000
"""Of the bootstrap of a ratio."""


class Pair(NamedTuple):
    """One task in two arms."""

    task_id: str
    control: bool | None
    candidate: bool | None
    control_tokens: int = 0
    candidate_tokens: int = 0


class Contrast(Frozen):
    """Two arms on the same tasks."""

    candidate: ArmReport
    control: ArmReport
    difference: Difference | None = None
    """Candidate less control, paired by task."""


class Family(Frozen):
    """A protected template."""

    template: str
    contrast: Contrast
    margin: float
    holds: bool
    """Whether the lower end of the difference is above minus the margin."""


class Cost(Frozen):
    """Tokens for each task that was solved, on the pairs that decided.

    For each success and not for each attempt, since whoever gives up at once is cheap.
    """

    candidate: float | None
    """None where nothing was solved."""
    incumbent: float | None
    ratio: float | None
    interval: Interval | None = None
    """Of the ratio; resamples pairs."""
    limit: float | None
    n: int
    """Pairs."""

    @property
    def within(self) -> bool:
        """Whether the limit is kept: not known where no tokens were told, and then it is not."""
        if self.limit is None or self.incumbent is None:  # what solves nothing has no price
            return True
        return self.ratio is not None and self.ratio <= self.limit


class GateReport(Frozen):
    """A gate, whole."""

    gate: str
    policy: str
    candidate: str
    incumbent: str
    """An adapter's name, or `base`."""
    status: GateStatus
    reason: str
    """In a sentence."""
    learning: str
    """Whether it learnt or only sharpened, in plain words."""
    weights_sha256: str
    order_sha256: str
    environment: str
    alpha: float
    decides: str
    looks: int
    """Pairs read, each in its place of the order."""
    wins: int
    """Pairs that only the candidate solved, those of earlier gates of these weights included."""
    losses: int
    evidence: float
    """For the candidate; it is promoted from 1/alpha."""
    evidence_against: float
    earlier: int = 0
    """Gates of the same weights against the same incumbent before; their pairs count here."""
    others: int = 0
    """Other weights that were put to a gate against this incumbent, each with its own alpha."""
    failed: int = 0
    """Pairs read without a verdict on one side; they count in nothing."""
    reserved: int = 0
    """Tasks of the order whose template the environment reserves; the others are of templates
    that were never practised, or of reserved seeds only (see `unseen`)."""
    unseen: str = "structure"
    deciding: Contrast
    beside: dict[str, Contrast] = Field(default_factory=dict[str, Contrast])
    """Contrasts that decide nothing, by what they compare."""
    families: tuple[Family, ...] = ()
    cost: Cost | None = None
    liveness: Liveness | None = None
    tokens: int = 0
    """That the gate has taken, to its verdict."""
    limit: int | None = None
    """Tokens that it might take; None is no limit."""
    heldout: dict[str, Contrast] = Field(default_factory=dict[str, Contrast])
    """Reported after the verdict; it decided nothing."""
    notes: tuple[str, ...] = ()


def contrast(pairs: Sequence[Pair], candidate: str, control: str) -> Contrast:
    """Two arms, from pairs; those without a verdict on one side count in neither."""
    found = compare(
        [Result(pair.task_id, pair.candidate) for pair in pairs],
        [Result(pair.task_id, pair.control) for pair in pairs],
    )
    whole = [pair for pair in pairs if pair.control is not None and pair.candidate is not None]
    difference = None
    if found.difference is not None:
        low, high = found.difference.interval
        difference = Difference(
            value=found.difference.value, interval=Interval(low, high), n=found.difference.n
        )
    failed = len(pairs) - len(whole)
    return Contrast(
        candidate=_arm(candidate, [bool(pair.candidate) for pair in whole], failed),
        control=_arm(control, [bool(pair.control) for pair in whole], failed),
        difference=difference,
    )


def cost(pairs: Sequence[Pair], limit: float | None) -> Cost | None:
    """What a solved task costs, on pairs with a verdict; None where there is none."""
    whole = [pair for pair in pairs if pair.control is not None and pair.candidate is not None]
    if not whole:
        return None
    table = np.asarray(
        [(p.candidate_tokens, bool(p.candidate), p.control_tokens, bool(p.control)) for p in whole],
        dtype=np.float64,
    )
    mine, theirs, ratio = _prices(table.sum(axis=0))
    generator = np.random.default_rng(0)
    picks = generator.integers(0, len(whole), size=(DRAWS, len(whole)))
    drawn = [_prices(table[rows].sum(axis=0)).ratio for rows in picks]
    known = [each for each in drawn if each is not None]
    interval = None
    if ratio is not None and known:
        low, high = (float(x) for x in np.quantile(known, (0.025, 0.975)))
        interval = Interval(min(low, ratio), max(high, ratio))
    return Cost(
        candidate=mine,
        incumbent=theirs,
        ratio=ratio,
        interval=interval,
        limit=limit,
        n=len(whole),
    )


class _Prices(NamedTuple):
    mine: float | None
    theirs: float | None
    ratio: float | None


def _prices(sums: NDArray[np.float64]) -> _Prices:
    """Tokens for each success of both arms, from sums over pairs."""
    tokens, solved, other_tokens, other_solved = (float(x) for x in sums)
    mine = tokens / solved if solved else None
    theirs = other_tokens / other_solved if other_solved else None
    return _Prices(mine, theirs, mine / theirs if mine and theirs else None)


def held(status: GateStatus, reason: str, families: Sequence[Family]) -> tuple[GateStatus, str]:
    """The verdict and its reason, when protected templates have been looked at too."""
    fallen = next((each for each in families if not each.holds), None)
    if fallen is None:
        return status, reason
    difference = fallen.contrast.difference
    told = "none of its pairs has a verdict"
    if difference is not None:
        low, high = difference.interval
        told = (
            f"success changed by {difference.value:+.3f} ({low:+.3f} to {high:+.3f}, "
            f"n={difference.n})"
        )
    return "rejected", (
        f"Rejected although it solves more: on the protected template {fallen.template!r} {told}, "
        f"and the lower end must be above {-fallen.margin:g}, with no more pairs without a verdict "
        f"({fallen.contrast.candidate.failed}) than a gate allows."
    )


def too_dear(spent: Cost) -> tuple[GateStatus, str]:
    """Why a winner that keeps no cost limit is not promoted."""
    if spent.ratio is None or spent.candidate is None or spent.incumbent is None:
        return "undecided", (
            "Undecided although it solves more: the server tells no tokens, so nobody knows "
            "whether the cost limit is kept; have it tell the usage of each reply."
        )
    return "rejected", (
        f"Rejected although it solves more: a solved task takes {spent.candidate:.0f} tokens "
        f"where the incumbent's takes {spent.incumbent:.0f} (ratio {spent.ratio:.2f}, "
        f"n={spent.n}), and {spent.limit:g} is allowed."
    )


def learnt(
    greedy: Contrast | None,
    sampled: Contrast | None,
    low: Contrast | None,
    *,
    temperature: float,
    low_temperature: float,
) -> str:
    """Whether weights learnt or only sharpened, in plain words.

    Sharpening puts the probability that the base spreads over several replies on the one that it
    thinks best. It raises sampled success, and greedy success not at all: whoever lowers the
    temperature of the base has the same for nothing.

    Args:
        greedy: candidate against incumbent, greedily.
        sampled: the same at a temperature.
        low: the candidate at that temperature against the base at a low one.
        temperature: of the sampled arms.
        low_temperature: of the base's.
    """
    up, sampled_up = _rises(greedy), _rises(sampled)
    if greedy is None or greedy.difference is None:
        return "Whether it learnt or only sharpened was not measured: no greedy arms."
    shown = f"greedy success changed by {_told(greedy.difference)}"
    if sampled is not None and sampled.difference is not None:
        shown += f", success at T = {temperature:g} by {_told(sampled.difference)}"
    if low is not None and low.difference is not None:
        shown += (
            f", and at T = {temperature:g} it differs from the base at T = {low_temperature:g} by "
            f"{_told(low.difference)}"
        )
    if up:
        return f"It learnt more than sharpening gives: {shown}."
    if sampled_up and _rises(low):
        return (
            f"It sharpened, and more than a lower temperature of the base gives, though greedily "
            f"nothing is shown: {shown}."
        )
    if sampled_up:
        return (
            f"It sharpened and is not shown to have learnt: {shown}; the base at a lower "
            "temperature may give the same."
        )
    return f"Neither learning nor sharpening is shown: {shown}."


def _told(difference: Difference) -> str:
    low, high = difference.interval
    return f"{difference.value:+.3f} ({low:+.3f} to {high:+.3f}, n={difference.n})"


def _rises(found: Contrast | None) -> bool:
    return found is not None and found.difference is not None and found.difference.interval.low > 0


def _arm(name: str, verdicts: Sequence[bool], failed: int) -> ArmReport:
    rate = proportion(verdicts)
    if rate is None:
        return ArmReport(name=name, success_rate=0.0, n=0, interval=Interval(0, 1), failed=failed)
    return ArmReport(
        name=name,
        success_rate=rate.value,
        n=rate.n,
        interval=Interval(rate.low, rate.high),
        failed=failed,
    )
