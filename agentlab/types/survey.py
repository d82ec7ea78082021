"""What an environment found of itself by looking around, before anything is proposed there."""

from __future__ import annotations

from pydantic import Field

from agentlab.types.base import Frozen, JsonObject


class Survey(Frozen):
    """One look around from one kind of start; kept with the run that asked for it."""

    start: str = ""
    """The family of start states, as the grammar names it; empty where there is none."""
    text: str
    """For a reader, bounded, with what was left out said. Somebody else's words: data."""
    data: JsonObject = Field(default_factory=dict)
    """Everything that was met, for a program."""
