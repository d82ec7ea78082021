"""Where a command's result goes: text for a person, or one JSON document.

With `--json` stdout belongs to the document alone. Whatever else would be written there, by
a library's banner or by a worker process, is sent to stderr for the rest of the process.
Text that was learnt or came from elsewhere is shown with its control characters spelt out, and
without line breaks unless it is code: no text can add a line that looks like one of ours.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from agentlab.analysis.foreign import clean, unbroken, visible
from agentlab.cli.failures import sentences
from agentlab.cli.following import followed

if TYPE_CHECKING:
    from pydantic import BaseModel, JsonValue
    from rich.console import Console

    from agentlab.cli.options import DisplayName

    Document = BaseModel | dict[str, JsonValue] | Sequence[BaseModel | dict[str, JsonValue]]


NAME_WIDTH = 40


@dataclass(frozen=True)
class Table:
    """Rows under headings. The first column is for names, the others are figures or words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[int] = frozenset()
    """Indices of the columns that are aligned to the right."""


class Output:
    """What a command says when it is done. Text is dropped with `--json`."""

    def __init__(self, *, as_json: bool, display: DisplayName | None) -> None:
        self.as_json = as_json
        self._console = None if as_json or not wants_rich(display, sys.stdout) else _console()
        self._document: Document | None = None

    def document(self, value: Document) -> None:
        """Set what `--json` prints."""
        self._document = value

    def line(self, text: str = "", *, strong: bool = False, whole: bool = False) -> None:
        """One line of text, whatever is in it; `whole` keeps it from being wrapped."""
        if self.as_json:
            return
        if self._console is None:
            click.echo(unbroken(text))
            return
        from rich.text import Text

        shown = Text(unbroken(text), style="bold" if strong else "")
        self._console.print(shown, soft_wrap=whole)

    def table(self, table: Table) -> None:
        """A table, after an empty line."""
        if self.as_json:
            return
        self.line()
        if self._console is None:
            click.echo(plain_table(table))
            return
        from rich.table import Table as RichTable
        from rich.text import Text

        if table.title:
            self.line(table.title, strong=True)
        drawn = RichTable(box=None, pad_edge=False, header_style="dim")
        for index, column in enumerate(table.columns):
            cells = [row[index] for row in table.rows]
            drawn.add_column(
                Text(unbroken(column)),
                justify="right" if index in table.right else "left",
                overflow="fold",
                # Names are copied into the next command, so they stay in one piece.
                no_wrap=index == 0 and max(map(len, cells), default=0) <= NAME_WIDTH,
            )
        for row in table.rows:
            drawn.add_row(*(Text(unbroken(cell)) for cell in row))
        self._console.print(drawn)

    def code(self, source: str) -> None:
        """Python source, coloured on a terminal."""
        if self.as_json:
            return
        if self._console is None:
            click.echo(clean(source))
            return
        from rich.syntax import Syntax

        shown = Syntax(clean(source), "python", background_color="default", word_wrap=True)
        self._console.print(shown)

    def next(self, *words: str, without: Collection[str] = ()) -> None:
        """The last line: the next command to try, as it can be copied; see `following`.

        Args:
            *words: the command.
            without: names of options that it is not to be told, though this one was.
        """
        self.line()
        self.line(f"Next: {command_line(*words, without=without)}", strong=True, whole=True)

    def write(self, stream: TextIO) -> None:
        """Print the document, if one was set."""
        if self.as_json and self._document is not None:
            stream.write(as_document(self._document) + "\n")
            stream.flush()


def command_line(*words: str, without: Collection[str] = ()) -> str:
    """A command that follows the one at work, for a shell."""
    context = click.get_current_context(silent=True)
    return shlex.join(["agentlab", *followed(context, words, without)])


@contextmanager
def opened(*, as_json: bool, display: DisplayName | None) -> Generator[Output]:
    """The output of one command. The document is printed even where the command then fails."""
    with sentences():
        output = Output(as_json=as_json, display=display)
        if not as_json:
            yield output
            return
        stream = _reserve_stdout()
        try:
            with redirect_stdout(sys.stderr):
                yield output
        finally:
            output.write(stream)


def wants_rich(display: DisplayName | None, stream: TextIO) -> bool:
    """Whether to draw on this stream: as asked, or where it is a capable terminal."""
    if display is not None:
        return display == "rich"
    return stream.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}


def as_document(value: Document) -> str:
    """The value as indented JSON; what a terminal would not show as itself is escaped."""
    data = [_plain(item) for item in value] if isinstance(value, Sequence) else _plain(value)
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    return "".join(c if c == "\n" or visible(c) else json.dumps(c)[1:-1] for c in text)


def plain_table(table: Table) -> str:
    """The table as aligned text, no line longer than its cells need."""
    rows = [[unbroken(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(table.columns))]
    lines = [unbroken(table.title)] if table.title else []
    for row in rows:
        cells = [
            cell.rjust(width) if index in table.right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def shown_path(path: str) -> str:
    """A path as short as it can be said from here."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


def _plain(value: BaseModel | dict[str, JsonValue]) -> object:
    return value if isinstance(value, dict) else value.model_dump(mode="json")


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _reserve_stdout() -> TextIO:
    """Stdout for the document; file descriptor 1 becomes stderr for everybody else."""
    stream = sys.stdout
    if stream is not sys.__stdout__ or stream.fileno() != 1:
        return stream
    stream.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "w", encoding="utf-8")
