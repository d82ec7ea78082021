"""What a run, an evaluation or a look into the workspace says, as data.

The runner and the catalogues fill these; the command line, the tests and other programs read
them. `model_dump(mode="json")` of a report is the JSON that the command prints, so a field
renamed here is an interface changed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import Field, JsonValue

from agentlab.types.base import Frozen, JsonObject
from agentlab.types.skill import Origin, Status
from agentlab.types.task import Split
from agentlab.types.usage import Usage

RunStatus = Literal["running", "finished", "stopped", "failed"]
"""A killed run stays `running`; `stopped` is by a budget or by Ctrl-C, as its reason says."""

INTERRUPTED = "interrupted"
"""The reason of a run that Ctrl-C stopped."""
WAITS = "waits for approval"
"""The reason of a run that paused at the human gate; `resume` goes on once all is decided."""


class Interval(NamedTuple):
    """A 95 % interval; two numbers in JSON."""

    low: float
    high: float


class ArmReport(Frozen):
    """How one executor with one library did on the tasks of an evaluation."""

    name: str
    success_rate: float
    n: int
    """Distinct tasks with a verdict."""
    interval: Interval
    """Wilson's, of the rate."""
    failed: int = 0
    """Attempts without a verdict: the infrastructure failed, or the score is unknown."""


class Difference(Frozen):
    """A difference of two arms, paired by task, or of two sides of random draws."""

    value: float
    interval: Interval
    """Resamples tasks, or weights draws by their probability."""
    n: int
    """Number of tasks in both arms, or of draws on both sides."""


class EvaluationReport(Frozen):
    """Success on tasks of one split, within one budget, and what it is compared with.

    Example:
        >>> {"success_rate", "interval", "n"} <= EvaluationReport.model_fields.keys()
        True
    """

    run_id: str = ""
    """The run that its attempts are recorded under."""
    success_rate: float
    n: int
    """Distinct tasks with a verdict."""
    interval: Interval
    """Wilson's, of the rate; that of `difference` resamples tasks."""
    failed: int = 0
    """Attempts without a verdict: the infrastructure failed, or the score is unknown."""
    baseline: ArmReport | None = None
    """The same tasks, seeds and budget with an empty library."""
    difference: Difference | None = None
    """With the library less the baseline."""
    arms: tuple[ArmReport, ...] = ()
    """Further executors on the same tasks: flat search, the oracle…"""
    skills_used: tuple[str, ...] = ()
    """Names of the skills in successful trajectories, most used first."""
    steps: float | None = None
    """Mean primitive steps of the successes; None where nothing succeeded."""
    steps_interval: Interval | None = None
    """Resamples the solved tasks."""
    tool_calls: float | None = None
    """Mean tool calls of the successes, search included."""
    tool_calls_interval: Interval | None = None
    """Resamples the solved tasks."""
    split: Split = "heldout"
    budget: int = Field(default=1000, ge=1)
    """Tool calls that each attempt may search with."""
    box: str = ""
    """Where skill code ran, with its version."""
    notes: tuple[str, ...] = ()
    """What else is to be known of how it went, and what to do about it; a sentence or two each."""


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


class SkillLine(Frozen):
    """One skill, in a line."""

    name: str
    signature: str
    summary: str
    status: Status
    version: int = 1
    environment: str = ""
    shares_name: bool = False
    """Whether another environment has a skill of that name, so that it must be named too."""
    uses: int = 0
    """Attempts whose final trajectory has it."""
    effect: Difference | None = None
    """What offering it does to success, once that was measured."""
    scope: str = ""
    """Path of the scope whose it is; empty for everybody's."""


class InsightLine(Frozen):
    """One insight, in a line."""

    id: str
    condition: str
    advice: str
    status: Status
    version: int = 1
    environment: str = ""
    effect: Difference | None = None
    """What offering it does to success, once that was measured."""
    scope: str = ""
    """Path of the scope whose it is; empty for everybody's."""


class InsightDetail(InsightLine):
    """One insight in full."""

    negative_condition: str = ""
    example: str = ""
    taxonomy: tuple[str, ...] = ()
    trust: str = ""
    source_tasks: tuple[str, ...] = ()
    parent: str | None = None
    measured: SkillEffect | None = None
    outcomes: JsonObject = Field(default_factory=dict)
    """Task ids by what it did there."""
    evidence: JsonObject = Field(default_factory=dict)
    history: tuple[StatusChange, ...] = ()


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


class SkillMatch(SkillLine):
    """A skill that a search found."""

    score: float
    """The retrieval score; comparable within one search only."""


class StatusChange(Frozen):
    """A step in the life of an item."""

    version: int
    before: str
    after: str
    reason: str
    run_id: str | None = None
    scope: str = ""
    """Path of the scope whose it was from then on."""


