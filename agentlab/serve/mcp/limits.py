"""What a client may ask of the server, in one place: sizes, rates, times and counts."""

from __future__ import annotations

from pydantic import Field

from agentlab.types import Frozen


class ServeLimits(Frozen):
    """Bounds on messages, on each token over HTTP, on each call, and on what is told."""

    message_bytes: int = Field(default=256 * 1024, ge=1024)
    """Of one message, either transport."""
    depth: int = Field(default=48, ge=8, le=200)
    """Levels of nesting of a message."""
    rate: float = Field(default=20.0, gt=0)
    """Requests a second of each token, over HTTP, in the long run."""
    burst: int = Field(default=60, ge=1)
    """Requests of a token that may come at once."""
    refusals: float = Field(default=5.0, gt=0)
    """Requests a second without a known token, of all comers together, that are answered."""
    sessions: int = Field(default=16, ge=1)
    """Open sessions of a token, for protocols that have them; streams of changes, for all."""
    at_once: int = Field(default=32, ge=1)
    """HTTP requests of a token under way at a time, streams included."""
    waiting: int = Field(default=16, ge=1)
    """Calls of a caller that may wait for the one under way; its episode takes one at a time."""
    idle_seconds: float = Field(default=1800.0, gt=0)
    """After which a session nobody uses is closed, and an episode with it."""
    call_seconds: float = Field(default=60.0, gt=0)
    """Of one call, with all that it waits for."""
    tool_calls: int = Field(default=200, ge=1)
    """Calls of the environment's tools that one skill call may make."""
    poll_seconds: float = Field(default=1.0, gt=0)
    """Between two looks at whether another process changed the library."""
    page: int = Field(default=200, ge=1)
    """Tools or resources of one page of a list."""
    description: int = Field(default=1500, ge=100)
    """Characters of a description."""
    text: int = Field(default=20_000, ge=1000)
    """Characters of an answer's text, and of a page."""
    things: int = Field(default=300, ge=1)
    """Entities of an observation that are told."""
