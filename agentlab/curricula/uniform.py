"""Every template alike: the baseline that a curriculum has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.types import Template


class Uniform:
    """A curriculum without preferences."""

    def probabilities(self, templates: Sequence[Template]) -> tuple[float, ...]:
        """`1/G` for each of G templates."""
        return (1 / len(templates),) * len(templates) if templates else ()
