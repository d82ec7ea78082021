"""Partial masking: successes with their wrong steps kept as context and not learnt.

Chen et al. 2025, "STeP" (arXiv 2505.20023): the loss is summed over thought and action of every
step but those marked as erroneous. There a stronger model marks them; here a step is erroneous
when the environment refused it or the reply could not be read, which is on record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentlab.training.dialogues import reply_of
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Demonstration


def masked(demonstrations: Iterable[Demonstration]) -> Iterator[Demonstration]:
    """The same with weight 0 on calls whose tool calls were refused, all or in part."""
    for shown in demonstrations:
        wrong = erroneous(shown.rollout)
        weights = tuple(
            0.0 if bad else weight for weight, bad in zip(shown.weights, wrong, strict=True)
        )
        yield Demonstration(shown.rollout, weights)


def erroneous(rollout: Rollout) -> list[bool]:
    """For each call, whether what it asked for was refused or could not be read.

    Steps and calls are matched in order, by the names of tools. Where they do not match (skills
    make steps of their own), the reply is taken to be right: an example less masked is the
    lesser error than one that teaches nothing.
    """
    found: list[bool] = []
    at = 0
    for call in rollout.calls:
        uses = reply_of(call).tool_uses
        bad = False
        for use in uses:
            if at < len(rollout.steps) and rollout.steps[at].call.tool == use.name:
                bad = bad or rollout.steps[at].result.error is not None
                at += 1
        found.append(bad)
    return found
