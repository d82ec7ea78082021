"""The LangGraph graph of a practice run; the one place that knows the edges.

`as_node` puts an agent, a retrieval step or a whole practice run inside a graph of your own.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentlab.graph.embedded.as_node import as_node
    from agentlab.graph.embedded.attempting import Attempted
    from agentlab.graph.embedded.node import Node
    from agentlab.graph.embedded.retrieving import FoundSkill

__all__ = ["Attempted", "FoundSkill", "Node", "as_node"]

_HOMES = {
    "Attempted": "agentlab.graph.embedded.attempting",
    "FoundSkill": "agentlab.graph.embedded.retrieving",
    "Node": "agentlab.graph.embedded.node",
    "as_node": "agentlab.graph.embedded.as_node",
}

# Read by LangGraph when it is imported: a checkpoint may then name no types to be built but
# LangGraph's own, so that a run directory from somewhere else cannot run code on `resume`.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'agentlab.graph' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value
