"""A tally that is begun from counts is the one to which each event was added in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.analysis.tally import Plan, Tally
from agentlab.events import (
    AttemptFinished,
    AttemptsPlanned,
    Event,
    InsightMoved,
    RepliesDropped,
    RoundFinished,
    RunPaused,
    SkillMoved,
    SkillProposed,
    TaskAdmitted,
    TaskRejected,
)
from agentlab.view.summed import SummedTally
from tests.unit.records.samples import RUN, opened

STATUSES = st.sampled_from(["active", "verified", "retired", "candidate"])
REASONS = st.sampled_from(
    ["duplicate", "reserved seed: 3", "reserved seed: 4", "", " unsolved : x"]
)
CONTENT: dict[type[Event], dict[str, st.SearchStrategy[Any]]] = {
    TaskAdmitted: {"instruction": st.text(max_size=5)},
    TaskRejected: {"reason": REASONS},
    AttemptsPlanned: {"attempts": st.integers(0, 9)},
    AttemptFinished: {
        "attempt_kind": st.sampled_from(["practice", "shadow", "evaluation"]),
        "success": st.sampled_from([True, False, None]),
        "status": st.sampled_from(["completed", "infrastructure_failure"]),
        "steps": st.integers(0, 50),
    },
    SkillProposed: {"name": st.just("carry")},
    SkillMoved: {"name": st.just("carry"), "before": STATUSES, "after": STATUSES},
    InsightMoved: {"before": STATUSES, "after": STATUSES},
    RoundFinished: {"active_skills": st.integers(0, 9)},
    RunPaused: {"reason": st.sampled_from(["", "it is down"])},
    RepliesDropped: {"role": st.just("proposer"), "reasons": st.just({"no solution": 2})},
}


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Events in the order of rounds, but for some that came late."""
    found: list[Event] = []
    round_ = 0
    for number in range(draw(st.integers(0, 40))):
        round_ += draw(st.integers(0, 9)) == 0
        kind = draw(st.sampled_from([*CONTENT, AttemptFinished, TaskRejected]))
        values = {name: draw(value) for name, value in CONTENT[kind].items()}
        late = min(round_, draw(st.sampled_from([0, 0, 0, 1])))
        found.append(kind(run_id=RUN, round=round_ - late, sequence=number, **values))
    return found


def state(tally: Tally) -> dict[str, Any]:
    """All that it holds but its clock, with verdicts as they are counted."""
    held = {name: value for name, value in vars(tally).items() if name not in ("_clock", "_began")}
    verdicts = held.pop("_verdicts")
    return {
        **held,
        "rejected": list(tally.rejected.items()),
        "verdicts": {round_: (sum(each), len(each)) for round_, each in verdicts.items()},
    }


@settings(max_examples=40)
@given(events=logs(), later=logs(), most=st.integers(1, 6))
def test_a_tally_begun_late_is_the_one_that_was_there_all_along(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], later: list[Event], most: int
) -> None:
    plan = Plan(rounds=3, attempts=most)
    early, late = Tally(plan), SummedTally(plan)
    with opened(tmp_path_factory.mktemp("log")) as records:
        records.runs.create("another", config={}, versions={}, seed=0)
        records.events.append([TaskAdmitted(run_id="another", round=9), *events])
        log = late.begin(records, RUN, newest=5)
        rows = records.events.after(RUN)
        assert list(log.newest) == rows[-5:]
        assert log.serial == (rows[-1].serial if rows else 0)
        for row in rows:
            early.add(row.event)
        assert state(late) == state(early) and late.lines() == early.lines()
        for event in later:
            early.add(event)
            late.add(event)
        assert state(late) == state(early)


def test_what_an_event_does_not_say_is_what_its_class_says(tmp_path: Path) -> None:
    """Logs of earlier versions leave out what they did not know of."""
    with opened(tmp_path) as records:
        records.events.append([AttemptFinished(run_id=RUN, success=True, steps=4)])
        with records._database.write() as connection:  # pyright: ignore[reportPrivateUsage] # an earlier version's row
            connection.exec_driver_sql("""UPDATE events SET payload = '{"success": true}'""")
        late = SummedTally(Plan())
        late.begin(records, RUN, newest=1)
        early = Tally(Plan())
        (row,) = records.events.after(RUN)
        early.add(row.event)
        assert state(late) == state(early)
        assert state(late)["practised"] == 1 and state(late)["steps"] == 0
