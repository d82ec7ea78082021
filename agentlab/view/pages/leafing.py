"""Leafing through a long list by keys: where the next and the previous page begin, as text."""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.records.browsing import (
    AttemptPlace,
    ListedAttempt,
    ListedProposal,
    ProposalPlace,
)
from agentlab.types import Frozen


class Leafing(Frozen):
    """Keys for links; empty where there is nothing that way."""

    newer: str = ""
    older: str = ""
    shown: int = 0


def leafing(
    rows: Sequence[ListedAttempt] | Sequence[ListedProposal], *, newer: bool, older: bool
) -> Leafing:
    """Where the pages beside this one begin."""
    if not rows:
        return Leafing()
    first, last = rows[0].place, rows[-1].place
    return Leafing(
        newer=_spelt(first) if newer else "", older=_spelt(last) if older else "", shown=len(rows)
    )


def attempt_place(text: str) -> AttemptPlace | None:
    """The place that an address names; None where it names none."""
    round_, _, rest = text.partition(".")
    slot, _, kind = rest.partition(".")
    if not (_whole(round_) and _whole(slot)):
        return None
    return AttemptPlace(int(round_), int(slot), kind)


def proposal_place(text: str) -> ProposalPlace | None:
    """The place that an address names; None where it names none."""
    round_, _, position = text.partition(".")
    if not (_whole(round_) and _whole(position)):
        return None
    return ProposalPlace(int(round_), int(position))


def _spelt(place: tuple[object, ...]) -> str:
    return ".".join(str(part) for part in place)


def _whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9
