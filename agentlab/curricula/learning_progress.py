"""Practise where the success rate is changing.

Absolute learning progress (Portelas et al. 2019, arXiv 1910.07224) in its form for discrete
goals: `P = (1-e) * LP/sum(LP) + e/G`. What is mastered and what is hopeless both stand still
and get the exploration share alone, without a threshold that says which is which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from agentlab.errors import ConfigError
from agentlab.statistics import learning_progress
from agentlab.types import Template


class LearningProgress:
    """Templates in proportion to their learning progress, with a floor for exploration.

    The published rule is silent about goals whose history is shorter than the window, and
    taking their progress for 0 would leave them to the floor: with many templates a new one
    would wait for rounds. So it differs in two places.

    - From `minimum` outcomes on, the window is the largest even number of them. A short window
      is noisier, and noise raises an absolute difference, which favours what is less known.
    - With fewer, progress is unknown and taken to be as high as the highest measured, so that
      new templates are tried at once; but all of them together count for no more than all
      measured progress, so that a proposer that invents many templates cannot starve those
      where something is being learnt.

    While no template shows progress all are equally likely.
    """

    def __init__(self, *, window: int = 8, minimum: int = 4, exploration: float = 0.2) -> None:
        """Checks the options.

        Args:
            window: How many of the newest outcomes are compared, half against half; even.
            minimum: How many outcomes measure progress at all; even, at most `window`.
            exploration: The share that is spread evenly over all templates.

        Raises:
            ConfigError: an option is out of its range.
        """
        if window < 2 or window % 2:
            raise ConfigError(f"window must be an even number of at least 2, not {window!r}.")
        if not 2 <= minimum <= window or minimum % 2:
            raise ConfigError(f"minimum must be even and between 2 and {window}, not {minimum!r}.")
        if not 0 <= exploration <= 1:
            raise ConfigError(f"exploration must lie between 0 and 1, not {exploration!r}.")
        self.window = window
        self.minimum = minimum
        self.exploration = exploration

    def probabilities(self, templates: Sequence[Template]) -> tuple[float, ...]:
        """One probability each, in the order of `templates`; they sum to 1 within 1e-9."""
        if not templates:
            return ()
        measured = [
            learning_progress(template.outcomes, window=self.window, minimum=self.minimum)
            for template in templates
        ]
        known = [progress for progress in measured if progress is not None]
        total = math.fsum(known)
        count = len(templates)
        if total <= 0:
            return (1 / count,) * count
        new = count - len(known)
        guess = min(max(known), total / new) if new else 0.0
        weights = [guess if progress is None else progress for progress in measured]
        whole = math.fsum(weights)
        even = self.exploration / count
        return tuple((1 - self.exploration) * weight / whole + even for weight in weights)
