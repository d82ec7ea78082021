"""The human gate in admission: what waits stands beside what serves, and replaces it later."""

from __future__ import annotations

from pathlib import Path

from agentlab.graph import selection
from agentlab.graph.admit import admit
from agentlab.graph.practice import Practice, RunState
from agentlab.library.approval import decide
from agentlab.library.waiting import waiting
from agentlab.types import Skill, skill_id
from tests.unit.graph.test_gates import (
    DELIVER,
    RUN,
    Log,
    deliver,
    practised,
    serve,
    with_practice,
)

HUMAN = {"rounds": 3, "admission.approval": "human", "tool_calls": 300}


def version(number: int, detours: int, parent: Skill | None = None) -> Skill:
    """A version of `deliver` that goes back and forth so often before it does anything."""
    skill = deliver(*["walk(to=container)"] * detours, *DELIVER)
    return skill.model_copy(
        update={
            "id": skill_id("courier", "deliver", number, skill.source),
            "version": number,
            "parent": parent.id if parent else None,
        }
    )


def test_what_serves_does_so_until_a_person_approves_the_newest_that_waits(tmp_path: Path) -> None:
    first, second = version(1, 60), version(2, 24)
    third = version(3, 0)
    copy = deliver(*DELIVER, name="bring")

    async def work(practice: Practice, log: Log) -> None:
        items = practice.records.items
        serve(practice, first)
        state = await practised(practice)
        items.save_skill(second, run_id=RUN, round_=0)
        await admit(state, practice)
        (held,) = waiting(practice.records, run_id=RUN)
        assert (held.id, held.supersedes) == (second.id, (first.id,))
        assert items.skill(first.id).status == "active"
        # It is offered to nobody, whatever is attempted next.
        practice.library.refresh()
        assert list(practice.library.skills) == [first.id]
        state = RunState(run_id=RUN, round=1, planned=0, finished=False)
        items.save_skill(third, run_id=RUN, round_=1)
        items.save_skill(copy, run_id=RUN, round_=1)
        await admit(state, practice)
        # The newest is looked at alone, and would take the place of what serves.
        (held,) = waiting(practice.records, run_id=RUN)
        assert (held.id, held.supersedes) == (third.id, (first.id,))
        assert items.skill(second.id).reason == "superseded: by version 3"
        # What waits stands: nothing that does the same comes to wait beside it.
        assert items.skill(copy.id).reason == "rejected: duplicate: the same as 'deliver'"
        done = decide(
            practice.records, third.id, "approve", digest=held.digest, reason="shorter", by="ada"
        )
        assert done.superseded == (first.id,)
        state = RunState(run_id=RUN, round=2, planned=0, finished=False)
        await selection.select(state, practice)
        practice.library.refresh()
        assert list(practice.library.skills) == [third.id]
        # Who watches the run is told of it with the round that takes it up, once.
        told = [event for event in log.events if getattr(event, "by", "")]
        assert [(e.kind, e.round, e.sequence % 100) for e in told] == [
            ("SkillMoved", 1, 0),
            ("SkillMoved", 1, 1),
        ]

    with_practice(tmp_path, work, HUMAN)


def test_what_is_served_unchecked_waits_as_well(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> None:
        state = await practised(practice)
        practice.records.items.save_skill(version(1, 0), run_id=RUN, round_=0)
        await admit(state, practice)
        (held,) = waiting(practice.records)
        assert (held.reason, held.supersedes) == ("admitted unchecked", ())

    with_practice(tmp_path, work, {**HUMAN, "admission.enabled": False, "attempts": 3})
