"""The runs of a workspace, newest first, each in a line."""

from __future__ import annotations

from collections.abc import Collection

from agentlab.analysis.arms import estimate
from agentlab.analysis.runs import practice_runs, run_summary
from agentlab.records import Records
from agentlab.types import Frozen
from agentlab.types.report import RunSummary
from agentlab.view.figures import Figure, rate_figure


class RunLine(Frozen):
    """A run and its success in practice."""

    run: RunSummary
    success: Figure | None


class RunsPage(Frozen):
    """The list."""

    lines: tuple[RunLine, ...]
    workspace: str
    text: str = ""
    """Is in the id, the environment or the model of each."""
    others: int = 0
    """Runs that hold evaluations and the like, which are not listed."""


def make(records: Records, *, only: Collection[str] = (), text: str = "") -> RunsPage:
    """The list; of the runs that were named, where some were."""
    rows = [row for row in practice_runs(records) if not only or row.run_id in only]
    found = [run_summary(records, row) for row in reversed(rows)]
    wanted = text.casefold()
    return RunsPage(
        lines=tuple(
            RunLine(run=run, success=rate_figure(estimate(run.successes, run.attempts)))
            for run in found
            if wanted in f"{run.run_id} {run.environment} {run.model}".casefold()
        ),
        workspace=str(records.workspace.path),
        text=text,
        others=0 if only else len(records.runs.ids()) - len(rows),
    )
