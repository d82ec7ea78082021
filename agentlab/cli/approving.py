"""`agentlab skills waiting`, `approve` and `reject`, and the same for insights: the human gate.

Without the digest of what was looked at a decision is not carried out: the item is shown instead,
and the command that decides on exactly that is named.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.analysis.figures import count
from agentlab.cli.options import DisplayName, option, output_options, scope_option, workspace_option
from agentlab.cli.output import Output, Table, opened

if TYPE_CHECKING:
    from agentlab.types.approval import ItemDecision, ItemKind, Verdict, WaitingItem

SHOWN = 12
"""Characters of a digest that are shown, which is as many as must be given."""


def approving(group: click.Group, kind: ItemKind) -> None:
    """Add `waiting`, `approve` and `reject` to a group."""
    group.add_command(_waiting(kind))
    group.add_command(_decision(kind, "approve"))
    group.add_command(_decision(kind, "reject"))


def _waiting(kind: ItemKind) -> click.Command:
    @click.command("waiting", help=f"The {kind}s that passed every gate and wait for a person.")
    @option("--environment", metavar="ENV", help=f"Only the {kind}s for this environment.")
    @scope_option
    @workspace_option
    @output_options
    def waiting(
        environment: str | None,
        scope: str,
        workspace: Path,
        as_json: bool,
        display: DisplayName | None,
    ) -> None:
        with opened(as_json=as_json, display=display) as output:
            from agentlab.library.waiting import list_waiting
            from agentlab.types import Scope

            found = list_waiting(
                workspace, environment=environment, kind=kind, scope=Scope.parse(scope)
            )
            output.document(found)
            if not found:
                output.line(
                    f"No {kind} waits. They do where practice has admission.approval = 'human' "
                    "in its config."
                )
                output.next(f"{kind}s", "list")
                return
            rows = [
                [
                    line.name,
                    str(line.version),
                    line.digest[:SHOWN],
                    f"{line.since:%Y-%m-%d %H:%M}",
                    ", ".join(line.needs) or "-",
                    _first(line.summary),
                ]
                for line in found
            ]
            heads = (kind, "version", "digest", "since", "needs first", "what it does")
            output.table(Table("", heads, rows, frozenset({1})))
            first = next((line for line in found if not line.needs), found[0])
            output.next(f"{kind}s", "approve", first.name, *_whose(first, found), "--reason", "WHY")

    return waiting


def _decision(kind: ItemKind, verdict: Verdict) -> click.Command:
    does = "Let it serve" if verdict == "approve" else "Retire it, so that it never serves"

    @click.command(
        verdict,
        help=f"{does}: NAME waits for a person. Without --digest it is shown, and nothing is done. "
        "A run at work takes it up with its next round.",
    )
    @click.argument("name", metavar="NAME" if kind == "skill" else "ID")
    @option("--reason", metavar="TEXT", required=True, help="Why; kept with the decision.")
    @option("--digest", metavar="DIGEST", help="Of what was shown, 12 characters or more.")
    @option("--by", metavar="PERSON", help="Who decides. [default: the name you are logged in by]")
    @option("--environment", metavar="ENV", help="Whose, where several have that name.")
    @scope_option
    @workspace_option
    @output_options
    def decide(name: str, **given: Any) -> None:
        _decide(kind, verdict, name, **given)

    return decide


def _decide(
    kind: ItemKind,
    verdict: Verdict,
    name: str,
    *,
    reason: str,
    digest: str | None,
    by: str | None,
    environment: str | None,
    scope: str,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.approval import decide_in, find_decided
        from agentlab.library.waiting import find_waiting
        from agentlab.types import Scope

        whose = Scope.parse(scope)
        if digest is not None:
            item = find_decided(
                workspace, name, kind=kind, environment=environment, digest=digest, scope=whose
            )
            done = decide_in(
                workspace,
                item,
                verdict,
                digest=digest,
                reason=reason,
                by=by or _who(),
                scope=whose,
            )
            output.document(done)
            _tell(done, output)
            output.next(f"{kind}s", "waiting")
            return
        line = find_waiting(workspace, name, kind=kind, environment=environment, scope=whose)
        output.document(line)
        _show(line, workspace, output)
        words = [f"{kind}s", verdict, line.name, "--digest", line.digest[:SHOWN]]
        words += ["--reason", reason, *(("--environment", environment) if environment else ())]
        output.next(*words, *(("--by", by) if by else ()))


def _show(line: WaitingItem, workspace: Path, output: Output) -> None:
    from agentlab.library.waiting import look_at

    seen = look_at(workspace, line.id)
    title = line.name if line.kind == "insight" else seen.signature
    output.line(title, strong=True)
    output.line(f"Version {line.version} for {line.environment}, {line.reason}.")
    output.line(line.summary)
    for name in line.needs:
        output.line(f"It calls {name}, which does not serve: approve that first.")
    for gate in seen.gates:
        output.line(f"  {gate}")
    if line.supersedes:
        output.line(f"It takes the place of {count(len(line.supersedes), 'item')} that serves.")
    if seen.source:
        output.line()
        output.code(seen.source.strip("\n"))
        output.line()
        output.code(seen.effect_source.strip("\n"))
    output.line()
    output.line("Nothing was decided: the digest of what stands here goes with the decision.")


def _tell(done: ItemDecision, output: Output) -> None:
    verb = "approved" if done.verdict == "approve" else "rejected"
    was = "was already" if done.repeated else "was"
    output.line(
        f"Version {done.version} of {done.name} {was} {verb} by {done.by} and is {done.status}."
    )
    if done.superseded:
        output.line(f"It took the place of {count(len(done.superseded), 'item')}.")


def _whose(line: WaitingItem, found: list[WaitingItem]) -> tuple[str, ...]:
    places = {other.environment for other in found if other.name == line.name}
    return ("--environment", line.environment) if len(places) > 1 else ()


def _who() -> str:
    """The name of whoever types; a container may know none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "someone at the command line"


def _first(text: str) -> str:
    from agentlab.cli.ending import first_line

    return first_line(text)
