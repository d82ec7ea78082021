"""An agent that has practised, as a node of a LangGraph graph of your own.

The first node finds what the library has for the task, the second attempts it. Both set plain
values, so the state needs no reducer and any checkpointer will do.
"""

# LangGraph's own signatures are partly untyped, which strict checking reports at each call.
# pyright: reportUnknownMemberType=false

from typing import Any, TypedDict

from langgraph.graph import START, StateGraph

import agentlab
from agentlab.graph import as_node


class State(TypedDict, total=False):
    """What the nodes read and write."""

    query: str
    task: agentlab.Task
    skills: list[Any]
    result: dict[str, Any]


if __name__ == "__main__":  # attempts run in worker processes, which import this file
    agentlab.add_pack("agentlab/courier", approve=True)
    with (
        agentlab.Library("courier") as library,
        agentlab.Agent("courier", withhold=False) as agent,
    ):
        graph = StateGraph(State).add_node("find", as_node(library)).add_node("act", as_node(agent))
        app = graph.add_edge(START, "find").add_edge("find", "act").compile()
        for task in library.tasks(2, seed=5):
            done = app.invoke({"query": task.instruction, "task": task})
            print(f"{task.instruction}: {'done' if done['result']['success'] else 'not done'}")
            print("  found", ", ".join(skill["name"] for skill in done["skills"]))
