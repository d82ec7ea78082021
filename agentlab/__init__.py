"""agentlab: agents that practise, and keep what demonstrably works.

The public names below are all that may be relied on; they load on first use, so that
`import agentlab` stays fast and needs none of the heavy dependencies.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from agentlab.version import __version__

if TYPE_CHECKING:
    from agentlab.agent import Agent
    from agentlab.config import PracticeConfig
    from agentlab.runner import aevaluate, apractice, aresume, evaluate, practice, resume

__all__ = [
    "Agent",
    "PracticeConfig",
    "__version__",
    "aevaluate",
    "apractice",
    "aresume",
    "evaluate",
    "practice",
    "resume",
]

_HOMES = {
    "Agent": "agentlab.agent",
    "PracticeConfig": "agentlab.config",
    "aevaluate": "agentlab.runner",
    "apractice": "agentlab.runner",
    "aresume": "agentlab.runner",
    "evaluate": "agentlab.runner",
    "practice": "agentlab.runner",
    "resume": "agentlab.runner",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'agentlab' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
