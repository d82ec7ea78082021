"""What somebody showed: calls that they made, without a word on what for."""

from __future__ import annotations

from agentlab.types.base import Frozen
from agentlab.types.tool import ToolCall

DEMONSTRATED = "demonstration"
"""The source of a task that was made of one."""


class Demonstration(Frozen):
    """One recording, read. What was typed while it was made is in it."""

    name: str
    calls: tuple[ToolCall, ...]
    left_out: tuple[str, ...] = ()
    """What of the recording could not be said as a call."""
