"""`agentlab library`: the index under the library, which is derived and can be made again."""

from __future__ import annotations

from pathlib import Path

import click

from agentlab.cli.options import DisplayName, option, output_options, workspace_option


@click.group()
def library() -> None:
    """Look after the library's index."""


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
        from agentlab.cli.figures import count
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
