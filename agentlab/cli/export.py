"""`agentlab export`: the attempts of runs as data that trainers read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from agentlab.analysis.figures import count
from agentlab.cli.options import DisplayName, option, output_options, scope_option, workspace_option
from agentlab.cli.output import Output, opened

if TYPE_CHECKING:
    from agentlab.training.exporting import ExportReport, ViewName


INSPECT = "inspect"
"""The format that is no data, but logs for Inspect View."""


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@option("--format", "form", required=True, metavar="NAME",
        help="chat, trl-chat, trl-sft, trl-dpo, trl-kto, trl-grpo-replay, openenv, verifiers, art, "
        "verl-rl, verl-sft, ms-swift, llama-factory or hf-dataset; or inspect, which is no data to "
        "train on but logs for Inspect View.")  # fmt: skip
@option("--view", metavar="NAME",
        help="What to learn from: successes, masked, repairs, reflectors, splices, pairs, "
        "verifier, verdicts, groups, retries, replayed, hinted, chains, proposals or levels. "
        "[default: the first that the format takes]")  # fmt: skip
@option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path),
        help="A new folder.")  # fmt: skip
@option("--terms", multiple=True, metavar="MODEL=TERMS",
        help="What lets that model's output be trained on. May be repeated.")  # fmt: skip
@option("--judged", is_flag=True, help="Take a judge's verdicts where no verifier scored.")
@option("--template", metavar="TEXT", help="Only tasks whose template holds this text.")
@option("--estimator", metavar="NAME",
        help="Write advantages beside groups: grpo, dr-grpo, rloo, rae, gigpo, reflect or "
        "hierarchical.")  # fmt: skip
@option("--licence", metavar="TEXT",
        help="Of what the environment shows; goes with each row.")  # fmt: skip
@option("--tokenizer", metavar="DIR", type=click.Path(path_type=Path),
        help="Folder of the model that was asked, to check token ids with.")  # fmt: skip
@option("--reserved", is_flag=True,
        help="With inspect: attempts at reserved tasks too, in files of their own.")  # fmt: skip
@scope_option
@workspace_option
@output_options
def export(
    runs: tuple[str, ...],
    form: str,
    view: str | None,
    out: Path,
    terms: tuple[str, ...],
    judged: bool,
    template: str | None,
    estimator: str | None,
    licence: str | None,
    tokenizer: Path | None,
    reserved: bool,
    scope: str,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Write the practice attempts of RUNs as data to train on, which nothing held out ever is.

    With --format inspect they are written as logs to look at: `inspect view --log-dir DIR`.
    """
    with opened(as_json=as_json, display=display) as output:
        if form == INSPECT:
            of_training = {
                "--view": view, "--terms": terms, "--judged": judged, "--template": template,
                "--estimator": estimator, "--licence": licence, "--tokenizer": tokenizer,
                "--scope": scope,
            }  # fmt: skip
            _logs(
                runs,
                out,
                [n for n, value in of_training.items() if value],
                reserved,
                workspace,
                output,
            )
            return
        if reserved:
            raise click.BadParameter(
                "what is reserved is never data to train on; only --format inspect takes it.",
                param_hint="'--reserved'",
            )
        from agentlab.models.vocabulary import read_vocabulary
        from agentlab.records import Records, Workspace
        from agentlab.training.exporting import ExportRequest
        from agentlab.training.exporting import export as write
        from agentlab.types import Scope

        request = ExportRequest(
            run_ids=tuple(dict.fromkeys(runs)),
            format=form,
            view=cast("ViewName | None", view),
            terms=_terms(terms),
            judged=judged,
            template=template,
            estimator=estimator,
            licence=licence or "",
            vocabulary=read_vocabulary(tokenizer) if tokenizer is not None else None,
            scope=Scope.parse(scope),
        )
        with Records.open(Workspace.open(workspace, create=False)) as records:
            report = write(records, request, out)
        output.document(report)
        _tell(report, output)


def _logs(
    runs: tuple[str, ...],
    out: Path,
    refused: list[str],
    reserved: bool,
    workspace: Path,
    output: Output,
) -> None:
    """Logs for Inspect View, in place of data."""
    if refused:
        raise click.BadParameter(
            "it says what is trained on, and --format inspect writes logs to look at.",
            param_hint=f"'{refused[0]}'",
        )
    from agentlab.records import Records, Workspace
    from agentlab.telemetry.inspect_log import export_inspect

    with Records.open(Workspace.open(workspace, create=False)) as records:
        report = export_inspect(records, runs, out, reserved=reserved)
    output.document(report)
    for file in report.files:
        kept = "" if file.split == "practice" else ", reserved: not to be learnt from"
        output.line(f"Wrote {count(file.samples, 'attempt')} ({file.split}{kept}) to {file.path}.")
    if report.reserved:
        output.line(
            f"Left out {count(report.reserved, 'attempt')} at tasks of dev and heldout, which "
            "--reserved writes."
        )
    output.line(f"To look at them: inspect view --log-dir {out}")


def _terms(said: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Models with their terms.

    Raises:
        UsageError: one names no model or no terms.
    """
    from agentlab.errors import UsageError

    found: list[tuple[str, str]] = []
    for each in said:
        model, sign, text = each.partition("=")
        if not sign or not model.strip() or not text.strip():
            raise UsageError(
                f"--terms {each!r} is no MODEL=TERMS; write it as 'my-model=Apache-2.0'."
            )
        found.append((model.strip(), text.strip()))
    return tuple(found)


def _tell(report: ExportReport, output: Output) -> None:
    output.line(
        f"Wrote {count(report.rows, 'row')} of {count(report.samples, 'sample')} from "
        f"{count(report.rollouts, 'attempt')} to {report.out}.",
        strong=True,
    )
    output.line(f"Format {report.format}, view {report.view}.")
    if report.tokens:
        output.line(
            f"{report.trained} of {report.tokens} tokens count in the loss "
            f"({report.trained / report.tokens:.0%}); {count(report.forks, 'row')} began anew "
            "within an attempt."
        )
    if report.groups:
        output.line(
            f"{report.alike} of {count(report.groups, 'group')} have the same reward throughout "
            "and teach a comparison nothing."
        )
    if len(report.staleness) > 1:
        told = ", ".join(f"{number} of {age}" for age, number in report.staleness.items())
        output.line(f"Attempts by rounds before the newest: {told}.")
    if report.unverified and report.tokens:
        output.line(
            f"{report.unverified} of the attempts have token ids that nothing could check; name "
            "the model's folder with --tokenizer."
        )
    for note in report.notes:
        output.line(f"Note: {note}")
    for reason, number in report.refused.items():
        output.line(f"  {number} refused: {reason}")
    if report.refused:
        output.line(f"Each with its reason in {report.out}/refusals.jsonl.")
