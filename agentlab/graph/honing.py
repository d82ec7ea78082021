"""A failed candidate goes back to its curator with what failed, a few times and no more.

The curator's answer is a candidate like any other: a new version that starts over. What makes no
sense as a next version is not taken, whoever made it.
"""

from __future__ import annotations

from agentlab.errors import BudgetSpentError, UnknownNameError
from agentlab.graph.trials import AdmissionRound, Case
from agentlab.protocols import Honer, HoningContext
from agentlab.types import Skill, scoped_id

HONES = 2
"""Times that a proposal may come back."""


async def hone(current: AdmissionRound, case: Case, *, most: int = HONES) -> Skill | None:
    """The next version of a candidate that was refused, or None, also after `most` of them."""
    practice, skill = current.practice, case.skill
    curator = practice.curator
    if not isinstance(curator, Honer) or times_honed(current, skill) >= most:
        return None
    context = HoningContext(
        skill=skill,
        reason=case.passage.reason or "",
        replays=case.replays,
        starts=current.provenance.starts(skill),
        tools=practice.environment.tools,
        grammar=practice.vocabulary,
        model=practice.model("curator"),
    )
    try:
        mended = await curator.hone(context)
        if mended is not None:
            mended = mended.model_copy(update={"id": scoped_id(practice.scope, mended.id)})
    except BudgetSpentError:
        return None
    return mended if mended is not None and _follows(current, skill, mended) else None


def times_honed(current: AdmissionRound, skill: Skill) -> int:
    """How often this proposal came back already, in this round or an earlier one."""
    count = 0
    into = {move.evidence.get("honed_into"): move.skill for move in current.moves if move.evidence}
    items = current.practice.records.items
    child = skill
    while child.parent is not None:
        parent = into.get(child.id)
        if parent is None:
            try:
                history = items.history(child.parent)
                if not any(move.evidence.get("honed_into") == child.id for move in history):
                    break
                parent = items.skill(child.parent).item
            except UnknownNameError:
                break
        count += 1
        child = parent
    return count


def _follows(current: AdmissionRound, skill: Skill, mended: Skill) -> bool:
    """Whether one is the next version of the other and nothing else."""
    same = ("name", "environment", "toolset", "origin", "source_tasks", "source_attempts")
    if any(getattr(skill, name) != getattr(mended, name) for name in same):
        return False
    if mended.parent != skill.id or mended.version <= skill.version:
        return False
    if any(mended.id == other.id for other in current.honed):
        return False
    try:
        current.practice.records.items.skill(mended.id)
    except UnknownNameError:
        return True
    return False
