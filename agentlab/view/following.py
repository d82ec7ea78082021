"""Following runs by their event log: what happens now and what has happened, of one or several.

A run is told by the tally that the terminal shows, begun from counts of its log and kept up by
number. Whoever opens a page late is told the same as whoever was there from the start, and a run
that was resumed goes on in the same log.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from threading import Lock
from typing import Literal

from agentlab.analysis.arms import library_effect
from agentlab.analysis.tally import Plan, Tally
from agentlab.graph.budgets import changes_of
from agentlab.records import EventRow, Records, RunRow
from agentlab.statistics import Estimate
from agentlab.types import Frozen
from agentlab.view.summed import SummedTally
from agentlab.view.telling import told

BATCH = 2000
FEED = 30
"""Events that are kept to be told, newest first."""
Standing = Literal["running", "idle", "finished", "stopped", "failed"]


class Line(Frozen):
    """An event in words."""

    serial: int
    kind: str
    place: str
    text: str
    tone: Literal["good", "bad", "plain"] = "plain"
    attempt_id: str = ""


class Now(Frozen):
    """How a run stands."""

    standing: Standing
    sentence: str
    done: int
    """Attempts of the phase under way."""
    planned: int
    lines: tuple[tuple[str, str], ...]
    """As the terminal shows them: label and value."""
    feed: tuple[Line, ...]
    serial: int
    """The last event that is in this."""
    last: datetime | None
    """When it was recorded."""


class Followed:
    """One run's tally and the latest of its events. Safe to share between threads."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._lock = Lock()
        self._tally: Tally | None = None
        self._serial = 0
        self._feed: deque[EventRow] = deque(maxlen=FEED)
        self._effect: tuple[int, Estimate | None] = (0, None)

    def now(self, records: Records) -> Now:
        """How the run stands in the records."""
        row = records.runs.get(self._run_id)
        with self._lock:
            tally = self._catch_up(records, row)
            word = records.browsing.last_word(self._run_id)
            standing, sentence = self._sentence(records, row, tally)
            return Now(
                standing=standing,
                sentence=sentence,
                done=tally.done if standing == "running" else 0,
                planned=tally.planned if standing == "running" else 0,
                lines=tuple((label.strip(), value) for label, value in tally.lines()),
                feed=tuple(_line(row) for row in reversed(self._feed)),
                serial=self._serial,
                last=datetime.fromisoformat(word).astimezone(UTC) if word else None,
            )

    def effect(self, records: Records, rounds: int) -> Estimate | None:
        """What the library did in the first so many rounds, which are over.

        Kept until another round is, for it reads every draw of the run.
        """
        with self._lock:
            if self._effect[0] != rounds:
                counts = records.summaries.arms(self._run_id, rounds)
                self._effect = (rounds, library_effect(counts))
            return self._effect[1]

    def _catch_up(self, records: Records, row: RunRow) -> Tally:
        if self._tally is None:
            tally = SummedTally(Plan.of(row.config, budgets=changes_of(records, self._run_id)))
            log = tally.begin(records, self._run_id, newest=FEED)
            self._tally, self._serial = tally, log.serial
            self._feed.extend(log.newest)
        while True:
            found = records.events.after(self._run_id, self._serial, limit=BATCH)
            for heard in found:
                self._tally.add(heard.event)
                self._serial = heard.serial
                self._feed.append(heard)
            if len(found) < BATCH:
                return self._tally

    def _sentence(self, records: Records, row: RunRow, tally: Tally) -> tuple[Standing, str]:
        why = f": {row.reason}" if row.reason else ""
        if row.status != "running":
            return row.status, f"{row.status.capitalize()}{why}."
        name = tally.round_name().capitalize()
        if tally.paused:
            doing = f"{name} waits: {tally.paused}"
        elif tally.round is None or tally.planned == 0:
            doing = f"{name}: proposing and checking tasks"
        elif tally.done < tally.planned:
            doing = f"{name}: {tally.done:,} of {tally.planned:,} attempts done"
        elif compared := records.attempts.count(self._run_id, kind="evaluation"):
            doing = f"Comparing on held-out tasks: {compared:,} attempts done"
        elif tally.shadow:
            doing = f"{name}: trying out candidates, {tally.shadow:,} shadow attempts so far"
        else:
            doing = f"{name}: distilling what worked"
        if records.workspace.worker(self._run_id) is None:
            return "idle", f"{doing}. No process works on it; `agentlab resume` goes on with it."
        return "running", f"{doing}."


class Following:
    """The runs that are followed, each begun when somebody first looks."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs: dict[str, Followed] = {}

    def run(self, run_id: str) -> Followed:
        """One run's."""
        with self._lock:
            return self._runs.setdefault(run_id, Followed(run_id))


def _line(row: EventRow) -> Line:
    event = row.event
    said = told(event)
    place = f"round {event.round + 1}" + (f", slot {event.slot}" if event.slot >= 0 else "")
    return Line(
        serial=row.serial,
        kind=event.kind,
        place="" if event.lifecycle else place,
        text=said.text,
        tone=said.tone,
        attempt_id=said.attempt_id,
    )
