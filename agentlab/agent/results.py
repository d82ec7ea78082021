"""What an agent gives back: of one request, of one stream, of one bout of learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from pydantic import Field

from agentlab.events import Event
from agentlab.types import AttemptOutcome, AttemptSpec, Frozen, Trajectory

T = TypeVar("T")
Learning = Literal["off", "observe", "on"]
"""`off`: items are offered, none is withheld, and nothing but the attempt itself is recorded.
`observe`: items are withheld now and then, so that what each is worth is known, and requests of
conversations are kept. `on`: moreover what succeeded is learnt from, and requests that users had
to say again are rewritten; whatever is learnt serves only after it was verified."""


class RunResult(Frozen, Generic[T]):
    """What came of one task.

    Example:
        >>> result = agentlab.RunResult(
        ...     attempt_id="attempt-1", success=None, explanation="", trajectory=None,
        ...     skills_used=(), skills_offered=(), tool_calls=0, ending="timeout",
        ... )
        >>> result.truncated
        True
    """

    attempt_id: str
    """By which feedback can be given later, from any process."""
    success: bool | None
    """None where it is unknown, or where the environment failed."""
    explanation: str
    trajectory: Trajectory | None = Field(repr=False)
    """All that happened; long, and left out where a result is printed."""
    skills_used: tuple[str, ...]
    """Names."""
    skills_offered: tuple[str, ...]
    """Names."""
    tool_calls: int
    instruction: str = ""
    """What was attempted."""
    rewritten_from: str | None = None
    """What was said, where that is not what was attempted."""
    text: str | None = None
    """The executor's answer in words, where it gave one."""
    answer: T | None = None
    """The typed answer that was asked for; None where there is no usable one."""
    answer_fault: str = ""
    """Why there is none."""
    ending: str = ""
    """How it ended, where that is known: `answer`, `episode`, `limits`, `budget`, `malformed`,
    `context` or `timeout`."""

    @property
    def truncated(self) -> bool:
        """Whether its time or another limit cut it off."""
        return self.ending in ("limits", "budget", "context", "timeout")


@dataclass(frozen=True, kw_only=True)
class AttemptEnded(Event):
    """The last event of a stream: the attempt is on record.

    Example:
        >>> with agentlab.Agent("courier", tool_calls=5) as agent:
        ...     *_, last = agent.stream("Go to the market.")
        >>> isinstance(last, agentlab.AttemptEnded) and last.result.instruction
        'Go to the market.'
    """

    lifecycle: ClassVar[bool] = True
    result: RunResult[Any]


class LearningReport(Frozen):
    """What an agent made of its own attempts.

    Example:
        >>> with agentlab.Agent("courier", tenant="nobody", learning="on") as agent:
        ...     agent.learn().candidates
        0
    """

    run_id: str
    """Of the run in which candidates were verified; empty where there was nothing to learn."""
    attempts: int
    """That were looked at."""
    solved: int
    candidates: int
    admitted: tuple[str, ...]
    """Names of the skills that serve from now on."""
    refused: int
    waiting: int
    """Candidates of this scope that have not proved their use yet, or that a person is to approve;
    those of earlier calls too."""


class Asked(NamedTuple):
    """What a user asked for, beside the attempt that is made of it."""

    said: str
    """In the user's words; empty where a task was handed in."""
    attempted: str
    """The words that were attempted: those, or what they were rewritten to."""
    session: str
    """The conversation that it belongs to; empty where there is none."""


def result_of(
    spec: AttemptSpec, outcome: AttemptOutcome, answer: T | None, fault: str, asked: Asked
) -> RunResult[T]:
    """What the caller is told of a recorded attempt."""
    names = {skill.id: skill.name for skill in spec.skills}
    skills = {skill.name for skill in spec.skills}
    advice = {insight.id for insight in spec.insights}
    offered = [offer.name for offer in spec.offers if not offer.withheld]
    done = outcome.trajectory
    return RunResult(
        attempt_id=spec.id,
        success=outcome.success,
        explanation=outcome.error or outcome.score.explanation,
        trajectory=done,
        skills_used=tuple(names[i] for i in outcome.skills_used if i in names),
        skills_offered=tuple(name for name in offered if name in skills or name in advice),
        tool_calls=outcome.usage.tool_calls,
        instruction=spec.task.instruction,
        rewritten_from=asked.said if asked.said != asked.attempted else None,
        text=done.answer if done is not None else None,
        answer=answer,
        answer_fault=fault,
        ending=outcome.ending,
    )
