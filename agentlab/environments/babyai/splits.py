"""Which BabyAI tasks are kept for evaluation. Written down once; read by the record store.

Seeds ending in 8 are `dev`, seeds ending in 9 are `heldout`. Whole shapes are never practised:
missions of three or more clauses, and everything in the start states where things have to be
carried from one room to another, are `heldout`; picking up and opening in one mission is `dev`.
"""

from __future__ import annotations

from agentlab.types import Mission, SplitRule

SPLIT_RULE = SplitRule(
    modulus=10,
    dev=frozenset({8}),
    heldout=frozenset({9}),
    dev_templates=(r": (pick_up > open|open > pick_up|open & pick_up)$",),
    heldout_templates=(r"[&>][^&>]*[&>]", r"^across\b"),
)


def template_of(start: str, mission: Mission | None) -> str:
    """The template of a task: its start-state family and the structure of its mission."""
    return f"{start}: {mission.structure if mission is not None else 'no goal'}"
