"""What every node has in common: state in and out, events, and knowing itself when it runs again.

LangGraph runs a node again where a process ended before the node's writes were kept, or where its
retry policy says so. The thread and the task that LangGraph names are then the same as before, and
from them a node has a mark under which what it did can be found. A graph without a thread starts
over each time, and a node in it has no mark.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.config import get_stream_writer

from agentlab.errors import UsageError
from agentlab.types import JsonObject, digest

T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    """One execution of a node."""

    mark: str | None
    """The same whenever LangGraph runs this execution again; None where nothing is kept of it."""
    tell: Callable[[JsonObject], None]
    """Streams an event to whoever follows the graph with `stream_mode="custom"`."""


Work = Callable[[Any, Turn], Awaitable[dict[str, Any]]]


class Node(Runnable[Any, dict[str, Any]]):
    """A node for `StateGraph.add_node`; works in synchronous and asynchronous graphs.

    Example:
        >>> from agentlab import PracticeConfig
        >>> from agentlab.graph import as_node
        >>> node = as_node(PracticeConfig(environment="courier"))
        >>> isinstance(node, Node), node.writes
        (True, 'report')

    Args:
        name: that a trace shows.
        work: makes the update of the state from the state.
        reads: keys of the state that it needs.
        writes: the key of the state that it sets.
    """

    def __init__(self, name: str, work: Work, *, reads: tuple[str, ...], writes: str) -> None:
        self.name = name
        self.reads = reads
        self.writes = writes
        self._work = work

    def invoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The update of the state; blocks until it is there."""
        return _waited_for(self._work(input, _turn(config)))

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The update of the state; cancelling it breaks off what it does."""
        return await self._work(input, _turn(config))


def value_of(state: object, key: str) -> object:
    """What the state has under a key, whether it is a mapping, a dataclass or a model.

    Raises:
        UsageError: it has nothing there.
    """
    found: object = (
        cast("Mapping[str, object]", state).get(key)
        if isinstance(state, Mapping)
        else getattr(state, key, None)
    )
    if found is None:
        raise UsageError(
            f"The graph's state has nothing under {key!r}, which this node reads; set it before, "
            "or name another key with read=."
        )
    return found


def _turn(config: RunnableConfig | None) -> Turn:
    try:
        writer = get_stream_writer()
    except RuntimeError:  # called by itself, outside of any graph
        writer = _nobody
    return Turn(mark_of(config), writer)


def _nobody(event: object) -> None:
    """Nobody follows."""


def mark_of(config: RunnableConfig | None) -> str | None:
    """The mark of an execution, from what LangGraph tells of it; None without a thread."""
    where = (config or {}).get("configurable") or {}
    thread, task = where.get("thread_id"), where.get("checkpoint_ns")
    if thread is None or not task:
        return None
    return digest({"thread": str(thread), "task": str(task)})[:32]


def _waited_for(work: Awaitable[T]) -> T:
    """What the work gives; where this thread has a loop, as in a notebook, another one waits."""

    async def done() -> T:
        return await work

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(done())
    return _in_a_thread(done())


def _in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    given: list[T] = []
    raised: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            given.append(context.run(asyncio.run, work))
        except BaseException as error:  # raised again where it was asked for
            raised.append(error)

    thread = threading.Thread(target=run, name="agentlab node")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return given[0]
