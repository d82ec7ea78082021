"""Retrieval as a node: the served skills that fit what the state says, written back as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypedDict, runtime_checkable

from agentlab.graph.embedded.node import Node, Turn, value_of
from agentlab.library.skills import Found
from agentlab.models.prompts import quoted


class FoundSkill(TypedDict):
    """A skill that fits, as the node of a library writes it: plain values.

    Example:
        >>> sorted(FoundSkill.__annotations__)
        ['name', 'score', 'signature', 'text']
    """

    name: str
    signature: str
    text: str
    """What is known of it, as quoted data for a prompt."""
    score: float


@runtime_checkable
class FindsSkills(Protocol):
    """What is searched; `agentlab.Library` is one."""

    async def afind(self, query: str, *, k: int) -> Sequence[Found]:
        """The served skills that fit, best first."""
        ...


def retrieval_node(
    library: FindsSkills, *, read: str = "query", write: str = "skills", k: int = 8
) -> Node:
    """A node that finds the skills which fit a text in the state. See `as_node`."""

    async def work(state: Any, turn: Turn) -> dict[str, Any]:
        found = await library.afind(str(value_of(state, read)), k=k)
        turn.tell({"event": "SkillsRetrieved", "names": [each.skill.name for each in found]})
        return {write: [_found(each) for each in found]}

    return Node("agentlab retrieval", work, reads=(read,), writes=write)


def _found(found: Found) -> FoundSkill:
    skill = found.skill
    return FoundSkill(
        name=skill.name,
        signature=skill.signature,
        text=quoted(f"{skill.signature}: {skill.summary}"),
        score=found.score,
    )
