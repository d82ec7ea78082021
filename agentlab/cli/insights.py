"""`agentlab insights`: the advice that was learnt, why, and taking a piece out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.analysis.figures import count, difference
from agentlab.cli.approving import approving
from agentlab.cli.options import DisplayName, option, output_options, scope_option, workspace_option
from agentlab.cli.output import Output, Table, opened
from agentlab.cli.skills import STATUSES, tell_effect

if TYPE_CHECKING:
    from agentlab.types import Status
    from agentlab.types.report import InsightDetail


@click.group()
def insights() -> None:
    """List pieces of advice, look at one, take one out, or decide on what waits."""


approving(insights, "insight")


@insights.command("list")
@option("--environment", metavar="ENV", help="Only those for this environment.")
@option("--status", type=click.Choice(STATUSES), help="Only those of this status.")
@scope_option
@workspace_option
@output_options
def list_(
    environment: str | None,
    status: Status | None,
    scope: str,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """The insights of the library, with their measured effect."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.advice import list_insights
        from agentlab.types import Scope

        found = list_insights(
            workspace, environment=environment, status=status, scope=Scope.parse(scope)
        )
        output.document(found)
        if not found:
            output.line(
                "There is no such insight in the library yet; a chat model writes them, in "
                "practice with --model openai:MODEL."
            )
            output.next("doctor")
            return
        rows = [
            [
                line.id,
                line.status,
                difference(line.effect) if line.effect is not None else "not measured",
                f"{line.condition}: {line.advice}",
            ]
            for line in found
        ]
        heads = ("insight", "status", "effect on success", "what it says")
        output.table(Table("", heads, rows, frozenset()))
        output.next("insights", "show", found[0].id)


@insights.command()
@click.argument("insight", metavar="ID")
@scope_option
@workspace_option
@output_options
def show(
    insight: str, scope: str, workspace: Path, as_json: bool, display: DisplayName | None
) -> None:
    """One insight: what it says, when, and what vouches for it. The beginning of an ID will do."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.advice import show_insight
        from agentlab.types import Scope

        detail = show_insight(workspace, insight, scope=Scope.parse(scope))
        output.document(detail)
        _tell(detail, output)
        output.next("insights", "list")


@insights.command()
@click.argument("insight", metavar="ID")
@scope_option
@workspace_option
@output_options
def remove(
    insight: str, scope: str, workspace: Path, as_json: bool, display: DisplayName | None
) -> None:
    """Retire an insight. It is offered no more and stays on record."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.advice import remove_insight
        from agentlab.types import Scope

        removed = remove_insight(workspace, insight, scope=Scope.parse(scope))
        output.document(removed)
        output.line(f"{removed.id} is {removed.status} and is offered no more.")
        output.next("insights", "list")


def _tell(detail: InsightDetail, output: Output) -> None:
    output.line(detail.id, strong=True)
    output.line(f"Version {detail.version} for {detail.environment}, {detail.status}.")
    output.line(f"When: {detail.condition}")
    if detail.negative_condition:
        output.line(f"Not when: {detail.negative_condition}")
    output.line(f"Advice: {detail.advice}")
    if detail.example:
        output.line(f"Example: {detail.example}")
    output.line(f"Learnt from {count(len(detail.source_tasks), 'task')}.")
    tell_effect(detail.measured, output)
    if detail.history:
        rows = [[c.before, c.after, c.reason] for c in detail.history]
        output.table(Table("History", ("from", "to", "why"), rows, frozenset()))
