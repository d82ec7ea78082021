"""Insights: advice with a condition under which it holds. Schema after AlphaOPT and ATLAS."""

from __future__ import annotations

from pydantic import Field

from agentlab.types.base import Frozen


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
    parent: str | None = None
    trust: str = "learnt"

    @property
    def document(self) -> str:
        """What retrieval searches: when it applies and what it says."""
        return f"{self.condition}\n{self.advice}"
