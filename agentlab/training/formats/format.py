"""What a format is: which samples it takes, and the rows that it makes of each.

A row is a JSON object on a line of its own. Columns are the trainer's; what it has none for
(where a row comes from, under which terms) stands line by line in `provenance.jsonl` beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from agentlab.training.samples import Kind, Sample

Body = dict[str, object]
"""A row, ready for JSON."""


class Format(Protocol):
    """A format. Stateless: rows depend on their sample alone."""

    @property
    def name(self) -> str:
        """As the command line calls it."""
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
