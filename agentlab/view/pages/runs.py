"""The runs of a workspace, newest first, each in a line: of practice, and of the library in use."""

from __future__ import annotations

from collections.abc import Collection

from agentlab.analysis.arms import estimate, rate
from agentlab.analysis.runs import practice_runs, run_summary
from agentlab.graph.reports import practice_run
from agentlab.records import Records, RunRow
from agentlab.types import Frozen
from agentlab.types.report import RunSummary
from agentlab.view.figures import Figure, rate_figure

USES = ("agent", "library", "mcp serve")
"""The `command` of runs that hold attempts in production."""
MOST_USES = 100
"""Of these, the newest are listed: an application may make one for each request."""


class RunLine(Frozen):
    """A run and its success in practice."""

    run: RunSummary
    success: Figure | None


class UseLine(Frozen):
    """The attempts of an agent, a lent library or an MCP client."""

    run_id: str
    command: str
    environment: str
    scope: str
    """Path; empty where it is the shared one."""
    status: str
    n: int
    """Recorded, those without a verdict included."""
    success: Figure | None
    """With what people said of them."""
    created: str


class RunsPage(Frozen):
    """The list."""

    lines: tuple[RunLine, ...]
    uses: tuple[UseLine, ...]
    workspace: str
    text: str = ""
    """Is in the id, the environment or the model of each."""
    others: int = 0
    """Runs that hold evaluations and the like, or earlier uses, which are not listed."""


def make(records: Records, *, only: Collection[str] = (), text: str = "") -> RunsPage:
    """The list; of the runs that were named, where some were."""
    rows = [row for row in practice_runs(records) if not only or row.run_id in only]
    used = uses(records, only=only)
    found = [run_summary(records, row) for row in reversed(rows)]
    wanted = text.casefold()
    return RunsPage(
        lines=tuple(
            RunLine(run=run, success=rate_figure(estimate(run.successes, run.attempts)))
            for run in found
            if wanted in f"{run.run_id} {run.environment} {run.model}".casefold()
        ),
        uses=tuple(
            line
            for line in (_use(records, row) for row in used)
            if wanted in f"{line.run_id} {line.environment} {line.scope}".casefold()
        ),
        workspace=str(records.workspace.path),
        text=text,
        others=0 if only else len(records.runs.ids()) - len(rows) - len(used),
    )


def uses(records: Records, *, only: Collection[str] = ()) -> list[RunRow]:
    """The newest runs that hold attempts in production, newest first."""
    rows = [
        row
        for row in records.runs.all()
        if row.config.get("command") in USES and (not only or row.run_id in only)
    ]
    return rows[::-1][:MOST_USES]


def is_practice(records: Records, run_id: str) -> bool:
    """Whether the run practised, so that it has rounds and tasks to show.

    Raises:
        UnknownNameError: there is no such run.
    """
    return "command" not in records.runs.get(run_id).config


def shown(records: Records, run_id: str) -> str:
    """The run's id, where there are pages of it.

    Raises:
        UnknownNameError: there is no such run.
        UsageError: it holds an evaluation or the like, which has none.
    """
    row = records.runs.get(run_id)
    return run_id if row.config.get("command") in USES else practice_run(records, run_id).run_id


def _use(records: Records, row: RunRow) -> UseLine:
    counts = records.browsing.counts(row.run_id)
    return UseLine(
        run_id=row.run_id,
        command=str(row.config.get("command", "")),
        environment=str(row.config.get("environment", "")),
        scope=row.scope,
        status=row.status,
        n=sum(each.n for each in counts),
        success=rate_figure(rate(counts)),
        created=row.created_at,
    )
