"""The LangGraph graph of a practice run; the one place that knows the edges.

`as_node` puts an agent, a retrieval step or a whole practice run inside a graph of your own. What
may be read from checkpoints is settled for ours alone (`checkpoints`), and left as it is for yours.
"""

from __future__ import annotations

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


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'agentlab.graph' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value
