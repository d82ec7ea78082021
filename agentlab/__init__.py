"""agentlab: agents that practise, and keep what demonstrably works.

The names in `__all__` are all that may be relied on, and for those who extend agentlab the modules
among them: every class of the one page that is `protocols`, and what `errors`, `events`, `graph`,
`testing` and `types` name in their own `__all__`. They load on first use, so that `import agentlab`
stays fast and needs none of the heavy dependencies.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from agentlab.version import __version__

if TYPE_CHECKING:
    from agentlab import errors, events, graph, protocols, testing, types
    from agentlab.agent import Agent, AttemptEnded, LearningReport, RunResult
    from agentlab.config import PracticeConfig
    from agentlab.errors import AgentLabError, UsageError
    from agentlab.lending.library import Library
    from agentlab.lending.packs import PackAdded, add_pack
    from agentlab.lending.shapes import OpenAITool
    from agentlab.lending.visit import CallResult
    from agentlab.runner import aevaluate, apractice, aresume, evaluate, practice, resume
    from agentlab.types import Score, Skill, Task, ToolCall, ToolSpec
    from agentlab.types.report import EvaluationReport, PracticeReport
    from agentlab.types.scope import Scope

__all__ = [
    "Agent",
    "AgentLabError",
    "AttemptEnded",
    "CallResult",
    "EvaluationReport",
    "LearningReport",
    "Library",
    "OpenAITool",
    "PackAdded",
    "PracticeConfig",
    "PracticeReport",
    "RunResult",
    "Scope",
    "Score",
    "Skill",
    "Task",
    "ToolCall",
    "ToolSpec",
    "UsageError",
    "__version__",
    "add_pack",
    "aevaluate",
    "apractice",
    "aresume",
    "errors",
    "evaluate",
    "events",
    "graph",
    "practice",
    "protocols",
    "resume",
    "testing",
    "types",
]

_HOMES = {
    "Agent": "agentlab.agent",
    "AgentLabError": "agentlab.errors",
    "AttemptEnded": "agentlab.agent",
    "CallResult": "agentlab.lending.visit",
    "EvaluationReport": "agentlab.types.report",
    "LearningReport": "agentlab.agent",
    "Library": "agentlab.lending.library",
    "OpenAITool": "agentlab.lending.shapes",
    "PackAdded": "agentlab.lending.packs",
    "PracticeConfig": "agentlab.config",
    "PracticeReport": "agentlab.types.report",
    "RunResult": "agentlab.agent",
    "Scope": "agentlab.types.scope",
    "Score": "agentlab.types",
    "Skill": "agentlab.types",
    "Task": "agentlab.types",
    "ToolCall": "agentlab.types",
    "ToolSpec": "agentlab.types",
    "UsageError": "agentlab.errors",
    "add_pack": "agentlab.lending.packs",
    "aevaluate": "agentlab.runner",
    "apractice": "agentlab.runner",
    "aresume": "agentlab.runner",
    "evaluate": "agentlab.runner",
    "practice": "agentlab.runner",
    "resume": "agentlab.runner",
}
_MODULES = frozenset({"errors", "events", "graph", "protocols", "testing", "types"})


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"agentlab.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'agentlab' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
