"""A curriculum: chooses among templates."""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.types import Template


class LeastTried:
    """What was tried less is tried next."""

    def probabilities(self, templates: Sequence[Template]) -> Sequence[float]:
        """One for each template, in their order, summing to 1."""
        weights = [1 / (1 + template.attempts) for template in templates]
        return [weight / sum(weights) for weight in weights]
