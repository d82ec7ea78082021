"""Public suites and fixtures for people who extend agentlab.

`check_environment` says whether an environment keeps its promises, `check_runtime` what every
`SkillRuntime` must do, `check_index` what every `VectorIndex`; `ModelServer` is an endpoint that
answers by rules and fails on demand. The hostile packs and poisoned skills are what an importer
must refuse. Nothing in agentlab's own running depends on this package. The small text world that
implements every environment protocol in full is `agentlab.envs.courier`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentlab.environments.checker import check_environment
    from agentlab.testing.index_conformance import check_index
    from agentlab.testing.model_server import FaultPlan, ModelServer
    from agentlab.testing.rules import load_rule
    from agentlab.testing.runtime_conformance import check_runtime

__all__ = [
    "FaultPlan",
    "ModelServer",
    "check_environment",
    "check_index",
    "check_runtime",
    "load_rule",
]

_HOMES = {
    "FaultPlan": "agentlab.testing.model_server",
    "ModelServer": "agentlab.testing.model_server",
    "check_environment": "agentlab.environments.checker",
    "check_index": "agentlab.testing.index_conformance",
    "check_runtime": "agentlab.testing.runtime_conformance",
    "load_rule": "agentlab.testing.rules",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'agentlab.testing' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value
