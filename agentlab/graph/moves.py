"""Putting on record what an admission decided: new versions, changes of status, their events.

All of it belongs into one transaction, so that no item is ever between two gates.
"""

from __future__ import annotations

from agentlab.events import Event, SkillMoved, SkillProposed
from agentlab.graph.trials import AdmissionRound, Move
from agentlab.library.waiting import gate_evidence
from agentlab.records import Transaction


def carry_out(part: Transaction, current: AdmissionRound, first: int) -> list[Event]:
    """Record the round's decisions; what they are told by, numbered from `first`."""
    events: list[Event] = []
    for skill in current.honed:
        part.items.save_skill(
            skill,
            run_id=current.practice.run_id,
            round_=current.round,
            scope=current.practice.scope,
        )
        events.append(
            SkillProposed(
                run_id=current.practice.run_id,
                round=current.round,
                sequence=first + len(events),
                skill_id=skill.id,
                name=skill.name,
            )
        )
    for move in current.moves:
        events.extend(_carry_out(part, current, move, first + len(events)))
    return events


def _carry_out(part: Transaction, current: AdmissionRound, move: Move, first: int) -> list[Event]:
    practice = current.practice
    row = part.items.skill(move.skill.id)
    events: list[Event] = []
    if row.scope != practice.scope.path:
        return events  # what a run finds in its scope decides nothing about the items of others
    before = row.status
    for status in move.path:
        sequence = first + len(events)
        evidence = move.evidence if status == move.path[-1] else {}
        if move.supersedes is not None and status == "verified":
            evidence = evidence | gate_evidence(sequence, move.supersedes)
        moved = part.items.move(
            move.skill.id,
            status,
            reason=move.reason,
            evidence=evidence,
            run_id=practice.run_id,
            round_=current.round,
            # A verdict by which it stays is kept, and is no event; a step on its way is neither.
            again=status == move.path[-1],
        )
        if moved and status != before:
            events.append(
                SkillMoved(
                    run_id=practice.run_id,
                    round=current.round,
                    sequence=sequence,
                    skill_id=move.skill.id,
                    name=move.skill.name,
                    before=before,
                    after=status,
                    reason=move.reason,
                )
            )
        before = status
    return events
