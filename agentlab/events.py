"""What happened in a run, as frozen dataclasses. One stream feeds display, log and viewers.

Each event has a place: the round, the slot within it, and a sequence number within the slot.
Two runs compare by place and content; times, paths and lifecycle events are left out of that
(`comparable`). Slot -1 is the round itself. Events are recorded in the same transaction as
what they report, so a node that runs twice reports once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar

from agentlab.types.base import JsonObject

__all__ = [
    "AttemptBegun",
    "AttemptFinished",
    "AttemptsPlanned",
    "BudgetChanged",
    "DataExported",
    "Event",
    "InsightMoved",
    "InsightProposed",
    "ModelAnswered",
    "Progress",
    "RepliesDropped",
    "RoundFinished",
    "RunFinished",
    "RunPaused",
    "RunStarted",
    "SkillMoved",
    "SkillProposed",
    "StepTaken",
    "TaskAdmitted",
    "TaskRejected",
    "TasksChecked",
    "TrainingStepped",
]

ROUND_SLOT = -1


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base: where in the run it happened."""

    run_id: str
    round: int = 0
    slot: int = ROUND_SLOT
    sequence: int = 0

    lifecycle: ClassVar[bool] = False
    """Lifecycle events tell of this process, not of the run's content."""

    @property
    def kind(self) -> str:
        """The class name: `AttemptFinished`."""
        return type(self).__name__

    def payload(self) -> JsonObject:
        """Everything but the place, as JSON."""
        places = {"run_id", "round", "slot", "sequence"}
        return {k: v for k, v in asdict(self).items() if k not in places}

    def comparable(self) -> tuple[int, int, int, str, JsonObject] | None:
        """What must be equal between two runs of one seed; None for lifecycle events."""
        if self.lifecycle:
            return None
        timed = {f.name for f in fields(self) if f.metadata.get("timed")}
        payload = {k: v for k, v in self.payload().items() if k not in timed}
        return (self.round, self.slot, self.sequence, self.kind, payload)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A process began to work on the run."""

    lifecycle: ClassVar[bool] = True
    environment: str = ""
    model: str = ""
    resumed: bool = False


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """A process stopped working on the run."""

    lifecycle: ClassVar[bool] = True
    status: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RunPaused(Event):
    """A run waits for an endpoint that is down, or goes on again."""

    lifecycle: ClassVar[bool] = True
    reason: str = ""
    """Empty when it goes on."""


@dataclass(frozen=True, kw_only=True)
class BudgetChanged(Event):
    """Whoever went on with the run gave it other budgets."""

    lifecycle: ClassVar[bool] = True
    budgets: Mapping[str, float] = field(default_factory=lambda: {})
    """The new amounts by their place in the config, such as `budget.tokens`."""


@dataclass(frozen=True, kw_only=True)
class TaskAdmitted(Event):
    """A proposal became a task."""

    task_id: str = ""
    instruction: str = ""
    template: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskRejected(Event):
    """A proposal was dropped."""

    task_id: str = ""
    instruction: str = ""
    reason: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class AttemptsPlanned(Event):
    """The round's attempts were chosen and paid for."""

    attempts: int = 0
    shadow: int = 0
    templates: Mapping[str, int] = field(default_factory=lambda: {})


@dataclass(frozen=True, kw_only=True)
class AttemptFinished(Event):
    """An attempt was recorded."""

    attempt_id: str = ""
    attempt_kind: str = "practice"
    task_id: str = ""
    instruction: str = ""
    template: str = ""
    success: bool | None = None
    status: str = "completed"
    tool_calls: int = 0
    steps: int = 0
    offered: int = 0
    withheld: int = 0
    skills_used: tuple[str, ...] = ()
    seconds: float = field(default=0.0, metadata={"timed": True})


@dataclass(frozen=True, kw_only=True)
class SkillProposed(Event):
    """A curator made a candidate."""

    skill_id: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class SkillMoved(Event):
    """A skill went from one status to another, with the reason."""

    skill_id: str = ""
    name: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""
    by: str = ""
    """Who decided, where a person did; the place is then that of the move it answers."""


@dataclass(frozen=True, kw_only=True)
class InsightProposed(Event):
    """A curator made a piece of advice."""

    insight_id: str = ""
    condition: str = ""


@dataclass(frozen=True, kw_only=True)
class InsightMoved(Event):
    """An insight went from one status to another, with the reason."""

    insight_id: str = ""
    condition: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""
    by: str = ""
    """As in `SkillMoved`."""


@dataclass(frozen=True, kw_only=True)
class RoundFinished(Event):
    """A round is complete."""

    attempts: int = 0
    successes: int = 0
    active_skills: int = 0


