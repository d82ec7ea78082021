"""What replaying a library against its environment found: which skills hold and which do not."""

from __future__ import annotations

from typing import Literal

from agentlab.types.base import Frozen

CanaryOutcome = Literal[
    "holds", "unsteady", "unknown", "demoted", "mended", "restored", "still out"
]
"""What a verification found: it still works; failed now and then, and is not shown to be broken;
could not be tried, for a reason that is not its own; was taken out of service; was replaced by a
mended version; came back into service; or stays out."""


class CanaryLine(Frozen):
    """One skill of a verified library."""

    name: str
    version: int
    """The one that is served afterwards, where one is."""
    outcome: CanaryOutcome
    reason: str = ""
    """Which gate it failed, and how."""
    replays: int = 0
    passed: int = 0
    """Replays of the second look that passed, where there was one."""
    looked: int = 0
    """Replays of the second look."""
    by: str = ""
    """What mended it: `replays`, `search` or `model`."""
    seconds: float = 0.0


class CanaryReport(Frozen):
    """What replaying a library against its environment came to."""

    run_id: str
    environment: str
    skills: tuple[CanaryLine, ...] = ()
    """Callees first."""
    box: str = ""
    """Where skill code ran, with its version."""
    replays: int = 0
    steps: int = 0
    seconds: float = 0.0

    @property
    def found(self) -> tuple[CanaryLine, ...]:
        """What served and was found to be broken, mended or not."""
        return tuple(line for line in self.skills if line.outcome in ("demoted", "mended"))

    @property
    def broken(self) -> tuple[CanaryLine, ...]:
        """What is not served although it was asked about."""
        return tuple(line for line in self.skills if line.outcome in ("demoted", "still out"))
