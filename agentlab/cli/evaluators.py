"""`agentlab evaluators`: what can score an attempt, and how far a judge may be trusted."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.cli.figures import count, percent, span
from agentlab.cli.options import (
    DisplayName,
    Whole,
    option,
    output_options,
    workspace_option,
)
from agentlab.cli.output import Output, Table, opened

if TYPE_CHECKING:
    from agentlab.models.opening import Endpoints
    from agentlab.protocols import ChatModel
    from agentlab.records.calibrations import Calibration, Figure, Figures
    from agentlab.types import JsonObject

RATES = (
    ("precision", "of its successes, those that are"),
    ("recall", "of the successes, those it sees"),
    ("specificity", "of the failures, those it sees"),
    ("agreement", "attempts on which both say the same"),
    ("unknown", "attempts that it does not decide"),
)
"""Figures that are shares, and what they are shares of."""
FLOOR = 0.6
"""`records.calibrations.KAPPA_FLOOR`, which is not loaded for `--help`."""


@click.group()
def evaluators() -> None:
    """List evaluators, or measure a judge by the verifier."""


@evaluators.command("list")
@workspace_option
@output_options
def list_(workspace: Path, as_json: bool, display: DisplayName | None) -> None:
    """The evaluators that can be named here, plugins too, and the judges that were measured."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.registry import names

        found = [_describe(name) for name in names("evaluator")]
        measured = _measured(workspace)
        output.document(
            {
                "evaluators": [dict(each) for each in found],
                "calibrations": [each.model_dump(mode="json") for each in measured],
            }
        )
        rows = [
            [
                str(each["name"]),
                "ready" if each["available"] else str(each["hint"]),
                str(each["summary"]),
            ]
            for each in found
        ]
        output.table(Table("", ("evaluator", "state", "what it is"), rows))
        if measured:
            output.table(_calibrations(measured))
        output.next("evaluators", "calibrate", "judge", "--help")


