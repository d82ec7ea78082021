"""Progress as lines: one for each round and phase. For logs, pipes and plain terminals."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from agentlab.analysis.figures import count, duration
from agentlab.analysis.foreign import one_line
from agentlab.analysis.tally import Plan, Tally
from agentlab.events import (
    AttemptsPlanned,
    DataExported,
    Event,
    Progress,
    RepliesDropped,
    RoundFinished,
    RunFinished,
    RunPaused,
    RunStarted,
    TasksChecked,
    TrainingStepped,
)

PATIENCE = 10.0
"""Seconds after which it is told how far the checking of proposals is."""


class PlainDisplay:
    """Writes a line when a run, a round or a phase begins or ends."""

    def __init__(
        self, plan: Plan, stream: TextIO, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tally = Tally(plan, clock=clock)
        self._stream = stream
        self._told = 0.0
        """When it was last told how far the proposals are."""
        self._phase = ""

    def notify(self, event: Event) -> None:
        """Take in an event, and write where it ends something."""
        self._tally.add(event)
        match event:
            case RunStarted():
                verb = "Going on with" if event.resumed else "Practising in"
                self._say(f"{verb} {event.environment}, model {event.model}: {event.run_id}.")
                if self._tally.plan.preflight:
                    self._say(self._tally.plan.preflight)
            case AttemptsPlanned():
                self._say(self._planned(event))
            case RoundFinished():
                self._say(self._finished())
            case TasksChecked():
                self._checked(event)
            case Progress():
                self._progress(event)
            case DataExported():
                told = f"{event.rows:,} rows" if event.rows else f"nothing: {event.refused}"
                self._say(f"Exported {event.name}: {told}.")
            case TrainingStepped():
                self._stepped(event)
            case RepliesDropped():
                told = ", ".join(f"{n} {reason}" for reason, n in sorted(event.reasons.items()))
                lost = sum(event.reasons.values())
                self._say(f"Of what the {event.role} was asked, {lost:,} came to nothing: {told}.")
            case RunPaused():
                self._say(f"Paused: {event.reason}" if event.reason else "Going on.")
            case RunFinished():
                why = f" ({event.reason})" if event.reason else ""
                self._say(f"Run {event.run_id} {event.status}{why}.")  # how long, the report says
            case _:
                pass

    def close(self) -> None:
        """Write out what is buffered."""
        self._stream.flush()

    def _planned(self, event: AttemptsPlanned) -> str:
        tally = self._tally
        shadow = f" and {count(event.shadow, 'shadow attempt')}" if event.shadow else ""
        return (
            f"{tally.round_name().capitalize()}: tasks so far {tally.proposed:,} proposed, "
            f"{tally.admitted:,} admitted, {tally.rejections()}; "
            f"{count(event.attempts, 'attempt')}{shadow} to come."
        )

    def _finished(self) -> str:
        tally = self._tally
        first = f", at first {tally.first}" if tally.first is not None and tally.round else ""
        return (
            f"{tally.round_name().capitalize()} done: success {tally.this_round}{first}; "
            f"skills {tally.skills_admitted} admitted, {tally.skills_retired} retired, "
            f"{tally.active} active{self._advice()}{self._waiting()}; left {tally.budget_left()}; "
            f"{duration(tally.elapsed)}."
        )

    def _advice(self) -> str:
        return f"; advice {self._tally.advice} active" if self._tally.advice else ""

    def _waiting(self) -> str:
        waiting = self._tally.waiting
        return f"; {waiting} waiting for approval" if waiting > 0 else ""

    def _progress(self, event: Progress) -> None:
        name = event.phase[:1].upper() + event.phase[1:]
        if event.phase != self._phase:
            self._phase = event.phase
            self._say(f"{name}: {event.total:,} to do.")
        if event.total and event.done == event.total:
            self._phase = ""
            self._say(f"{name}: done, {duration(self._tally.elapsed)}.")

    def _checked(self, event: TasksChecked) -> None:
        """A line when tasks begin to be made, and one now and then until all are checked."""
        now = self._tally.elapsed
        if event.total and now - self._told < PATIENCE:
            return
        self._told = now
        took = f", {duration(now)}" if event.total else ""
        self._say(
            f"{self._tally.round_name().capitalize()}: {self._tally.checking_in_words()}{took}."
        )

    def _stepped(self, event: TrainingStepped) -> None:
        """A line for each phase, and for about each tenth of the steps."""
        tenth = max(1, event.steps // 10)
        if not event.steps or event.step in (1, event.steps) or event.step % tenth == 0:
            said = self._tally.training_in_words()
            self._say(f"{event.trainer}: {said}, {duration(self._tally.elapsed)}.")

    def _say(self, text: str) -> None:
        self._stream.write(one_line(text) + "\n")
        self._stream.flush()
