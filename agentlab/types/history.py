"""What was tried before, as proposers and curators read it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from agentlab.types.task import Task
from agentlab.types.trajectory import Trajectory


class PastAttempt(NamedTuple):
    """What a proposer or a curator may read of an attempt."""

    task: Task
    attempt_id: str
    success: bool | None
    trajectory: Trajectory | None
    tool_calls: int
    feedback: str = ""
    """What the evaluator said."""
    insights: tuple[str, ...] = ()
    """Ids of the insights that it was offered."""


class PastProposal(NamedTuple):
    """A task that was proposed, and what became of it."""

    task: Task
    fate: Literal["solved", "invalid", "not novel", "not learnable", "open"]
    reason: str = ""
