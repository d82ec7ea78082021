"""`agentlab evaluate`: what the library is worth on tasks that nothing was learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agentlab.config import IndexName
    from agentlab.types import Split

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
@click.argument("environment", metavar="ENV")
@workspace_option
@option("--model", metavar="NAME", default="search", show_default=True, help="What attempts.")
@option("--base-url", metavar="URL", default="", help="Where chat models are.")
@option("--executor", metavar="NAME", default="", help="How a chat model attempts tasks.")
@option("--evaluator", metavar="NAME", default="", help="Who scores. [default: verifier, or judge]")
@option("--concurrency", type=Whole(), default=0, help="Attempts at a time; 0 chooses.")
@option("--tasks", type=Whole(1), default=120, show_default=True, help="Distinct tasks.")
@option(
    "--tool-calls", type=Whole(1), default=1000, show_default=True,
    help="Tool calls an attempt may try.",
)  # fmt: skip
@option("--seed", type=Whole(), default=0, show_default=True, help="Chooses tasks and draws.")
@option("--baseline", is_flag=True, help="Compare with an empty library, task by task.")
@option(
    "--split", type=click.Choice(["practice", "dev", "heldout"]), default="heldout",
    show_default=True, help="Which tasks.",
)  # fmt: skip
@option("--no-library", is_flag=True, help="Leave the library out.")
@option("--arm", "arms", multiple=True, metavar="NAME", help="A further model; may be repeated.")
@option(
    "--index", type=click.Choice(["chroma", "exact"]), default="chroma", show_default=True,
    help="Vector index.",
)  # fmt: skip
@option(
    "--embedder", metavar="NAME", default="lexical", show_default=True,
    help="What makes the vectors.",
)  # fmt: skip
@environment_options
@box_options
@output_options
def evaluate(
    environment: str,
    workspace: Path,
    model: str,
    base_url: str,
    executor: str,
    evaluator: str,
    concurrency: int,
    tasks: int,
    tool_calls: int,
    seed: int,
    baseline: bool,
    split: Split,
    no_library: bool,
    arms: tuple[str, ...],
    index: IndexName,
    embedder: str,
    pairs: tuple[str, ...],
    view: str | None,
    toolset: str | None,
    box: str | None,
    unsafe_local: bool,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Measure success in ENV, on held-out tasks unless told otherwise.

    Nothing is learnt and nothing is withheld.
    """
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        given = gather_options(pairs, view=view, toolset=toolset)
        from agentlab.cli.display import shown
        from agentlab.cli.ending import tell_evaluation
        from agentlab.cli.tally import Plan
        from agentlab.runner import evaluate as measure

        with shown(display, Plan()) as watching:
            report = measure(
                environment,
                workspace=workspace,
                model=model,
                base_url=base_url,
                executor=executor,
                evaluator=evaluator,
                concurrency=concurrency,
                tasks=tasks,
                tool_calls=tool_calls,
                seed=seed,
                baseline=baseline,
                split=split,
                library=not no_library,
                arms=arms,
                observers=(watching,),
                environment_options=given or None,
                embedder=embedder,
                index=index,
                box=named_box(box, unsafe_local=unsafe_local) or "auto",
            )
        output.document(report)
        tell_evaluation(report, output)
        if baseline:
            output.next("skills", "list")
        else:
            output.next("evaluate", environment, "--baseline")
