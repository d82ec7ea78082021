"""`agentlab evaluators`: what can score an attempt, and how far a judge may be trusted."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.analysis.figures import count, percent, span
from agentlab.cli.options import (
    DisplayName,
    Whole,
    option,
    output_options,
    workspace_option,
)
from agentlab.cli.output import Output, Table, opened

if TYPE_CHECKING:
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
@option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A run's TOML file: its evaluator's models, their sampling, the endpoint, the floor.",
)
@option("--model", metavar="NAME", help="The judge's chat model: openai:<model>.")
@option("--stronger", metavar="NAME", help="A chat model that is asked where it is undecided.")
@option("--base-url", metavar="URL", help="The endpoint. [default: OPENAI_BASE_URL]")
@option(
    "--temperature",
    type=click.FloatRange(0, 2),
    help="As roles.evaluator.temperature of a run. [default: the evaluator's]",
)
@option(
    "--max-tokens",
    type=Whole(1),
    help="As roles.evaluator.max_tokens of a run. [default: the evaluator's]",
)
@option("--samples", type=Whole(1), help="Readings of each attempt. [default: the evaluator's]")
@option("--limit", type=Whole(1), default=200, show_default=True, help="Attempts judged, at most.")
@option("--heldout", is_flag=True, help="Measure on held-out tasks too; reported, never decides.")
@option(
    "--floor", type=click.FloatRange(-1, 1),
    help=f"What the lower end of kappa must reach. [default: the config's, else {FLOOR}]",
)  # fmt: skip
@option("--seed", type=Whole(), default=0, show_default=True, help="Draws the attempts.")
@output_options
def calibrate(
    evaluator: str,
    workspace: Path,
    runs: tuple[str, ...],
    environment: str | None,
    config_file: Path | None,
    model: str | None,
    stronger: str | None,
    base_url: str | None,
    temperature: float | None,
    max_tokens: int | None,
    samples: int | None,
    limit: int,
    heldout: bool,
    floor: float | None,
    seed: int,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Measure the judge NAME by the verifier, on recorded attempts.

    The judge reads each attempt as if nobody knew how it ended. What is found is kept in the
    workspace, and decides there whether its verdicts may admit items or label exports, in runs
    whose judge has the same models, prompts and sampling.
    """
    with opened(as_json=as_json, display=display) as output:
        from agentlab.analysis.calibration import Scope
        from agentlab.analysis.calibration import calibrate as measure
        from agentlab.analysis.runs import config_for
        from agentlab.config import load_config
        from agentlab.graph.jobs import taken_by
        from agentlab.graph.judges import open_bench
        from agentlab.models.prices import load_prices
        from agentlab.records.calibrations import refusal

        if model is None and config_file is None:
            raise click.MissingParameter(param_hint="'--model'", param_type="option")
        config = load_config(
            config_file,
            **{
                "roles.evaluator.model": model,
                "roles.stronger.model": stronger,
                "endpoint.base_url": base_url,
                "roles.evaluator.temperature": temperature,
                "roles.evaluator.max_tokens": max_tokens,
                "judge_floor": floor,
            },
        )
        named = config.environment if "environment" in config.model_fields_set else ""
        bench = open_bench(config)
        more: JsonObject = {} if samples is None else {"samples": samples}
        found = measure(
            workspace,
            evaluator,
            model=bench.model,
            stronger=bench.stronger,
            scope=Scope(runs, environment or named, limit, heldout, seed),
            options={**taken_by(evaluator, bench.options), **more},
            sampling=bench.sampling,
            prices=load_prices(config.endpoint.prices or None),
            closing=bench.close,
        )
        floor = config.judge_floor
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
        if bench.sampling:
            output.line(f"It is the judge of runs whose roles say {_spelt(bench.sampling)}.")
        if why_not is None:
            if config_file is not None:
                output.next("practice", "--config", str(config_file))
            else:
                last = config_for(workspace, found.environment) or {}
                named = str(last.get("environment") or found.environment)
                output.next("practice", named, "--model", bench.model.name)
        else:
            output.next("evaluators", "list")


def _spelt(sampling: JsonObject) -> str:
    """Sampling by role as a config's lines say it."""
    return ", ".join(
        f"{role}.{name} = {value}"
        for role, own in sampling.items()
        if isinstance(own, dict)
        for name, value in own.items()
    )


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
