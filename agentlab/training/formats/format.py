"""What a format is: which samples it takes, and the rows that it makes of each.

A row is a JSON object on a line of its own. Columns are the trainer's; what it has none for
(where a row comes from, under which terms) stands line by line in `provenance.jsonl` beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from agentlab.training.samples import Kind, Sample

if TYPE_CHECKING:
    from agentlab.training.reports import ExportReport

Body = dict[str, object]
"""A row, ready for JSON."""


class Format(Protocol):
    """A format. Stateless: rows depend on their sample alone."""

    @property
    def name(self) -> str:
        """As the command line calls it."""
        ...

    @property
    def storage(self) -> Literal["jsonl", "parquet"]:
        """What its file ends with: a row a line, or a table."""
        ...

    @property
    def columns(self) -> Mapping[str, str] | None:
        """Of a table, by name; None where rows are JSON."""
        ...

    @property
    def takes(self) -> frozenset[Kind]:
        """The kinds of sample that it can spell."""
        ...

    def rows(self, sample: Sample) -> Iterator[Body]:
        """The sample's rows.

        Raises:
            RefusedError: it cannot be said truthfully.
        """
        ...


class JsonLines:
    """What formats have in common whose rows are lines of JSON."""

    storage: Literal["jsonl", "parquet"] = "jsonl"
    columns: Mapping[str, str] | None = None


@runtime_checkable
class HasFilesBeside(Protocol):
    """A format whose trainer reads further files."""

    def beside(self, report: ExportReport) -> dict[str, str]:
        """Their names and texts."""
        ...