@dataclass(frozen=True, kw_only=True)
class DataExported(Event):
    """Attempts were written as data for a trainer, or could not be."""

    name: str = ""
    """Of the folder among the run's exports."""
    rows: int = 0
    refused: str = ""
    """Why nothing was written; empty where something was."""


@dataclass(frozen=True, kw_only=True)
class RepliesDropped(Event):
    """What a role asked of its model came to nothing; shown, and on record with its node."""

    lifecycle: ClassVar[bool] = True
    role: str = ""
    reasons: Mapping[str, int] = field(default_factory=lambda: {})
    """How often, by kind of reason."""


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """Where a long phase outside the rounds stands; shown, never recorded."""

    lifecycle: ClassVar[bool] = True
    phase: str = ""
    done: int = 0
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class TasksChecked(Event):
    """How many of a round's proposals were looked at so far; shown as it happens, never recorded.

    What came of each is told by `TaskAdmitted` and `TaskRejected`, once all of them are on record.
    """

    lifecycle: ClassVar[bool] = True
    done: int = 0
    total: int = 0
    """0 while they are still being made."""


@dataclass(frozen=True, kw_only=True)
class TrainingStepped(Event):
    """A trainer made a step, or went on to another phase; shown, and in its folder's metrics."""

    lifecycle: ClassVar[bool] = True
    trainer: str = ""
    phase: str = ""
    step: int = 0
    steps: int = 0
    """Of the whole training; 0 while that is not known."""
    metrics: Mapping[str, float] = field(default_factory=lambda: {})
    """Of the step, in the trainer's words: loss, gradient, ratios."""


@dataclass(frozen=True, kw_only=True)
class AttemptBegun(Event):
    """An attempt is about to make its first step; shown as it happens, never recorded."""

    lifecycle: ClassVar[bool] = True
    attempt_id: str = ""
    task_id: str = ""
    instruction: str = ""
    """As it is attempted."""
    scope: str = ""
    offered: tuple[str, ...] = ()
    """Names of the items that it is offered."""
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StepTaken(Event):
    """A tool call was carried out or refused; shown as it happens, never recorded.

    What was shown was written by others: it is data, to be escaped on a page.
    """

    lifecycle: ClassVar[bool] = True
    position: int = 0
    """From 0."""
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=lambda: {})
    shown: str = ""
    """The text of the observation."""
    error: str | None = None
    """Why it was refused."""


@dataclass(frozen=True, kw_only=True)
class ModelAnswered(Event):
    """A chat model replied in an attempt; shown as it happens, never recorded."""

    lifecycle: ClassVar[bool] = True
    role: str = ""
    model: str = ""
    text: str = ""
    tools: tuple[str, ...] = ()
    """Names of the tools that it wants called."""
    tokens: int = 0
    usd: float = 0.0


Told = Callable[[Event], None]
_WATCHING: ContextVar[Told | None] = ContextVar("agentlab_watching", default=None)


@contextmanager
def watching(told: Told) -> Generator[None]:
    """Have what happens in the attempt of this task told while it happens.

    It holds for the tasks that are started in the block too. What is told here is for showing
    alone: nothing is decided by it, and what `told` raises ends the attempt.
    """
    token = _WATCHING.set(told)
    try:
        yield
    finally:
        _WATCHING.reset(token)


def is_watched() -> bool:
    """Whether anybody looks on, so that an event need not be made for nobody."""
    return _WATCHING.get() is not None


def show(event: Event) -> None:
    """Tell whoever looks on at the attempt of this task."""
    told = _WATCHING.get()
    if told is not None:
        told(event)


EVENTS: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        RunStarted,
        RunFinished,
        RunPaused,
        BudgetChanged,
        TaskAdmitted,
        TaskRejected,
        AttemptsPlanned,
        AttemptFinished,
        SkillProposed,
        SkillMoved,
        InsightProposed,
        InsightMoved,
        RoundFinished,
        DataExported,
        RepliesDropped,
        Progress,
        TrainingStepped,
    )
}


@cache
def _names(kind: type[Event]) -> frozenset[str]:
    # Asked for with each event of a log that may have a million.
    return frozenset(each.name for each in fields(kind))


def rebuild(
    kind: str, run_id: str, round_: int, slot: int, sequence: int, payload: JsonObject
) -> Event:
    """The event that was recorded under `kind` with this payload."""
    known = EVENTS.get(kind)
    if known is None:  # written by a later version: kept, and told by nobody here
        return Event(run_id=run_id, round=round_, slot=slot, sequence=sequence)
    names = _names(known)
    values: dict[str, Any] = {name: value for name, value in payload.items() if name in names}
    if isinstance(values.get("skills_used"), list):
        values["skills_used"] = tuple(values["skills_used"])
    return known(run_id=run_id, round=round_, slot=slot, sequence=sequence, **values)