class Rate(Frozen):
    """A success rate on one side of a random choice, weighted by its probability."""

    value: float
    interval: Interval
    n: int


class SkillEffect(Frozen):
    """What offering a skill does, from attempts that were denied it at random.

    Differences are with it less without it; attempts at its own source tasks are left out. A
    value is None where one side has too few draws to say anything.
    """

    offered: int
    """Draws that could have gone either way and were offered it."""
    withheld: int
    success_with: Rate | None = None
    success_without: Rate | None = None
    success: Difference | None = None
    tool_calls: Difference | None = None
    """An attempt; negative is a saving. As the two below."""
    steps: Difference | None = None
    tokens: Difference | None = None


class SkillDetail(SkillLine):
    """One skill, in full: its newest version and what vouches for it."""

    id: str
    toolset: str = "default"
    source: str
    effect_source: str = ""
    effects: tuple[str, ...] = ()
    """What it brings about, in words."""
    precondition: JsonObject = Field(default_factory=dict)
    parameters: dict[str, JsonObject] = Field(default_factory=dict)
    """Name to the properties that an argument must have."""
    tools: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    """Names of the skills it calls."""
    callers: tuple[str, ...] = ()
    """Names of the skills that call it."""
    measured: SkillEffect | None = None
    """What offering it does, by its randomised draws."""
    tests: tuple[JsonObject, ...] = ()
    """Arguments and start states on which it worked where it was learnt."""
    source_tasks: tuple[str, ...] = ()
    source_attempts: tuple[str, ...] = ()
    parent: str | None = None
    """Id of the version that it replaces."""
    origin: Origin = "search"
    evidence: JsonObject = Field(default_factory=dict)
    """What its admission rests on."""
    history: tuple[StatusChange, ...] = ()


class SkillRunReport(Frozen):
    """What came of a skill that was run by itself."""

    name: str
    version: int
    environment: str
    setup: str
    """Start-state family."""
    seed: int
    arguments: JsonObject
    """Parameter name to the reference it was given."""
    completed: bool = False
    effect: bool | None = None
    """What its effect check says; None where it was not asked, because the skill never began."""
    reason: str = ""
    """Why it did not do what it says."""
    observation: str = ""
    """What was seen last."""
    changed: JsonObject = Field(default_factory=dict)
    """Facts of the state that differ afterwards, with their new values."""
    tool_calls: int = 0
    steps: int = 0
    box: str = ""
    """Where its code ran."""

    @property
    def worked(self) -> bool:
        """It returned, and the effect check passed."""
        return self.completed and self.effect is True


CanaryOutcome = Literal[
    "holds", "unsteady", "unknown", "demoted", "mended", "restored", "still out"
]
"""What a verification found: it still works; failed now and then, and is not shown to be broken;
could not be tried, for a reason that is not its own; was taken out of service; was replaced by a
mended version; came back into service; or stays out."""


class CanaryLine(Frozen):
    """One skill of a verified library."""

    name: str
    version: int
    """The one that is served afterwards, where one is."""
    outcome: CanaryOutcome
    reason: str = ""
    """Which gate it failed, and how."""
    replays: int = 0
    passed: int = 0
    """Replays of the second look that passed, where there was one."""
    looked: int = 0
    """Replays of the second look."""
    by: str = ""
    """What mended it: `replays`, `search` or `model`."""
    seconds: float = 0.0


class CanaryReport(Frozen):
    """What replaying a library against its environment came to."""

    run_id: str
    environment: str
    skills: tuple[CanaryLine, ...] = ()
    """Callees first."""
    box: str = ""
    """Where skill code ran, with its version."""
    replays: int = 0
    steps: int = 0
    seconds: float = 0.0

    @property
    def found(self) -> tuple[CanaryLine, ...]:
        """What served and was found to be broken, mended or not."""
        return tuple(line for line in self.skills if line.outcome in ("demoted", "mended"))

    @property
    def broken(self) -> tuple[CanaryLine, ...]:
        """What is not served although it was asked about."""
        return tuple(line for line in self.skills if line.outcome in ("demoted", "still out"))


class CollectionLine(Frozen):
    """One collection of the rebuilt index."""

    environment: str
    kind: str
    items: int


class PromotionLine(Frozen):
    """An item that went from one scope to another."""

    id: str
    name: str
    environment: str
    before: str
    """Path of the scope that it left; empty for everybody's."""
    after: str
    reason: str


class ReindexReport(Frozen):
    """What rebuilding the index did."""

    backend: str
    embedder: str
    collections: tuple[CollectionLine, ...] = ()
    items: int = 0
    embedded: int = 0
    """Vectors made anew because another embedder had made the stored ones."""
    seconds: float = 0.0
