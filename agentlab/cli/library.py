"""`agentlab library`: the index under it, which can be made again, and whom its items serve."""

from __future__ import annotations

from pathlib import Path

import click

from agentlab.cli.options import DisplayName, option, output_options, workspace_option


@click.group()
def library() -> None:
    """Look after the library's index, and let an item serve more people."""


@library.command()
@option(
    "--embedder", metavar="NAME", default="lexical", show_default=True,
    help="What makes the vectors.",
)  # fmt: skip
@workspace_option
@output_options
def reindex(embedder: str, workspace: Path, as_json: bool, display: DisplayName | None) -> None:
    """Make the vector index again from the records. Nothing is lost by it."""
    from agentlab.cli.output import Table, opened

    with opened(as_json=as_json, display=display) as output:
        from agentlab.analysis.figures import count
        from agentlab.library.catalogue import reindex as rebuild

        report = rebuild(workspace, embedder=embedder)
        output.document(report)
        output.line(
            f"Indexed {count(report.items, 'item')} with {report.backend} and the embedder "
            f"{report.embedder} in {report.seconds:.1f} s ({report.embedded} embedded anew)."
        )
        if report.collections:
            rows = [[c.environment, c.kind, str(c.items)] for c in report.collections]
            output.table(Table("", ("environment", "kind", "items"), rows, frozenset({2})))
        output.next("skills", "list")


@library.command()
@click.argument("item", metavar="ITEM")
@option("--to", metavar="SCOPE", help="shared, tenant or user, or a scope as TENANT[/USER].")
@option("--reason", metavar="TEXT", default="", help="Why, for the record.")
@option("--undo", is_flag=True, help="Take the item's last promotion back instead.")
@workspace_option
@output_options
def promote(
    item: str,
    to: str | None,
    reason: str,
    undo: bool,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Let ITEM, an id or a skill's name, serve its tenant or everybody; or take that back.

    Only what was verified may go, with what vouches for it, and it goes by this command alone.
    """
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        from agentlab.errors import UsageError
        from agentlab.library.promotion import promoted, taken_back
        from agentlab.types import Level, Scope
        from agentlab.types.scope import LEVELS

        if undo == (to is not None):
            raise UsageError("Say with --to where the item is to go, or --undo; one of them.")
        if to is None:
            done = taken_back(workspace, item)
        else:
            levels: dict[str, Level] = {level: level for level in LEVELS}
            where = levels.get(to) or Scope.parse(to)
            done = promoted(workspace, item, to=where, reason=reason)
        output.document(done)
        output.line(
            f"{done.name} of {done.environment} went from {done.before or 'the shared scope'} to "
            f"{done.after or 'the shared scope'}."
        )
        if not undo:
            words = ("library", "promote", done.id, "--undo")
            output.next(*words, without=("to", "reason"))
