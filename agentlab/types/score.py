"""What the evaluator says of an attempt."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentlab.types.base import Frozen, JsonObject

ScoreSource = Literal["verifier", "judge", "human"]


class Score(Frozen):
    """A verdict. Unknown is neither success nor failure: both fields are then None.

    Example:
        >>> Score(value=1.0, success=True, explanation="the chest is open").source
        'verifier'
    """

    value: float | None = Field(default=None, ge=0.0, le=1.0)
    success: bool | None = None
    explanation: str = ""
    evidence: JsonObject = Field(default_factory=dict)
    source: ScoreSource = "verifier"
    confidence: float = Field(default=1.0, ge=0.0, le=1.0)
