"""`agentlab view`: a local page that follows runs live and reads old ones, or one file of it."""

from __future__ import annotations

from pathlib import Path

import click

from agentlab.cli.options import Whole, option, workspace_option


@click.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@option("--html", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
        help="Write one file that holds everything, pictures too, and serve nothing.")  # fmt: skip
@option("--html-mib", type=Whole(1), default=20, show_default=True, metavar="MIB",
        help="How large that file may become; it says what was left out.")  # fmt: skip
@option("--port", type=Whole(), default=0, help="On 127.0.0.1; 0 takes a free one. [default: 0]")
@option("--no-open", is_flag=True, help="Print the link, and open no browser.")
@workspace_option
def view(
    runs: tuple[str, ...],
    html: Path | None,
    html_mib: int,
    port: int,
    no_open: bool,
    workspace: Path,
) -> None:
    """Look at RUNs, or at every run: success, tasks, attempts, skills, insights, packs, gates.

    The page is served on this machine alone until Ctrl-C, and the first line on stdout is its link,
    with a token that is new each time. It follows runs that are under way. RUN is an id or the
    directory of a run.
    """
    from agentlab.analysis.runs import located
    from agentlab.records import Records, Workspace
    from agentlab.view.pages.runs import shown
    from agentlab.view.starting import check_extra, serve

    check_extra()
    places = [located(workspace, run) for run in dict.fromkeys(runs)]
    homes = {Path(place).absolute() for place, _ in places}
    if len(homes) > 1:
        raise click.UsageError(
            "The runs are of several workspaces, and a page shows one; name runs of one of them."
        )
    home = homes.pop() if homes else workspace
    with Records.open(Workspace.open(home, create=False)) as records:
        ids = [shown(records, run) for _, run in places]
        if html is not None:
            from agentlab.analysis.figures import count
            from agentlab.view.bundle import write

            told = write(records, html, only=ids, most_bytes=html_mib << 20)
            size = f"{told.size / 1024:,.0f} KiB"
            click.echo(f"Wrote {count(told.pages, 'page')} to {html} ({size}).")
            for line in told.left_out:
                click.echo(f"  left out: {line}")
            return
        serve(records, only=ids, port=port, open_browser=not no_open, say=_say)


def _say(link: str) -> None:
    click.echo(link)
    click.echo("Ctrl-C ends it.", err=True)
