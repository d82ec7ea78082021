"""Insights: advice with a condition under which it holds. Schema after AlphaOPT and ATLAS."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentlab.types.base import Frozen

InsightOperation = Literal["add", "revise", "merge", "remove"]


class Outcomes(Frozen):
    """Task ids by what the insight did there (AlphaOPT's distribution)."""

    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    unretrieved: tuple[str, ...] = ()
    irrelevant: tuple[str, ...] = ()


class Insight(Frozen):
    """One version of an insight."""

    id: str
    version: int = 1
    environment: str
    condition: str
    negative_condition: str = ""
    advice: str
    example: str = ""
    taxonomy: tuple[str, ...] = ()
    scope: str = ""
    outcomes: Outcomes = Field(default_factory=Outcomes)
    source_tasks: tuple[str, ...] = ()
    """Every task of which its author was shown an attempt, or what came of one; it is never
    offered to an attempt at one of them."""
    taught_by: tuple[str, ...] = ()
    """Those of them that it says something of, where that is not all."""
    parent: str | None = None
    trust: str = "learnt"

    @property
    def must_solve(self) -> tuple[str, ...]:
        """The source tasks that must be solved again with it before it is served."""
        return self.taught_by or self.source_tasks

    @property
    def document(self) -> str:
        """What retrieval searches: when it applies and what it says."""
        return f"{self.condition}\n{self.advice}"


class InsightChange(Frozen):
    """What an insight curator wants changed; nothing is, before admission has agreed.

    `add` brings a new insight, `revise` the next version of one (its `parent` is `of[0]`),
    `merge` one in place of several, and `remove` takes `of` out, with the reason.
    """

    operation: InsightOperation
    insight: Insight | None = None
    """The candidate; None for `remove`."""
    of: tuple[str, ...] = ()
    """Ids of the insights that it revises, merges or removes."""
    reason: str = ""
