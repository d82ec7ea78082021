"""The command `agentlab`: its groups, and what a failure in any of them looks like."""

from __future__ import annotations

from typing import Any

import click

from agentlab import __version__
from agentlab.cli.cycle import cycle
from agentlab.cli.doctor import doctor
from agentlab.cli.envs import envs
from agentlab.cli.evaluate import evaluate
from agentlab.cli.evaluators import evaluators
from agentlab.cli.export import export as export_rows
from agentlab.cli.failures import sentences
from agentlab.cli.gate import gate, rollback
from agentlab.cli.insights import insights
from agentlab.cli.keys import keys
from agentlab.cli.library import library
from agentlab.cli.mcp import mcp
from agentlab.cli.options import name_variables
from agentlab.cli.packs import packs
from agentlab.cli.packs_change import diff, export, merge, revoke, undo
from agentlab.cli.practice import practice, resume
from agentlab.cli.record import record
from agentlab.cli.runs import runs
from agentlab.cli.serve_local import serve_local
from agentlab.cli.serving import serving
from agentlab.cli.skills import skills
from agentlab.cli.train import train
from agentlab.cli.view import view


class Root(click.Group):
    """The outermost group. Whatever is wrong is told in one sentence, on stderr."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse the options before the first command."""
        with sentences():
            return super().make_context(info_name, args, parent=parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with sentences():
            return super().invoke(ctx)


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    click.echo(f"agentlab {__version__}")
    context.exit()


@click.group(
    cls=Root,
    invoke_without_command=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and exit.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """An agent that practises: it sets itself tasks, keeps the skills that work, and measures.

    Each option has an environment variable, AGENTLAB_<COMMAND>_<OPTION>, such as
    AGENTLAB_PRACTICE_ROUNDS; AGENTLAB_WORKSPACE and AGENTLAB_DISPLAY hold for all commands.
    Exit codes: 0 done, 1 failed, 2 asked for wrongly, 130 interrupted.

    Start with `agentlab practice babyai`.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for change in (export, diff, merge, revoke, undo):
    packs.add_command(change)
for command in (
    practice,
    evaluate,
    resume,
    runs,
    skills,
    insights,
    evaluators,
    export_rows,
    gate,
    cycle,
    rollback,
    serving,
    record,
    train,
    library,
    envs,
    doctor,
    packs,
    keys,
    serve_local,
    mcp,
    view,
):
    cli.add_command(command)
name_variables(cli)


def main() -> None:
    """What the script `agentlab` calls."""
    cli(prog_name="agentlab")
