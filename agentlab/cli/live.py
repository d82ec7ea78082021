"""Progress as one panel that is drawn in place, and fits a terminal of 80 by 24.

A refresh thread draws while the run's own thread notifies, hence the lock. What the panel
says of names and reasons is text from elsewhere and never markup.
"""

from __future__ import annotations

from threading import Lock

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agentlab.analysis.figures import count, duration
from agentlab.analysis.foreign import one_line
from agentlab.analysis.tally import Plan, Tally
from agentlab.events import Event, RunStarted

WIDTH = 78
REFRESHES = 4
"""A second; slow enough for a remote terminal."""


class RichDisplay:
    """Draws the tally of the run on stderr, from the first event to `close`."""

    def __init__(self, plan: Plan, console: Console | None = None) -> None:
        self._tally = Tally(plan)
        self._lock = Lock()
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None

    def notify(self, event: Event) -> None:
        """Take in an event; the next refresh shows it."""
        with self._lock:
            self._tally.add(event)
        if isinstance(event, RunStarted) and self._tally.plan.preflight:
            self._console.print(Text(one_line(self._tally.plan.preflight)))
        if self._live is None:
            self._live = Live(
                get_renderable=self.panel,
                console=self._console,
                refresh_per_second=REFRESHES,
                redirect_stdout=False,
                vertical_overflow="crop",
            )
            self._live.start()

    def close(self) -> None:
        """Draw the last state, which stays, and stop refreshing."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def panel(self) -> RenderableType:
        """The panel as it stands."""
        with self._lock:
            return Panel(
                Group(*self._rows()),
                title=Text(_title(self._tally)),
                title_align="left",
                width=min(WIDTH, self._console.width),
                border_style="cyan" if self._tally.ended is None else "green",
                padding=(0, 1),
            )

    def _rows(self) -> list[RenderableType]:
        tally = self._tally
        if not tally.run_id and tally.round is None:
            # An evaluation: there are no rounds, and nothing is learnt.
            return [self._bar()]
        lines = Table.grid(padding=(0, 2))
        lines.add_column(style="dim", no_wrap=True, min_width=11)
        lines.add_column(overflow="ellipsis", no_wrap=True)
        for label, value in self._lines():
            lines.add_row(label, Text(one_line(value)))
        return [lines, self._bar()]

    def _bar(self) -> RenderableType:
        tally = self._tally
        if tally.ended is not None:
            return Text(one_line(f"Run {tally.ended.status}."), style="green")
        if tally.paused:
            return Text(one_line(f"paused: {tally.paused}"), style="yellow")
        if tally.training is not None:
            return self._steps()
        if tally.checking is not None and not tally.checking.total:
            return Text(f"{tally.checking_in_words()}, {duration(tally.elapsed)}")
        if tally.checking is not None:
            done, total = tally.checking.done, tally.checking.total
            what = "proposed tasks checked"
        elif tally.phase is not None:
            done, total, what = tally.phase.done, tally.phase.total, tally.phase.phase
        else:
            done, total, what = tally.done, tally.planned, "attempts of this round"
        others = tally.phase is not None or tally.checking is not None
        if not others and tally.shadow and done >= total:
            return Text(f"trying out candidates: {count(tally.shadow, 'shadow attempt')}")
        if total == 0:
            idle = "proposing and checking tasks" if tally.run_id else "done"
            return Text(f"{idle}, {duration(tally.elapsed)}")
        bar = Table.grid(padding=(0, 2))
        # A width of our own: a bar that asks for the whole line would wrap its caption.
        bar.add_row(
            ProgressBar(total=total, completed=done, width=24),
            Text(one_line(f"{done:,} of {total:,} {what}")),
        )
        return bar

    def _steps(self) -> RenderableType:
        training = self._tally.training
        assert training is not None
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=max(1, training.steps), completed=training.step, width=24),
            Text(one_line(f"{self._tally.training_in_words()}, {duration(self._tally.elapsed)}")),
        )
        return bar

    def _lines(self) -> list[tuple[str, str]]:
        tally = self._tally
        return [
            *tally.lines(),
            ("Budget left", tally.budget_left()),
            ("Time", duration(tally.elapsed)),
        ]


def _title(tally: Tally) -> str:
    named = [part for part in (tally.environment, tally.model, tally.run_id) if part]
    return one_line(" ".join(["agentlab", *named]))
