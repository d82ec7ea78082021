"""`agentlab skills`: what the library holds, why, and taking something out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.analysis.figures import count, difference, percent, signed_span, span
from agentlab.cli.approving import approving
from agentlab.cli.following import evaluation_of, known, starter
from agentlab.cli.options import DisplayName, option, output_options, scope_option, workspace_option
from agentlab.cli.output import Output, Table, opened
from agentlab.cli.skills_use import run, verify

if TYPE_CHECKING:
    from agentlab.types import Status
    from agentlab.types.report import SkillDetail, SkillEffect, SkillLine

STATUSES = ("candidate", "quarantined", "verified", "active", "retired")


@click.group()
def skills() -> None:
    """List skills, look at one, run one, search, take one out, or decide on what waits."""


skills.add_command(run)
skills.add_command(verify)
approving(skills, "skill")


@skills.command("list")
@option("--environment", metavar="ENV", help="Only the skills for this environment.")
@option("--status", type=click.Choice(STATUSES), help="Only the skills of this status.")
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
    """The skills of the library, with their measured effect."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.catalogue import list_skills
        from agentlab.types import Scope

        found = list_skills(
            workspace, environment=environment, status=status, scope=Scope.parse(scope)
        )
        output.document(found)
        if not found:
            output.line(_none(environment, status))
            if environment is None or known(environment):
                output.next("practice", environment or starter())
            else:
                output.next("envs", "list")
            return
        output.table(_table(found))
        output.next("skills", "show", found[0].name, *_whose(found, environment))


@skills.command()
@click.argument("name", metavar="NAME")
@option("--environment", metavar="ENV", help="Whose skill, where several have that name.")
@scope_option
@workspace_option
@output_options
def show(
    name: str,
    environment: str | None,
    scope: str,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """One skill: its code, what it needs, and what vouches for it."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.analysis.runs import config_for
        from agentlab.library.catalogue import show_skill
        from agentlab.types import Scope

        detail = show_skill(workspace, name, environment=environment, scope=Scope.parse(scope))
        output.document(detail)
        _tell(detail, output)
        config = config_for(workspace, detail.environment)
        if config is not None:
            output.next(*(evaluation_of(config) or ("skills", "list")))
        elif known(detail.environment):
            output.next("evaluate", detail.environment, "--baseline")
        else:
            output.next("skills", "list")


@skills.command()
@click.argument("query", metavar="QUERY")
@option("--environment", metavar="ENV", help="Only those for this environment.")
@scope_option
@workspace_option
@output_options
def search(
    query: str,
    environment: str | None,
    scope: str,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """The skills that fit QUERY, as an attempt would be offered them. May be none."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.catalogue import search_skills
        from agentlab.types import Scope

        found = search_skills(workspace, query, environment, scope=Scope.parse(scope))
        output.document(found)
        if not found:
            output.line("No skill fits that.")
            output.next("skills", "list")
            return
        rows = [[f"{m.score:.3f}", m.signature, _summary(m)] for m in found]
        output.table(Table("", ("score", "skill", "what it does"), rows, frozenset({0})))
        output.next("skills", "show", found[0].name, *_whose(found, environment))


@skills.command()
@click.argument("name", metavar="NAME")
@option("--environment", metavar="ENV", help="Whose skill, where several have that name.")
@scope_option
@workspace_option
@output_options
def remove(
    name: str,
    environment: str | None,
    scope: str,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Retire a skill, and those that call it. It is served no more and stays on record."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.catalogue import remove_skill
        from agentlab.types import Scope

        removed = remove_skill(workspace, name, environment=environment, scope=Scope.parse(scope))
        output.document(removed)
        output.line(f"{removed.signature} is {removed.status} and is served no more.")
        output.next("skills", "list")


def _none(environment: str | None, status: Status | None) -> str:
    kind = f"{status} skill" if status is not None else "skill"
    whose = f" for {environment}" if environment is not None else ""
    return f"The library holds no {kind}{whose}; practice is what puts skills there."


def tell_effect(found: SkillEffect | None, output: Output) -> None:
    """What offering an item does, as a table, or that nobody knows yet."""
    if found is None or found.success is None:
        output.line("What offering it does to success is not measured yet.")
        return
    sides = (("offered", found.success_with), ("withheld", found.success_without))
    output.table(
        Table(
            "What offering it does, by random withholding",
            ("", "value", "95% interval", "n"),
            [
                *(
                    [f"success, {side}", percent(r.value), span(*r.interval), str(r.n)]
                    for side, r in sides
                    if r is not None
                ),
                *(
                    [f"change in {what}", f"{d.value:+.2f}", signed_span(*d.interval), str(d.n)]
                    for what, d in (
                        ("success", found.success),
                        ("tool calls", found.tool_calls),
                        ("steps", found.steps),
                        ("tokens", found.tokens),
                    )
                    if d is not None
                ),
            ],
            frozenset({1, 2, 3}),
        )
    )


def _whose(found: Sequence[SkillLine], environment: str | None) -> tuple[str, ...]:
    """What must be added to the name of the first to tell it from others of that name."""
    first = found[0]
    places = {skill.environment for skill in found if skill.name == first.name}
    return ("--environment", first.environment) if environment or len(places) > 1 else ()


def _table(found: Sequence[SkillLine]) -> Table:
    rows = [
        [
            skill.signature,
            skill.status,
            str(skill.uses),
            difference(skill.effect) if skill.effect is not None else "not measured",
            _summary(skill),
        ]
        for skill in found
    ]
    heads = ("skill", "status", "uses", "effect on success", "what it does")
    return Table("", heads, rows, frozenset({2}))


def _summary(skill: SkillLine) -> str:
    from agentlab.cli.ending import first_line

    return first_line(skill.summary)


def _tell(detail: SkillDetail, output: Output) -> None:
    output.line(detail.signature, strong=True)
    output.line(
        f"Version {detail.version} for {detail.environment}, {detail.status}, "
        f"made by {detail.origin}."
    )
    if detail.scope:
        output.line(f"It is {detail.scope}'s alone.")
    if detail.summary:
        output.line(detail.summary)
    output.line(f"Used in {count(detail.uses, 'attempt')}.")
    tell_effect(detail.measured, output)
    for label, values in (
        ("Brings about", detail.effects),
        ("Uses tools", detail.tools),
        ("Calls skills", detail.skills),
        ("Called by", detail.callers),
    ):
        if values:
            output.line(f"{label}: {', '.join(values)}.")
    for name, requires in detail.parameters.items():
        if requires:
            output.line(f"Argument {name}: {json.dumps(requires, ensure_ascii=False)}.")
    if detail.precondition:
        wanted = json.dumps(detail.precondition, ensure_ascii=False)
        output.line(f"Needs at the start: {wanted}.")
    if detail.source_tasks:
        output.line(
            f"Learnt from {count(len(detail.source_attempts), 'attempt')} at "
            f"{count(len(detail.source_tasks), 'task')}; {count(len(detail.tests), 'test')} kept."
        )
    if detail.parent is not None:
        output.line(f"Follows the version {detail.parent}.")
    output.line()
    output.code(detail.source.strip("\n"))
    if detail.history:
        rows = [[str(c.version), c.before, c.after, c.reason] for c in detail.history]
        output.table(Table("History", ("version", "from", "to", "why"), rows, frozenset({0})))
