"""What is shown while a command works: an observer of the run that can be closed.

Everything live goes to stderr, so that stdout holds the result alone. A display never ends
a run: what it is told it only shows.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from agentlab.cli.output import wants_rich
from agentlab.events import Event, RunStarted

if TYPE_CHECKING:
    from agentlab.analysis.tally import Plan
    from agentlab.cli.options import DisplayName


class Display(Protocol):
    """An `Observer` with an end."""

    def notify(self, event: Event) -> None:
        """Take in an event."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class Silent:
    """Shows nothing."""

    def notify(self, event: Event) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing to end."""


class RunName:
    """Remembers which run is at work, so that an interrupted command can name it."""

    def __init__(self) -> None:
        self.run_id: str | None = None

    def notify(self, event: Event) -> None:
        """Note the run's id."""
        if isinstance(event, RunStarted):
            self.run_id = event.run_id


@contextmanager
def shown(display: DisplayName | None, plan: Plan) -> Generator[Display]:
    """The display asked for, or what suits stderr; closed at the end whatever happens."""
    chosen = _choose(display, plan)
    try:
        yield chosen
    finally:
        chosen.close()


def _choose(display: DisplayName | None, plan: Plan) -> Display:
    if display == "none":
        return Silent()
    if wants_rich(display, sys.stderr):
        from agentlab.cli.live import RichDisplay

        return RichDisplay(plan)
    from agentlab.cli.plain import PlainDisplay

    return PlainDisplay(plan, sys.stderr)
