"""What a suite of checks found: one line each, frozen, for people and for JSON.

The checks themselves live elsewhere; nothing here runs one.
"""

from __future__ import annotations

from agentlab.types import Frozen


class CheckSkipped(Exception):
    """Raised by a check of something that the subject does not offer."""


class CheckLine(Frozen):
    """One check."""

    name: str
    passed: bool
    detail: str
    """What was found; where it failed, what is wrong and where."""
    n: int = 0
    """How many cases it rests on."""
    skipped: bool = False
    """It does not apply here, because the environment does not offer what it checks."""


class CheckReport(Frozen):
    """All lines of one subject, in the order in which they ran."""

    subject: str
    lines: tuple[CheckLine, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed; one that does not apply does not fail."""
        return all(line.passed or line.skipped for line in self.lines)

    @property
    def failures(self) -> tuple[CheckLine, ...]:
        """The failed lines."""
        return tuple(line for line in self.lines if not line.passed and not line.skipped)

    def line(self, name: str) -> CheckLine:
        """The line of that name.

        Raises:
            KeyError: there is none.
        """
        for line in self.lines:
            if line.name == name:
                return line
        raise KeyError(name)
