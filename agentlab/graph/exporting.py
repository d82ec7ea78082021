"""The node that writes attempts as data for trainers, every so many rounds or attempts.

A folder appears whole or not at all, under a name that says the round; one that is there already
is the one that would be written, so a node that runs again leaves it as it is. That there was
nothing to write is on record and ends nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from agentlab.errors import NothingToExportError
from agentlab.events import DataExported, Event
from agentlab.graph.due import Wanted, covered, due, wanted
from agentlab.graph.practice import Practice, RunState, RunUpdate
from agentlab.records import Transaction
from agentlab.training.exporting import ExportRequest
from agentlab.training.exporting import export as write
from agentlab.types import JsonObject

FOLDER = "exports"
"""In the run's directory."""
NODE = "export"
EXPORT_SEQUENCE = 80_000


async def export(state: RunState, practice: Practice) -> RunUpdate:
    """Write what is due after this round.

    Raises:
        MissingExtraError: a format needs a package that is not installed.
        WorkspaceError: a folder cannot be written; `resume` goes on from here.
    """
    run_id, round_ = practice.run_id, state["round"]
    chosen, records = practice.config.export, practice.records
    if not chosen.formats or records.nodes.done(run_id, round_, NODE) is not None:
        return {}
    attempts = records.attempts.all(run_id, kind="practice")
    if not due(chosen, round_, attempts):
        return {}
    directory = records.workspace.run_directory(run_id, create=True) / FOLDER
    rounds = covered(chosen, round_, attempts)
    events: list[Event] = []
    for number, each in enumerate(wanted(chosen)):
        rows, why = _written(practice, each, directory / each.name(round_), rounds)
        events.append(
            DataExported(
                run_id=run_id,
                round=round_,
                sequence=EXPORT_SEQUENCE + number,
                name=each.name(round_),
                rows=rows,
                refused=why,
            )
        )

    def work(part: Transaction) -> JsonObject:
        part.events.append(events)
        return {"exports": [event.payload() for event in events]}

    records.once(run_id, round_, NODE, work)
    practice.tell(events)
    return {}


def _written(
    practice: Practice, each: Wanted, out: Path, rounds: tuple[int, int]
) -> tuple[int, str]:
    """How many rows the export has, and why it has none."""
    report = out / "export.json"
    if report.is_file():
        return int(cast("dict[str, int]", json.loads(report.read_bytes()))["rows"]), ""
    chosen = practice.config.export
    request = ExportRequest(
        run_ids=(practice.run_id,),
        format=each.format,
        view=each.view,
        judged=chosen.judged,
        estimator=each.estimator,
        licence=chosen.licence,
        rounds=rounds,
    )
    try:
        return write(practice.records, request, out).rows, ""
    except NothingToExportError as error:  # nothing was left to write, which may be otherwise later
        return 0, str(error)
