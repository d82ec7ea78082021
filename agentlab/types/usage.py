"""What things cost and what may be spent."""

from __future__ import annotations

from pydantic import Field

from agentlab.types.base import Frozen


class Usage(Frozen):
    """What an attempt, a round or a run consumed. Adds up with `+`."""

    attempts: int = Field(default=0, ge=0)
    tool_calls: int = Field(default=0, ge=0)
    """Calls executed, in search as well as in the final trajectory; a skill that makes k
    calls counts k."""
    steps: int = Field(default=0, ge=0)
    """Primitive environment steps."""
    tokens: int = Field(default=0, ge=0)
    usd: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            attempts=self.attempts + other.attempts,
            tool_calls=self.tool_calls + other.tool_calls,
            steps=self.steps + other.steps,
            tokens=self.tokens + other.tokens,
            usd=self.usd + other.usd,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            wall_seconds=self.wall_seconds + other.wall_seconds,
        )


class Allotment(Frozen):
    """The part of a budget that one attempt may spend; what it is cut off by says nothing of it."""

    role: str = ""
    """Whose budget it is; empty is the whole run's."""
    tokens: int | None = None
    usd: float | None = None


class Limits(Frozen):
    """What one attempt may spend."""

    tool_calls: int = 1000
    steps: int | None = None
    """Primitive environment steps."""
    seconds: float = 120.0
    tokens: int | None = None
