"""A run's tasks: what was proposed, admitted and rejected and why, how hard and how new it is."""

from __future__ import annotations

from agentlab.analysis.arms import estimate
from agentlab.graph.reports import practice_run
from agentlab.records import Records
from agentlab.records.browsing import PAGE, ListedProposal, ProposalPlace, TaskRound
from agentlab.records.filters import ProposalFilter
from agentlab.types import Frozen, Task, canonical_json
from agentlab.types.report import TaskCounts
from agentlab.view.figures import Chart, Figure, Series, rate_figure
from agentlab.view.pages.leafing import Leafing, leafing


class TaskLine(Frozen):
    """A proposal and its practice."""

    proposal: ListedProposal
    success: Figure | None


class TasksPage(Frozen):
    """The list, and the run's tasks over time."""

    run_id: str
    counts: TaskCounts
    admitted: Figure | None
    """The share of proposals."""
    rejected: tuple[tuple[str, Figure], ...]
    """Kind of reason, and its share of the proposals; most frequent first."""
    rounds: tuple[TaskRound, ...]
    charts: tuple[Chart, ...]
    wanted: ProposalFilter
    lines: tuple[TaskLine, ...]
    leafing: Leafing

    @property
    def round_choices(self) -> list[tuple[str, str]]:
        """Rounds to choose from, counted from 1."""
        return [(str(each.round + 1), str(each.round + 1)) for each in self.rounds]


class TaskPage(Frozen):
    """One task."""

    run_id: str
    task: Task
    success: Figure | None
    setup: str
    verifier: str
    mission: str
    attempts: int


def make(
    records: Records,
    run_id: str,
    wanted: ProposalFilter | None = None,
    *,
    older: ProposalPlace | None = None,
    newer: ProposalPlace | None = None,
    limit: int = PAGE,
) -> TasksPage:
    """The tasks of a practice run, newest first.

    Raises:
        UnknownNameError: there is no such run.
        UsageError: it is no practice run.
    """
    practice_run(records, run_id)
    wanted = wanted or ProposalFilter()
    proposed, admitted, rejected = records.tasks.proposal_counts(run_id)
    counts = TaskCounts(proposed=proposed, admitted=admitted, rejected=rejected)
    rounds = tuple(records.browsing.task_rounds(run_id))
    page = records.browsing.proposals(
        run_id, wanted, older_than=older, newer_than=newer, limit=limit
    )
    reasons = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    shares = [(reason, rate_figure(estimate(n, proposed))) for reason, n in reasons]
    return TasksPage(
        run_id=run_id,
        counts=counts,
        admitted=rate_figure(estimate(admitted, proposed)),
        rejected=tuple((reason, figure) for reason, figure in shares if figure is not None),
        rounds=rounds,
        charts=_charts(rounds),
        wanted=wanted,
        lines=tuple(
            TaskLine(proposal=row, success=rate_figure(estimate(row.successes, row.attempts)))
            for row in page.rows
        ),
        leafing=leafing(page.rows, newer=page.newer, older=page.older),
    )


def make_task(records: Records, run_id: str, task_id: str) -> TaskPage:
    """One task of a run.

    Raises:
        UnknownNameError: the run has no such task.
    """
    task = records.tasks.get(task_id, run_id=run_id)
    tried, won = records.browsing.tried(run_id, [task_id]).get(task_id, (0, 0))
    verifier = task.verifier
    return TaskPage(
        run_id=run_id,
        task=task,
        success=rate_figure(estimate(won, tried)),
        setup=canonical_json(task.setup),
        verifier=verifier.source if verifier.kind == "code" else "the environment's own check",
        mission=task.mission.structure if task.mission else "",
        attempts=tried,
    )


def _charts(rounds: tuple[TaskRound, ...]) -> tuple[Chart, ...]:
    x = tuple(each.round + 1 for each in rounds)
    difficulty = tuple(
        rate_figure(estimate(each.attempts - each.successes, each.attempts)) for each in rounds
    )
    novelty = tuple(rate_figure(estimate(each.fresh, each.admitted)) for each in rounds)
    return (
        Chart(
            id="difficulty",
            title="Difficulty of tasks by the round that proposed them",
            x_label="round",
            x=x,
            series=(Series(label="failed attempts", figures=difficulty),),
            note="The share of practice attempts at the round's tasks that failed, whenever they "
            "were made; the band is its 95 % interval.",
        ),
        Chart(
            id="novelty",
            title="Novelty of tasks by round",
            x_label="round",
            x=x,
            series=(Series(label="new templates", figures=novelty),),
            note="Templates that no earlier round had, as a share of the round's admitted tasks. "
            "A template is a task's structure without its particulars.",
        ),
    )
