"""`as_node`: an agent, a retrieval step or a whole practice run inside the user's own LangGraph."""

from __future__ import annotations

from pathlib import Path
from typing import overload

from agentlab.config import PracticeConfig
from agentlab.errors import UsageError
from agentlab.graph.embedded.attempting import RunsTasks, agent_node
from agentlab.graph.embedded.node import Node
from agentlab.graph.embedded.practising import practice_node
from agentlab.graph.embedded.retrieving import FindsSkills, retrieval_node


@overload
def as_node(
    part: RunsTasks,
    *,
    read: str = "task",
    write: str = "result",
    workspace: Path | str | None = None,
) -> Node: ...


@overload
def as_node(
    part: FindsSkills, *, read: str = "query", write: str = "skills", k: int = 8
) -> Node: ...


@overload
def as_node(
    part: PracticeConfig, *, write: str = "report", workspace: Path | str | None = None
) -> Node: ...


def as_node(
    part: RunsTasks | FindsSkills | PracticeConfig,
    *,
    read: str | None = None,
    write: str | None = None,
    workspace: Path | str | None = None,
    k: int = 8,
) -> Node:
    """A node for `StateGraph.add_node`, in synchronous and asynchronous graphs alike.

    It sets one key of the state to a plain JSON value, so the state needs no reducer, and streams
    events as dictionaries with the key `event` (`stream_mode="custom"`). Under a checkpointer, a
    node that LangGraph runs again, after a kill, say, has its effect once: an attempt that is on
    record is given back, and a practice run is gone on with. Cancelling an asynchronous graph
    breaks off the attempt, or stops the run so that it can go on.

    Args:
        part: an `agentlab.Agent`, which attempts the `Task` under `read` (under a checkpointer
            rather what its `model_dump(mode="json")` gives) and writes an `Attempted`; an
            `agentlab.Library`, which finds what fits the text under `read` and writes a list of
            `FoundSkill`; or a `PracticeConfig`, which practises, reads nothing and writes the
            `PracticeReport` as a dictionary.
        read: the key that it reads: `task`, or `query`.
        write: the key that it sets: `result`, `skills`, or `report`.
        workspace: where an agent's or a run's records are; the agent's own where it says, else
            `AGENTLAB_WORKSPACE` or `.agentlab`.
        k: how many skills at most.

    Raises:
        UsageError: it is none of these, or the state has nothing under `read` (when the node
            runs). What the part raises when it runs is raised there.

    Example:
        >>> from agentlab import Library
        >>> library = Library("courier")
        >>> node = as_node(library, read="question", write="skills", k=1)
        >>> node.invoke({"question": "Unlock the tin chest."})["skills"][0]["name"]
        'unlocked'
        >>> library.close()
    """
    if isinstance(part, PracticeConfig):
        return practice_node(part, write=write or "report", workspace=workspace)
    if isinstance(part, RunsTasks):
        place = workspace
        return agent_node(part, read=read or "task", write=write or "result", workspace=place)
    if isinstance(part, FindsSkills):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        return retrieval_node(part, read=read or "query", write=write or "skills", k=k)
    raise UsageError(
        f"A {type(part).__name__} is no part of agentlab that can be a node; give an Agent, a "
        "Library or a PracticeConfig."
    )
