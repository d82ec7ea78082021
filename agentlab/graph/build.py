"""The edges: a practice run as a LangGraph graph.

START → propose → select → attempt (n lanes) → curate → admit → export → end_round → propose …

Between admit and export a run that waits for people has one more node, `approve`.

A `Send` is a lane and not an attempt: the records know which attempts are done, so a checkpoint
for each would say nothing new, and writing it cost more than all the rest that is done for one.
"""

# LangGraph's own signatures are partly untyped, which strict checking reports at each call.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Send

from agentlab.graph import admit, approving, exporting, nodes, selection
from agentlab.graph.practice import LaneState, Practice, RunState, RunUpdate

STEPS_PER_ROUND = 8
"""Supersteps of one round: propose, select, attempts, curate, admit, approval where a run waits for
it, export, end of the round."""

PracticeGraph = CompiledStateGraph[RunState, None, RunState, RunState]


def build(practice: Practice, checkpointer: BaseCheckpointSaver[Any] | None) -> PracticeGraph:
    """The graph of a run, bound to what its nodes work with."""

    async def propose(state: RunState) -> RunUpdate:
        return await nodes.propose(state, practice)

    async def select(state: RunState) -> RunUpdate:
        return await selection.select(state, practice)

    async def attempt(state: LaneState) -> RunUpdate:
        return await nodes.attempt(state, practice)

    async def curate(state: RunState) -> RunUpdate:
        return await nodes.curate(state, practice)

    async def admission(state: RunState) -> RunUpdate:
        return await admit.admit(state, practice)

    async def approve(state: RunState) -> RunUpdate:
        return await approving.approve(state, practice)

    async def export(state: RunState) -> RunUpdate:
        return await exporting.export(state, practice)

    async def end_round(state: RunState) -> RunUpdate:
        return await nodes.end_round(state, practice)

    def fan_out(state: RunState) -> list[Send] | str:
        """As many lanes as may be under way, while planned attempts are not on record yet."""
        round_ = state["round"]
        lanes = range(practice.lanes(round_))
        return [Send("attempt", LaneState(round=round_, lane=lane)) for lane in lanes] or "curate"

    def go_on(state: RunState) -> str:
        return END if state["finished"] else "propose"

    graph: StateGraph[RunState, None, RunState, RunState] = StateGraph(RunState)
    graph.add_node("propose", propose)
    graph.add_node("select", select)
    graph.add_node("attempt", attempt)
    graph.add_node("curate", curate)
    graph.add_node("admit", admission)
    graph.add_node("export", export)
    graph.add_node("end_round", end_round)
    graph.add_edge(START, "propose")
    graph.add_edge("propose", "select")
    graph.add_conditional_edges("select", fan_out, ["attempt", "curate"])
    graph.add_edge("attempt", "curate")
    graph.add_edge("curate", "admit")
    if practice.config.admission.wait:
        graph.add_node("approve", approve)
        graph.add_edge("admit", "approve")
        graph.add_edge("approve", "export")
    else:
        graph.add_edge("admit", "export")
    graph.add_edge("export", "end_round")
    graph.add_conditional_edges("end_round", go_on, ["propose", END])
    return graph.compile(checkpointer=checkpointer)
