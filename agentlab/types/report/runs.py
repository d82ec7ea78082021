"""What a run came to, what it was asked, and how two of them differ."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from agentlab.types.base import Frozen, JsonObject
from agentlab.types.report.evaluation import ArmReport, Difference, EvaluationReport, Interval
from agentlab.types.report.library import InsightLine, SkillLine
from agentlab.types.usage import Usage

RunStatus = Literal["running", "finished", "stopped", "failed"]
"""A killed run stays `running`; `stopped` is by a budget or by Ctrl-C, as its reason says."""

INTERRUPTED = "interrupted"
"""The reason of a run that Ctrl-C stopped."""
WAITS = "waits for approval"
"""The reason of a run that paused at the human gate; `resume` goes on once all is decided."""


class TaskCounts(Frozen):
    """What became of the proposals of a run."""

    proposed: int = 0
    admitted: int = 0
    rejected: dict[str, int] = Field(default_factory=dict)
    """By reason."""


class SkillCounts(Frozen):
    """What became of the candidates of a run."""

    admitted: int = 0
    rejected: int = 0
    retired: int = 0
    waiting: int = 0
    """Verified, and waiting for a person to approve them."""


class PracticeReport(Frozen):
    """What a practice run came to; what `practice` gives.

    Example:
        >>> "heldout" in PracticeReport.model_fields
        True
    """

    run_id: str
    run_dir: str
    status: RunStatus
    reason: str = ""
    """Why it ended, where the status does not say it all."""
    attempts: int
    """Attempts on record, the closing comparison apart."""
    tasks: TaskCounts
    skills: SkillCounts
    learnt: tuple[SkillLine, ...] = ()
    """The active skills that this run made, most used first."""
    insights: SkillCounts = Field(default_factory=SkillCounts)
    """What became of the pieces of advice that this run made."""
    advice: tuple[InsightLine, ...] = ()
    """Those of them that are active, oldest first."""
    heldout: EvaluationReport | None = None
    usage: Usage = Field(default_factory=Usage)
    box: str = ""
    """Where skill code ran, with its version."""
    seconds: float = 0.0
    """Wall clock, all processes that worked on the run together."""
    notes: tuple[str, ...] = ()
    """What else is to be known of how it went, and what to do about it; a sentence or two each."""
    goes_on_with: dict[str, int | float] = Field(default_factory=dict)
    """Where a budget stopped it: one with which `resume` goes on, by its place in the config."""


class RunSummary(Frozen):
    """One run, in a line."""

    run_id: str
    run_dir: str
    status: RunStatus
    environment: str
    model: str = "search"
    seed: int
    rounds: int = 0
    """Rounds that are complete."""
    attempts: int = 0
    successes: int = 0
    """Of the practice attempts with a verdict."""
    skills: int = 0
    """Skills that it made and that were admitted."""
    created: datetime


class RoundLine(Frozen):
    """One round of a run: a point of the learning curve."""

    round: int
    """From 1."""
    attempts: int
    """Practice attempts with a verdict; shadow attempts and failures of infrastructure apart."""
    successes: int
    success_rate: float | None = None
    interval: Interval | None = None
    tasks_admitted: int = 0
    skills_admitted: int = 0
    active_skills: int = 0


class RunDetail(RunSummary):
    """One run, in full."""

    reason: str = ""
    config: JsonObject
    """What it was asked to do, as it was written before the first attempt."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Of agentlab, Python and what else its numbers rest on."""
    curve: tuple[RoundLine, ...] = ()
    tasks: TaskCounts = Field(default_factory=TaskCounts)
    skill_counts: SkillCounts = Field(default_factory=SkillCounts)
    learnt: tuple[SkillLine, ...] = ()
    heldout: EvaluationReport | None = None
    usage: Usage = Field(default_factory=Usage)
    notes: tuple[str, ...] = ()
    """As `PracticeReport.notes`."""
    goes_on_with: dict[str, int | float] = Field(default_factory=dict)
    """As `PracticeReport.goes_on_with`."""
    refused_skills: dict[str, int] = Field(default_factory=dict)
    """Candidates that admission turned down, by reason."""
    refused_insights: dict[str, int] = Field(default_factory=dict)
    """As `refused_skills`, for pieces of advice."""
    by_role: dict[str, Usage] = Field(default_factory=dict)
    """Tokens and US dollars of each role's model calls, the closing comparison's included."""
    budgets: dict[str, int | float] = Field(default_factory=dict)
    """Budgets that were set after it was started, as they are now."""


class ConfigDifference(Frozen):
    """An option in which two runs differ; nested options are written with a dot."""

    option: str
    a: JsonValue = None
    b: JsonValue = None


class RunComparison(Frozen):
    """Two runs side by side. Differences are B less A."""

    a: RunSummary
    b: RunSummary
    config: tuple[ConfigDifference, ...] = ()
    practice_a: ArmReport | None = None
    """Success in practice, all rounds."""
    practice_b: ArmReport | None = None
    heldout_a: ArmReport | None = None
    heldout_b: ArmReport | None = None
    difference: Difference | None = None
    """On the held-out tasks that both tried."""
    skills_a: tuple[str, ...] = ()
    """Signatures that only A has learnt."""
    skills_b: tuple[str, ...] = ()
    skills_both: tuple[str, ...] = ()
