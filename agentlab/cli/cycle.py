"""`agentlab cycle`: practise, export, train, serve and gate, unattended."""

from __future__ import annotations

from pathlib import Path

import click

from agentlab.analysis.figures import count
from agentlab.cli.options import DisplayName, Whole, option, output_options, workspace_option


@click.command()
@click.argument("config_file", metavar="CONFIG", type=click.Path(dir_okay=False, path_type=Path))
@option("--iterations", type=Whole(1), metavar="N", help="How many. [default: the file's]")
@workspace_option
@output_options
def cycle(
    config_file: Path,
    iterations: int | None,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Practise, train on what was practised, and let the weights serve if they win; then again.

    CONFIG is a TOML file with the tables [practice], [[train]], [serve], [gate] and [budget].
    Interrupted at any moment, the same command goes on where it was.
    """
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        import asyncio

        from agentlab.analysis.tally import Plan
        from agentlab.cli.display import shown
        from agentlab.cycle.settings import load_cycle
        from agentlab.cycle.work import cycle as work

        config = load_cycle(config_file, iterations=iterations)
        plan = Plan.of(config.practice.model_dump(mode="json"))
        with shown(display, plan) as watching:
            report = asyncio.run(work(config, workspace, observers=(watching,)))
        output.document(report)
        output.line(
            f"{count(report.iterations, 'iteration')} complete; the policy {report.policy!r} is "
            f"served by {report.serves}.",
            strong=True,
        )
        if report.reason:
            output.line(f"Stopped: {report.reason}.")
        for number, stage in report.stages:
            output.line(f"  {number} {stage.stage}: {stage.told}")
        output.next("serving", "list")
