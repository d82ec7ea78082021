"""`agentlab runs`: what was run in a workspace, and how two runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.analysis.figures import count, difference, percent, rate, span
from agentlab.cli.budgets import budget_flags
from agentlab.cli.following import Place, evaluation_of, starter
from agentlab.cli.options import DisplayName, output_options, workspace_option
from agentlab.cli.output import Output, Table, opened, shown_path

if TYPE_CHECKING:
    from agentlab.types.report import ArmReport, RunComparison, RunDetail, RunSummary

MOST_REASONS = 8
"""Reasons that are told of each kind; `--json` has them all."""


@click.group()
def runs() -> None:
    """List runs, look at one, or compare two."""


@runs.command("list")
@workspace_option
@output_options
def list_(workspace: Path, as_json: bool, display: DisplayName | None) -> None:
    """The practice runs of the workspace, oldest first."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.analysis.runs import list_runs

        found = list_runs(workspace)
        output.document(found)
        if not found:
            output.line(f"There is no run in {str(workspace)!r} yet.")
            output.next("practice", starter())
            return
        output.table(_table(found))
        output.next("runs", "show", found[-1].run_id)


@runs.command()
@click.argument("run", metavar="RUN")
@workspace_option
@output_options
def show(run: str, workspace: Path, as_json: bool, display: DisplayName | None) -> None:
    """One run: its learning curve, its tasks, what it learnt."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.analysis.runs import show_run

        detail = show_run(workspace, run)
        output.document(detail)
        _tell(detail, output)
        at = Place(run).words
        if detail.status == "finished":
            output.next(*(evaluation_of(detail.config) or ("skills", "list")), *at)
        else:
            output.next("resume", detail.run_id, *budget_flags(detail.goes_on_with), *at)


@runs.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@workspace_option
@output_options
def compare(a: str, b: str, workspace: Path, as_json: bool, display: DisplayName | None) -> None:
    """Two runs side by side: options, success, skills. Differences are B less A."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.analysis.runs import compare_runs

        comparison = compare_runs(workspace, a, b)
        output.document(comparison)
        _contrast(comparison, output)
        output.next("runs", "show", comparison.b.run_id)


def _table(found: Sequence[RunSummary]) -> Table:
    rows = [
        [
            run.run_id,
            run.status,
            run.environment,
            str(run.seed),
            str(run.rounds),
            str(run.attempts),
            str(run.skills),
            f"{run.created:%Y-%m-%d %H:%M}",
        ]
        for run in found
    ]
    heads = (
        "run", "status", "environment", "seed", "rounds", "attempts", "skills", "started",
    )  # fmt: skip
    return Table("", heads, rows, frozenset({3, 4, 5, 6}))


def _tell(detail: RunDetail, output: Output) -> None:
    from agentlab.cli.ending import tell_evaluation, tell_notes, tell_skills

    why = f" ({detail.reason})" if detail.reason else ""
    output.line(
        f"Run {detail.run_id}: {detail.environment}, model {detail.model}, seed {detail.seed}, "
        f"{detail.status}{why}."
    )
    output.line(f"Started {detail.created:%Y-%m-%d %H:%M}, in {shown_path(detail.run_dir)}.")
    if detail.budgets:
        since = ", ".join(f"{place} = {amount:,}" for place, amount in detail.budgets.items())
        output.line(f"Since its start its budgets were set to {since}.")
    if detail.curve:
        rows = [
            [
                str(point.round),
                percent(point.success_rate) if point.success_rate is not None else "-",
                span(*point.interval) if point.interval is not None else "-",
                str(point.attempts),
                str(point.tasks_admitted),
                str(point.skills_admitted),
                str(point.active_skills),
            ]
            for point in detail.curve
        ]
        heads = ("round", "success", "95% interval", "n", "tasks", "new skills", "active")
        output.table(Table("Success in practice", heads, rows, frozenset(range(7))))
    usage = detail.usage
    output.line()
    output.line(
        f"{count(detail.attempts, 'attempt')} took {count(usage.tool_calls, 'tool call')}, "
        f"{count(usage.steps, 'step')} and {usage.cpu_seconds:.0f} s of CPU."
    )
    for role, taken in detail.by_role.items():
        cost = f", {taken.usd:.4f} US dollars" if taken.usd else ""
        output.line(f"  the model of the {role}: {count(taken.tokens, 'token')}{cost}")
    for reason, number in sorted(detail.tasks.rejected.items(), key=lambda item: -item[1]):
        output.line(f"  {count(number, 'task')} rejected: {reason}")
    refused = (("skill", detail.refused_skills), ("piece of advice", detail.refused_insights))
    for noun, reasons in refused:
        plural = "pieces of advice" if noun != "skill" else None
        for reason, number in list(reasons.items())[:MOST_REASONS]:
            output.line(f"  {count(number, noun, plural)} rejected: {reason}")
        if len(reasons) > MOST_REASONS:
            output.line(f"  and {len(reasons) - MOST_REASONS} more reasons; --json has them all.")
    tell_notes(detail.notes, output)
    if detail.heldout is not None:
        tell_evaluation(detail.heldout, output)
    tell_skills(detail.learnt, output)


def _contrast(comparison: RunComparison, output: Output) -> None:
    a, b = comparison.a, comparison.b
    rows = [
        ["status", a.status, b.status],
        ["environment", a.environment, b.environment],
        ["seed", str(a.seed), str(b.seed)],
        ["attempts", str(a.attempts), str(b.attempts)],
        ["success in practice", _arm(comparison.practice_a), _arm(comparison.practice_b)],
        ["success on held-out", _arm(comparison.heldout_a), _arm(comparison.heldout_b)],
        ["skills", str(a.skills), str(b.skills)],
    ]
    told = {row[0] for row in rows}
    rows += [
        [item.option, _value(item.a), _value(item.b)]
        for item in comparison.config
        if item.option not in told
    ]
    output.table(Table("", ("", f"A {a.run_id}", f"B {b.run_id}"), rows))
    output.line()
    if comparison.difference is not None:
        gap = difference(comparison.difference)
        output.line(f"On the held-out tasks that both tried, B less A is {gap}.")
    else:
        output.line("They share no held-out task, so there is no paired difference.")
    shared = count(len(comparison.skills_both), "skill")
    output.line(f"Both learnt {shared} of the same signature.")
    for name, only in (("A", comparison.skills_a), ("B", comparison.skills_b)):
        for signature in only:
            output.line(f"  only {name}: {signature}")


def _arm(arm: ArmReport | None) -> str:
    return rate(arm) if arm is not None else "-"


def _value(value: object) -> str:
    return "-" if value is None else str(value)