@evaluators.command()
@click.argument("evaluator", metavar="NAME")
@workspace_option
@option("--run", "runs", multiple=True, metavar="RUN", help="Read this run; may be repeated.")
@option("--environment", metavar="ENV", help="Read attempts in this environment.")
@option("--model", metavar="NAME", required=True, help="The judge's chat model: openai:<model>.")
@option("--stronger", metavar="NAME", help="A chat model that is asked where it is undecided.")
@option("--base-url", metavar="URL", help="The endpoint. [default: OPENAI_BASE_URL]")
@option("--samples", type=Whole(1), help="Readings of each attempt. [default: the evaluator's]")
@option("--limit", type=Whole(1), default=200, show_default=True, help="Attempts judged, at most.")
@option("--heldout", is_flag=True, help="Measure on held-out tasks too; reported, never decides.")
@option(
    "--floor", type=click.FloatRange(-1, 1), default=FLOOR, show_default=True,
    help="What the lower end of kappa must reach.",
)  # fmt: skip
@option("--seed", type=Whole(), default=0, show_default=True, help="Draws the attempts.")
@output_options
def calibrate(
    evaluator: str,
    workspace: Path,
    runs: tuple[str, ...],
    environment: str | None,
    model: str,
    stronger: str | None,
    base_url: str | None,
    samples: int | None,
    limit: int,
    heldout: bool,
    floor: float,
    seed: int,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Measure the judge NAME by the verifier, on recorded attempts.

    The judge reads each attempt as if nobody knew how it ended. What is found is kept in the
    workspace, and decides there whether its verdicts may admit items or label exports.
    """
    with opened(as_json=as_json, display=display) as output:
        from agentlab.analysis.calibration import Scope
        from agentlab.analysis.calibration import calibrate as measure
        from agentlab.models.opening import Endpoints
        from agentlab.records.calibrations import refusal

        endpoints = Endpoints()
        found = measure(
            workspace,
            evaluator,
            model=_opened(model, base_url, seed, endpoints),
            stronger=_opened(stronger, base_url, seed, endpoints) if stronger else None,
            scope=Scope(runs, environment or "", limit, heldout, seed),
            options={"samples": samples} if samples is not None else None,
            closing=endpoints.close,
        )
        why_not = refusal(found, floor=floor)
        output.document(
            {
                **found.model_dump(mode="json"),
                "floor": floor,
                "allowed": why_not is None,
                "why_not": why_not,
            }
        )
        _tell(found, output)
        output.line()
        output.line(
            why_not or "Its verdicts may admit items and label exports in this environment."
        )
        if why_not is None:
            output.next("practice", found.environment, "--model", model)
        else:
            output.next("evaluators", "list")


def _opened(spec: str, base_url: str | None, seed: int, endpoints: Endpoints) -> ChatModel:
    from agentlab.models.opening import open_model

    return open_model(spec, base_url=base_url, seed=seed, endpoints=endpoints)


def _describe(name: str) -> JsonObject:
    from agentlab.errors import AgentLabError
    from agentlab.registry import BUILT_IN, resolve

    described: JsonObject = {
        "name": name,
        "origin": "agentlab" if f"evaluator/{name}" in BUILT_IN else "plugin",
        "available": True,
        "hint": "",
        "summary": "",
    }
    try:
        with warnings.catch_warnings():
            # A plugin that fails to import warns; here the hint says so.
            warnings.simplefilter("ignore", RuntimeWarning)
            made: Any = resolve("evaluator", name)
    except AgentLabError as error:
        return described | {"available": False, "hint": str(error)}
    module = inspect.getmodule(made)
    # A module's first line says what is asked, a class's what it is for.
    summary = inspect.getdoc(module) or inspect.getdoc(made) or ""
    return described | {"summary": summary.partition("\n")[0]}


def _measured(workspace: Path) -> list[Calibration]:
    """The calibrations of a workspace; none where there is no workspace yet."""
    from agentlab.errors import UsageError
    from agentlab.records.calibrations import Calibrations
    from agentlab.records.workspace import Workspace

    try:
        return Calibrations(Workspace.open(workspace, create=False)).all()
    except UsageError:
        return []


def _calibrations(measured: Sequence[Calibration]) -> Table:
    rows = [
        [
            each.judge,
            each.evaluator,
            str(each.identity.get("model") or "-"),
            each.environment,
            _kappa(each.figures.kappa if each.figures else None),
            str(each.figures.attempts if each.figures else 0),
        ]
        for each in measured
    ]
    heads = ("judge", "evaluator", "model", "environment", "kappa", "n")
    return Table("Measured by the verifier", heads, rows, frozenset({5}))


def _tell(found: Calibration, output: Output) -> None:
    for title, figures in (
        ("against the verifier", found.figures),
        ("on held-out tasks, reported only", found.heldout),
    ):
        if figures is None:
            continue
        rows = [[name, *_rate(getattr(figures, name)), what] for name, what in RATES]
        rows.append(["kappa", *_number(figures.kappa), "agreement beyond chance"])
        heads = ("figure", "value", "95% interval", "n", "what it is")
        label = f"{found.evaluator} in {found.environment}, {title}"
        output.table(Table(label, heads, rows, frozenset({1, 3})))
        output.line(_counts(figures))
    spent = found.spent
    cost = f"${spent.usd:.4f}" if spent.usd is not None else "at an unknown price"
    output.line()
    output.line(
        f"{count(spent.calls, 'model call')}, {count(spent.tokens, 'token')}, {cost}, "
        f"{spent.seconds:.0f} s."
    )
    if found.failed:
        output.line(
            f"{count(found.failed, 'attempt')} could not be judged, since the endpoint failed."
        )
    output.line(f"Kept as {found.judge}.")


def _counts(figures: Figures) -> str:
    return (
        f"{count(figures.attempts, 'attempt')} at {count(figures.tasks, 'task')}: both say success "
        f"{figures.both}, the judge alone {figures.judge_only}, the verifier alone "
        f"{figures.verifier_only}, neither {figures.neither}."
    )


def _rate(figure: Figure | None) -> tuple[str, str, str]:
    if figure is None:
        return ("-", "-", "0")
    return (percent(figure.value), span(figure.low, figure.high), str(figure.n))


def _number(figure: Figure | None) -> tuple[str, str, str]:
    if figure is None:
        return ("-", "-", "0")
    return (f"{figure.value:.2f}", f"{figure.low:.2f} to {figure.high:.2f}", str(figure.n))


def _kappa(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"
