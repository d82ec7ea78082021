"""The human gate in a run: who passed admission serves, or waits for a person first.

What waits counts as standing in the rounds that follow: nothing is proposed a second time beside
it, and a candidate may call it. It is offered to no attempt, and what it is to replace serves on.
Decisions come from any process at any time (`library.approval`) and hold from the next `select`
on; with `admission.wait` the run pauses at a LangGraph interrupt instead, and `resume` goes on
once all that it made is decided. Which of the two it is depends on records and config alone, so a
node that runs again asks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from langgraph.types import interrupt

from agentlab.environments.registration import base_name
from agentlab.events import Event, InsightMoved, SkillMoved
from agentlab.graph.practice import Practice, RunState, RunUpdate
from agentlab.graph.trials import AdmissionRound, Move
from agentlab.library.approval import SEQUENCE
from agentlab.library.waiting import waiting
from agentlab.records import Records
from agentlab.types import Insight, JsonObject, Skill, Status

ASCENT: tuple[Status, ...] = ("quarantined", "verified", "active")
HEARD = "heard"
"""In the result of `select`: the number of the last event of the run that was known then."""


def asks(practice: Practice) -> bool:
    """Whether a person is asked before anything serves."""
    return practice.config.admission.approval == "human"


def approval_in(records: Records, environment: str) -> Literal["auto", "human"]:
    """Whether people let in what serves there: as the last practice in it was told."""
    for row in reversed(records.runs.all()):
        admission, of = row.config.get("admission"), row.config.get("environment")
        if "command" not in row.config and base_name(str(of)) == environment:
            said = admission.get("approval") if isinstance(admission, dict) else None
            return "human" if said == "human" else "auto"
    return "auto"


def path_of(practice: Practice) -> tuple[Status, ...]:
    """What becomes of an item that passed every gate."""
    return ASCENT[:-1] if asks(practice) else ASCENT


def ascend(
    current: AdmissionRound,
    skill: Skill,
    reason: str,
    evidence: JsonObject | None = None,
    replaced: Sequence[Move] = (),
) -> None:
    """Let in a skill that passed, in place of others; or let it wait, and them serve on."""
    move = Move(skill, path_of(current.practice), reason, evidence or {})
    if not asks(current.practice):
        current.moves.extend((*replaced, move))
        return
    later: list[str] = []
    for other in replaced:
        if other.skill.id in current.awaiting:  # nobody needs to look at it any more
            later += current.awaiting.pop(other.skill.id)
            current.moves.append(other)
        else:
            later.append(other.skill.id)
    move.supersedes = current.awaiting[skill.id] = tuple(later)
    current.moves.append(move)


def stand(current: AdmissionRound) -> None:
    """Put the skills that wait among those that stand in this admission."""
    practice = current.practice
    if not asks(practice):
        return
    for line in waiting(
        practice.records,
        environment=practice.environment_name,
        toolset=practice.toolset,
        kind="skill",
        scope=practice.scope,
    ):
        if line.scope != practice.scope.path:
            continue  # what is around it is others' to decide on
        skill = practice.records.items.skill(line.id).item
        current.served[skill.name] = skill
        current.awaiting[skill.id] = line.supersedes


def waiting_insights(practice: Practice) -> dict[str, tuple[Insight, tuple[str, ...]]]:
    """The insights that wait, and the ids of what each is to replace, by id."""
    if not asks(practice):
        return {}
    lines = waiting(
        practice.records,
        environment=practice.environment_name,
        kind="insight",
        scope=practice.scope,
    )
    return {
        line.id: (practice.records.items.insight(line.id).item, line.supersedes)
        for line in lines
        if line.scope == practice.scope.path
    }


class Heard(NamedTuple):
    """What was decided since a run last looked."""

    events: tuple[Event, ...]
    result: JsonObject
    """For the node that looked to keep."""


def decided(practice: Practice, round_: int) -> Heard:
    """The decisions that the run was not told of yet; none where no person is asked."""
    if not asks(practice):
        return Heard((), {})
    before = practice.records.nodes.done(practice.run_id, round_ - 1, "select") or {}
    last = before.get(HEARD)
    rows = practice.records.events.after(practice.run_id, last if isinstance(last, int) else 0)
    events = [
        row.event
        for row in rows
        if isinstance(row.event, SkillMoved | InsightMoved) and row.event.sequence >= SEQUENCE
    ]
    return Heard(tuple(events), {HEARD: rows[-1].serial if rows else last})


async def approve(_: RunState, practice: Practice) -> RunUpdate:
    """Pause the run while something that it made waits for a person."""
    held = waiting(practice.records, run_id=practice.run_id, scope=None)
    if held:
        interrupt([line.id for line in held])
    return {}
