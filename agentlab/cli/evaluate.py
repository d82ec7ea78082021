"""`agentlab evaluate`: what the library is worth on tasks that nothing was learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agentlab.types import Split

from agentlab.cli.budgets import given_budgets, model_budget_options
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


@click.command()
@click.argument("environment", metavar="[ENV]", required=False)
@workspace_option
@option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A run's TOML file: its environment, models, roles and endpoint; flags outrank it.",
)
@option("--model", metavar="NAME", help="What attempts. [default: search]")
@option("--base-url", metavar="URL", help="Where chat models are. [default: OPENAI_BASE_URL]")
@option("--executor", metavar="NAME", help="How a chat model attempts tasks; `react` unless said.")
@option("--evaluator", metavar="NAME", help="Who scores. [default: verifier, or judge]")
@option("--concurrency", type=Whole(), help="Attempts at a time; 0 chooses. [default: 0]")
@option("--tasks", type=Whole(1), help="Distinct tasks. [default: 120]")
@option("--tool-calls", type=Whole(1), help="Tool calls an attempt may try. [default: 1000]")
@option("--seed", type=Whole(), help="Chooses tasks and draws. [default: 0]")
@option("--baseline", is_flag=True, help="Compare with an empty library, task by task.")
@option(
    "--split", type=click.Choice(["practice", "dev", "heldout"]), default="heldout",
    show_default=True, help="Which tasks.",
)  # fmt: skip
@option("--no-library", is_flag=True, help="Leave the library out.")
@option("--arm", "arms", multiple=True, metavar="NAME", help="A further model; may be repeated.")
@option("--index", type=click.Choice(["chroma", "exact"]), help="Vector index. [default: chroma]")
@option("--embedder", metavar="NAME", help="What makes the vectors. [default: lexical]")
@environment_options
@model_budget_options
@box_options
@observing_options
@output_options
def evaluate(
    environment: str | None,
    workspace: Path,
    config_file: Path | None,
    tasks: int | None,
    tool_calls: int | None,
    seed: int | None,
    baseline: bool,
    split: Split,
    no_library: bool,
    arms: tuple[str, ...],
    pairs: tuple[str, ...],
    view: str | None,
    toolset: str | None,
    box: str | None,
    unsafe_local: bool,
    as_json: bool,
    display: DisplayName | None,
    **options: Any,
) -> None:
    """Measure success in ENV, on held-out tasks unless told otherwise.

    Nothing is learnt and nothing is withheld.
    """
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        from agentlab.analysis.tally import Plan
        from agentlab.cli.display import shown
        from agentlab.cli.ending import tell_evaluation
        from agentlab.config import PracticeConfig, load_config
        from agentlab.runner import evaluate as measure

        if environment is None and config_file is None:
            raise click.UsageError("Name an environment, as in `agentlab evaluate babyai`.")
        watched = Watching.of(workspace, options)
        overrides: dict[str, Any] = {"environment": environment, **given_budgets(options)}
        overrides["endpoint.base_url"] = options.pop("base_url")
        overrides["box"] = named_box(box, unsafe_local=unsafe_local)
        for name, value in gather_options(pairs, view=view, toolset=toolset).items():
            overrides[f"environment_options.{name}"] = value
        overrides |= {"seed": seed, "heldout_tool_calls": tool_calls, **options}
        config = load_config(config_file, **overrides)
        with watched.observers() as more, shown(watched.display(display), Plan()) as watching:
            report = measure(
                config,
                workspace=workspace,
                tasks=tasks or config.heldout or PracticeConfig().heldout,
                tool_calls=config.heldout_tool_calls,
                seed=config.seed,
                baseline=baseline,
                split=split,
                library=not no_library,
                arms=arms,
                observers=(watching, *more),
            )
        output.document(report)
        tell_evaluation(report, output)
        if baseline:
            output.next("skills", "list")
        else:
            output.next("evaluate", config.environment, "--baseline")
