"""A graph around an agent whose process is killed right after the attempt is on record.

python tests/faults/node_process.py WORKSPACE CHECKPOINTS [kill]
"""

# LangGraph's own signatures are partly untyped, which strict checking reports at each call.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph

from agentlab import Agent, RunResult, Task
from agentlab.graph import as_node


class State(TypedDict, total=False):
    task: dict[str, Any]
    result: dict[str, Any]


@dataclass
class Mortal:
    agent: Agent
    kill: bool

    async def arun(self, task: Task) -> RunResult[None]:
        result = await self.agent.arun(task)
        if self.kill:
            print(result.attempt_id, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def main(workspace: str, checkpoints: str, *, kill: bool) -> None:
    where: RunnableConfig = {"configurable": {"thread_id": "one"}}
    with (
        Agent("courier", library=workspace, tool_calls=40) as agent,
        SqliteSaver.from_conn_string(checkpoints) as saver,
    ):
        node = as_node(Mortal(agent, kill), workspace=workspace)
        graph = StateGraph(State).add_node("act", node).add_edge(START, "act")
        app = graph.compile(checkpointer=saver)
        begun = app.get_state(where).values
        first = None if begun else State(task=agent.tasks(1, seed=1)[0].model_dump(mode="json"))
        print(app.invoke(first, where, durability="sync")["result"]["attempt_id"])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], kill="kill" in sys.argv)
