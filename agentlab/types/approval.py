"""What waits for a person, and what a person decided, as the command line and pages show it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from agentlab.types.base import Frozen
from agentlab.types.skill import Status

ItemKind = Literal["skill", "insight"]
Verdict = Literal["approve", "reject"]


class WaitingItem(Frozen):
    """One version of an item that passed every gate and waits for a person.

    What it does and what vouches for it is in `SkillDetail` and `InsightDetail`, by its id.
    """

    id: str
    kind: ItemKind
    name: str
    """Of a skill; an insight has its id for one."""
    summary: str
    """What a skill does, or when an insight holds and what it says."""
    version: int
    environment: str
    scope: str = ""
    """Path of the scope whose it is."""
    digest: str
    """Of all that was shown: whoever decides says it again, so that nothing else is let in."""
    run_id: str
    round: int
    since: datetime
    reason: str
    """By which gate it came to wait."""
    needs: tuple[str, ...] = ()
    """Names of skills that it calls and that do not serve, which must be approved before it."""
    supersedes: tuple[str, ...] = ()
    """Ids of what serves until this is approved."""


class ItemDecision(Frozen):
    """What a person decided about an item that waited."""

    id: str
    kind: ItemKind
    name: str
    version: int
    environment: str
    verdict: Verdict
    reason: str
    by: str
    digest: str
    status: Status
    """What it is now; with a decision of long ago, what has become of it since."""
    superseded: tuple[str, ...] = ()
    """Ids of what it replaced."""
    repeated: bool = False
    """Whether it was on record already, so that nothing was done."""
