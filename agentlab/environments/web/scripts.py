"""The scripts of ours that run in pages; each says in its first lines what it does there."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def script(name: str) -> str:
    """The text of a script beside this file."""
    return (files("agentlab.environments.web") / name).read_text(encoding="utf-8")
