"""What the library holds, item by item, and what was done to it."""

from __future__ import annotations

from pydantic import Field

from agentlab.types.base import Frozen, JsonObject
from agentlab.types.report.evaluation import Difference, Rate
from agentlab.types.skill import Origin, Status


class StatusChange(Frozen):
    """A step in the life of an item."""

    version: int
    before: str
    after: str
    reason: str
    run_id: str | None = None
    scope: str = ""
    """Path of the scope whose it was from then on."""


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


class SkillMatch(SkillLine):
    """A skill that a search found."""

    score: float
    """The retrieval score; comparable within one search only."""


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


class PromotionLine(Frozen):
    """An item that went from one scope to another."""

    id: str
    name: str
    environment: str
    before: str
    """Path of the scope that it left; empty for everybody's."""
    after: str
    reason: str


class CollectionLine(Frozen):
    """One collection of the rebuilt index."""

    environment: str
    kind: str
    items: int


class ReindexReport(Frozen):
    """What rebuilding the index did."""

    backend: str
    embedder: str
    collections: tuple[CollectionLine, ...] = ()
    items: int = 0
    embedded: int = 0
    """Vectors made anew because another embedder had made the stored ones."""
    seconds: float = 0.0
