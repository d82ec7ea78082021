"""Success in practice with the library and without it, from the draws that withhold items.

Whenever items are retrieved for an attempt, each is withheld at random. Where none was, the
attempt had the library; where all were, it had none of it, though it is the same agent in the same
round. Rates of the two are shown as they are. Their difference is taken within strata of one round
and one set of retrieved items: there the draws alone decide between the two, so it estimates what
offering does; plain rates would also compare tasks for which more or less is found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from agentlab.records.browsing import Counted
from agentlab.records.summaries import ArmCount
from agentlab.statistics import Estimate, Stratum, stratified_difference, wilson


class RoundArms(NamedTuple):
    """A round's practice; each rate is None where it rests on nothing."""

    round: int
    all: Estimate | None
    offered: Estimate | None
    """Attempts of which everything retrieved was offered."""
    withheld: Estimate | None
    """Attempts of which everything retrieved was withheld."""


def round_arms(counts: Iterable[Counted]) -> list[RoundArms]:
    """Success by round over practice attempts with a verdict, in the order of rounds."""
    found: dict[int, list[Counted]] = defaultdict(list)
    for each in counts:
        if each.kind == "practice":
            found[each.round].append(each)
    return [
        RoundArms(
            round_,
            rate(found[round_]),
            rate([each for each in found[round_] if each.arm == "offered"]),
            rate([each for each in found[round_] if each.arm == "withheld"]),
        )
        for round_ in sorted(found)
    ]


def rate(counts: Iterable[Counted]) -> Estimate | None:
    """Their rate of success with Wilson's interval; None where no verdict is known."""
    known = [each for each in counts if each.success is not None]
    n = sum(each.n for each in known)
    successes = sum(each.n for each in known if each.success)
    return estimate(successes, n)


def estimate(successes: int, n: int) -> Estimate | None:
    """`successes` of `n` with Wilson's interval; None where `n` is 0."""
    if not n:
        return None
    return Estimate(successes / n, *wilson(successes, n), n)


def library_effect(counts: Iterable[ArmCount]) -> Estimate | None:
    """What offering all that was retrieved did, against withholding all of it.

    Returns:
        The difference in success with its interval, n the attempts that count; None where no
        stratum has both.
    """
    return stratified_difference(
        Stratum(each.offered_successes, each.offered, each.withheld_successes, each.withheld)
        for each in counts
    )
