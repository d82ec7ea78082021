"""`agentlab gate` and `agentlab rollback`: what may serve, decided by a comparison, and undone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.cli.options import DisplayName, option, output_options, workspace_option

if TYPE_CHECKING:
    from agentlab.cli.output import Output
    from agentlab.training.promotion.verdict import Contrast, GateReport


@click.command()
@option("--candidate", required=True, metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help="A trained adapter, as `agentlab train` leaves it.")  # fmt: skip
@option("--config", "config_file", required=True, metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="TOML: [practice] says how attempts are made, [gate] what is fixed.")  # fmt: skip
@option("--policy", metavar="NAME", help="Which policy it would serve as. [default: the file's]")
@option("--base", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
        help="The base model's folder. [default: the file's]")  # fmt: skip
@option("--base-url", metavar="URL", help="Where it is served. [default: the file's]")
@option("--environment", metavar="ENV", help="Where it is compared. [default: the file's]")
@option("--no-promote", is_flag=True, help="Compare and record, and let nothing else serve.")
@workspace_option
@output_options
def gate(
    candidate: Path,
    config_file: Path,
    policy: str | None,
    base: Path | None,
    base_url: str | None,
    environment: str | None,
    no_promote: bool,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Compare a trained adapter with what serves, and let it serve if it wins.

    The same dev tasks and seeds for both, in an order that is on record before the first task.
    Interrupted, the same command goes on where it was. Exits with 0 whatever the verdict is.
    """
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        import asyncio

        from agentlab.analysis.tally import Plan
        from agentlab.cli.display import shown
        from agentlab.cycle.settings import load_cycle
        from agentlab.graph.gate_plan import GateRequest
        from agentlab.graph.gating import gate as compare
        from agentlab.graph.registering import register
        from agentlab.records import Records, Workspace

        whole = load_cycle(config_file, policy=policy, base=str(base.absolute()) if base else None)
        practice = whole.practice
        if environment:
            practice = practice.model_copy(update={"environment": environment})
        with Records.open(Workspace.open(workspace)) as records:
            register(records, whole.policy, Path(whole.base), base_url or whole.serve.base_url)
            request = GateRequest(
                whole.policy, candidate, practice, whole.gate, promote=not no_promote
            )
            with shown(display, Plan()) as watching:
                report = asyncio.run(compare(records, request, (watching,)))
        output.document(report)
        tell(report, output)
        if report.status == "promoted" and not no_promote:
            output.next("rollback", report.policy)


@click.command()
@click.argument("policy", metavar="POLICY", default="lab")
@option("--to", metavar="VERSION", help="An adapter, or `base`. [default: what served before]")
@option("--reason", default="asked for", show_default=True, metavar="TEXT", help="Goes on record.")
@option("--if-worse", is_flag=True, help="Only if it does worse in later practice than before.")
@workspace_option
@output_options
def rollback(
    policy: str,
    to: str | None,
    reason: str,
    if_worse: bool,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Let what served POLICY before serve it again."""
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        from agentlab.graph.registering import load_again, roll_back, roll_back_if_worse
        from agentlab.records import Records, Workspace

        with Records.open(Workspace.open(workspace, create=False)) as records:
            if if_worse:
                done = roll_back_if_worse(records, policy)
            else:
                done = roll_back(records, policy, to=to, reason=reason)
            if done.moved:
                done = done.model_copy(update={"unserved": load_again(records, policy)})
        output.document(done)
        output.line(done.sentence)
        if done.unserved:
            output.line(f"The server does not hold it yet: {done.unserved}")


def tell(report: GateReport, output: Output) -> None:
    """The verdict, in words."""
    output.line(report.reason)
    output.line(report.learning)
    output.line(
        f"{report.looks} pairs read in an order fixed in advance ({report.order_sha256[:8]}), "
        f"{report.failed} of them without a verdict; {report.wins} won, {report.losses} lost; "
        f"evidence {report.evidence:.3g} for it and {report.evidence_against:.3g} against, "
        f"{1 / report.alpha:g} decide."
    )
    for name, each in ((f"dev, {report.decides}", report.deciding), *report.beside.items()):
        output.line(_contrast(f"{name}", each))
    for family in report.families:
        held = "holds" if family.holds else "falls"
        output.line(_contrast(f"protected {family.template!r} {held}", family.contrast))
    for name, each in report.heldout.items():
        output.line(_contrast(f"held out, {name} (decides nothing)", each))
    if report.others:
        output.line(
            f"{report.others} other weights were put to a gate against this incumbent, each with "
            f"its own alpha of {report.alpha:g}."
        )
    for note in report.notes:
        output.line(note)


def _contrast(what: str, found: Contrast) -> str:
    mine, theirs = found.candidate, found.control
    text = (
        f"{what}: {mine.name} {mine.success_rate:.3f} "
        f"({mine.interval.low:.3f} to {mine.interval.high:.3f}), "
        f"{theirs.name} {theirs.success_rate:.3f} "
        f"({theirs.interval.low:.3f} to {theirs.interval.high:.3f})"
    )
    if found.difference is not None:
        low, high = found.difference.interval
        text += f", difference {found.difference.value:+.3f} ({low:+.3f} to {high:+.3f})"
    return f"{text}, n={mine.n}."
