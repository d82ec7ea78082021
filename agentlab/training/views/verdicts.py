"""Every attempt with its verdict: data for a verifier, or for a loss that takes lone labels.

Hosseini et al. 2024, "V-STaR": keep all attempts of all rounds, right and wrong; the generator
learns from the right ones, the verifier from both. Unknown verdicts are left out, and so are
successes that had help: they are neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Verdict


def verdicts(rollouts: Iterable[Rollout]) -> Iterator[Verdict]:
    """The rollouts whose verdict is known."""
    for rollout in rollouts:
        if rollout.calls and (rollout.solved or rollout.failed):
            yield Verdict(rollout, rollout.solved)
