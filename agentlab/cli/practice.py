"""`agentlab practice` and `agentlab resume`: a run from start, or from where it stopped."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.cli.budgets import budget_flags, budget_options, given_budgets, preflight
from agentlab.cli.failures import FAILED, Interruption
from agentlab.cli.following import Place
from agentlab.cli.observing import Watching, observing_options
from agentlab.cli.options import (
    DisplayName,
    Whole,
    box_options,
    environment_options,
    gather_options,
    named_box,
    option,
    output_options,
    workspace_option,
)

if TYPE_CHECKING:
    from agentlab.analysis.tally import Plan
    from agentlab.cli.display import RunName
    from agentlab.cli.output import Output
    from agentlab.types.report import PracticeReport


@click.command()
@click.argument("environment", metavar="[ENV]", required=False)
@workspace_option
@option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TOML file with options; variables and flags outrank it.",
)
@option("--seed", type=Whole(), help="Everything random follows from it. [default: 0]")
@option("--rounds", type=Whole(1), help="Rounds. [default: 5]")
@option("--proposals", type=Whole(1), help="Tasks proposed a round. [default: 100]")
@option("--attempts", type=Whole(1), help="Attempts a round. [default: 100]")
@option("--tool-calls", type=Whole(1), help="Tool calls an attempt may try. [default: 600]")
@option(
    "--model",
    metavar="NAME",
    help="`search`, or a chat model such as `openai:MODEL`, `vllm:MODEL`. [default: search]",
)
@option("--base-url", metavar="URL", help="Where chat models are. [default: OPENAI_BASE_URL]")
@option("--executor", metavar="NAME", help="How a chat model attempts tasks; `react` unless said.")
@option(
    "--proposer",
    metavar="NAME",
    help="Who makes tasks; with a chat model `context`. [default: grammar]",
)
@option(
    "--evaluator",
    metavar="NAME",
    help="Who scores; with a chat model `judge`. [default: verifier]",
)
@option(
    "--curator",
    metavar="NAME",
    help="Who writes skills; with a chat model `skills`. [default: generalise]",
)
@option(
    "--insights",
    metavar="NAME",
    help="Who writes advice; with a chat model `alphaopt`. [default: none]",
)
@option(
    "--demonstrations",
    multiple=True,
    metavar="FILE",
    help="A recording to begin with: a script of playwright's codegen, or a trace; repeatable.",
)
@option("--curriculum", metavar="NAME", help="How tasks are chosen. [default: learning_progress]")
@option("--concurrency", type=Whole(), help="Attempts at a time; 0 for one a core. [default: 0]")
@environment_options
@option("--index", type=click.Choice(["chroma", "exact"]), help="Vector index. [default: chroma]")
@option("--embedder", metavar="NAME", help="What makes the vectors. [default: lexical]")
@option(
    "--heldout",
    type=Whole(),
    help="Held-out tasks for the closing comparison; 0 for none. [default: 120]",
)
@option("--heldout-tool-calls", type=Whole(1), help="Tool calls each may try. [default: 1000]")
@budget_options
@option("--no-admission", is_flag=True, help="Serve every candidate unchecked: an ablation.")
@option("--no-compose", is_flag=True, help="Skills do not call skills: an ablation.")
@box_options
@observing_options
@output_options
def practice(
    environment: str | None,
    workspace: Path,
    config_file: Path | None,
    as_json: bool,
    display: DisplayName | None,
    pairs: tuple[str, ...],
    view: str | None,
    toolset: str | None,
    no_admission: bool,
    no_compose: bool,
    box: str | None,
    unsafe_local: bool,
    **options: Any,
) -> None:
    """Practise in ENV: propose tasks, attempt them, keep the skills that work.

    Ends with a comparison on held-out tasks: with the library against an empty one.
    """
    from agentlab.analysis.tally import Plan
    from agentlab.cli.output import opened
    from agentlab.config import load_config

    with opened(as_json=as_json, display=display) as output:
        if environment is None and config_file is None:
            raise click.UsageError("Name an environment, as in `agentlab practice babyai`.")
        watched = Watching.of(workspace, options)
        overrides: dict[str, Any] = {"environment": environment, **given_budgets(options)}
        overrides |= options
        overrides["demonstrations"] = list(overrides.pop("demonstrations")) or None
        overrides["endpoint.base_url"] = overrides.pop("base_url", None)
        for name, value in gather_options(pairs, view=view, toolset=toolset).items():
            overrides[f"environment_options.{name}"] = value
        overrides["admission.enabled"] = False if no_admission else None
        overrides["compose"] = False if no_compose else None
        overrides["box"] = named_box(box, unsafe_local=unsafe_local)
        config = load_config(config_file, **overrides)

        from agentlab.runner import practice as run

        plan = Plan.of(config.model_dump(mode="json"), preflight=preflight(config))
        with watched.observers() as more, _watched(watched.display(display), plan) as observers:
            report = run(config, workspace=workspace, observers=(*observers, *more))
        _tell(report, output, Place(""))


@click.command()
@click.argument("run", metavar="RUN")
@workspace_option
@budget_options
@observing_options
@output_options
def resume(
    run: str, workspace: Path, as_json: bool, display: DisplayName | None, **options: Any
) -> None:
    """Go on with RUN, an id or a run directory, where it stopped.

    Its options are those it was started with, but for budgets, which may be other ones.
    """
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        from agentlab.analysis.runs import show_run
        from agentlab.analysis.tally import Plan
        from agentlab.runner import resume as go_on

        at = Place(run)
        watched = Watching.of(Path(at.words[1]) if at.words else workspace, options)
        budgets = given_budgets(options)
        known = show_run(workspace, run)
        plan = Plan.of(known.config, budgets={**known.budgets, **budgets})
        with watched.observers() as more, _watched(watched.display(display), plan) as observers:
            place = None if at.words else workspace
            report = go_on(run, workspace=place, observers=(*observers, *more), **budgets)
        _tell(report, output, at)


@contextmanager
def _watched(display: DisplayName | None, plan: Plan) -> Generator[tuple[Any, RunName]]:
    from agentlab.cli.display import RunName, shown

    name = RunName()
    try:
        with shown(display, plan) as chosen:
            yield (chosen, name)
    except KeyboardInterrupt:
        if name.run_id is None:
            raise
        from agentlab.cli.output import command_line

        again = command_line("resume", name.run_id)
        raise Interruption(f"Interrupted; `{again}` goes on.") from None


def _tell(report: PracticeReport, output: Output, at: Place) -> None:
    from agentlab.cli.ending import tell_practice
    from agentlab.types.report import INTERRUPTED, WAITS

    output.document(report)
    tell_practice(report, output)
    if report.skills.waiting and report.reason in ("", WAITS):
        output.next("skills", "waiting", *at.words)
    elif report.insights.waiting and report.reason in ("", WAITS):
        output.next("insights", "waiting", *at.words)
    elif report.status != "finished":
        output.next("resume", report.run_id, *budget_flags(report.goes_on_with), *at.words)
    elif report.learnt:
        first = report.learnt[0]
        whose = ("--environment", first.environment) if first.shares_name else ()
        output.next("skills", "show", first.name, *whose, *at.words)
    else:
        output.next("runs", "show", report.run_id, *at.words)
    if report.status == "stopped" and report.reason == INTERRUPTED:
        raise click.exceptions.Exit(Interruption.exit_code)
    if report.status == "failed":
        raise click.exceptions.Exit(FAILED)
