from __future__ import annotations

import math
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.records import Records, Workspace
from agentlab.types import (
    AttemptOutcome,
    ModelCall,
    Observation,
    SplitRule,
    Step,
    StepResult,
    ToolCall,
    Trajectory,
    Usage,
)
from tests.unit.records.samples import (
    RUN,
    TOWN,
    a_skill,
    a_spec,
    a_task,
    an_outcome,
    finished,
    opened,
)

TASKS = [a_task(number) for number in range(4)]
SPECS = [a_spec(slot, TASKS[slot % 4], skills=(a_skill(),)) for slot in range(6)]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with opened(tmp_path) as records:
        records.tasks.add_proposals(RUN, 0, [(task, None) for task in TASKS], SplitRule())
        yield records


def test_specs_come_back_as_they_were_planned(records: Records) -> None:
    assert records.attempts.plan(RUN, 0, list(reversed(SPECS))) == 6
    assert records.attempts.planned(RUN, 0) == SPECS
    assert records.attempts.plan(RUN, 0, SPECS) == 0
    assert records.attempts.recorded_ids(RUN, 0) == []


def test_a_plan_that_was_committed_wins_over_a_later_one(records: Records) -> None:
    records.attempts.plan(RUN, 0, SPECS)
    redrawn = [spec.model_copy(update={"offers": ()}) for spec in SPECS]
    assert records.attempts.plan(RUN, 0, redrawn) == 0
    assert records.attempts.planned(RUN, 0) == SPECS


def test_texts_that_recur_are_kept_once(records: Records) -> None:
    records.attempts.plan(RUN, 0, SPECS)
    with closing(sqlite3.connect(records.workspace.database)) as connection:
        count = connection.execute("SELECT count(*) FROM documents").fetchone()[0]
    assert count == len(TASKS) + 1


def test_outcomes_come_back_whole(records: Records) -> None:
    outcome = an_outcome(SPECS[0])
    assert records.attempts.record(SPECS[0], outcome, finished(SPECS[0]))
    assert records.trajectories.outcome(SPECS[0].id) == outcome
    assert records.trajectories.trajectory(SPECS[0].id) == outcome.trajectory
    with pytest.raises(UnknownNameError, match="no recorded attempt named 'attempt-x'"):
        records.trajectories.outcome("attempt-x")


def test_an_attempt_that_never_began_has_no_trajectory(records: Records) -> None:
    broken = AttemptOutcome(
        attempt_id=SPECS[0].id, status="infrastructure_failure", error="the browser was gone"
    )
    records.attempts.record(SPECS[0], broken)
    assert records.trajectories.trajectory(SPECS[0].id) is None
    row = records.attempts.all(RUN)[0]
    assert (row.status, row.success, row.error) == (
        "infrastructure_failure",
        None,
        "the browser was gone",
    )


def test_numbers_and_texts_that_json_finds_hard_survive(records: Records) -> None:
    seen = Observation(text="half a character: \ud83d", data={"page": "\udc00"})
    outcome = AttemptOutcome(
        attempt_id=SPECS[0].id,
        error="saw \ud83d",
        trajectory=Trajectory(
            initial=seen,
            steps=(
                Step(
                    call=ToolCall(tool="walk"),
                    result=StepResult(observation=seen, reward=math.inf),
                ),
            ),
            model_calls=(
                ModelCall(model="m", request={}, response={}, log_probabilities=(-0.5, -math.inf)),
            ),
        ),
    )
    records.attempts.record(SPECS[0], outcome)
    assert records.trajectories.outcome(SPECS[0].id) == outcome


def test_rows_are_in_slot_order_and_carry_what_curves_need(records: Records) -> None:
    for spec in reversed(SPECS):
        records.attempts.record(spec, an_outcome(spec, success=spec.slot % 2 == 0))
    rows = records.attempts.all(RUN)
    assert [row.slot for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row.success for row in rows] == [True, False] * 3
    assert (rows[0].tool_calls, rows[0].steps, rows[0].first_tool_calls) == (3, 6, 2)
    assert (rows[1].first_tool_calls, rows[1].first_cpu_seconds) == (None, None)
    assert (rows[0].offered, rows[0].withheld) == (1, 0)
    assert rows[0].skills_used == (a_skill().id,)
    assert records.attempts.all(RUN, 0, kind="evaluation") == []
    assert records.attempts.count(RUN, kind="practice") == 6
    assert records.attempts.recorded_ids(RUN, 0) == [spec.id for spec in SPECS]


def test_spent_is_summed_from_what_is_recorded(records: Records) -> None:
    records.attempts.plan(RUN, 0, SPECS)
    assert records.attempts.spent(RUN) == Usage()
    for spec in SPECS[:2]:
        records.attempts.record(spec, an_outcome(spec))
        records.attempts.record(spec, an_outcome(spec))
    assert records.attempts.spent(RUN) == Usage(
        attempts=2, tool_calls=6, steps=12, tokens=10, usd=0.5
    )
    assert records.attempts.spent(RUN, kinds=["evaluation"]) == Usage()


def test_templates_count_completed_practice_alone(records: Records) -> None:
    other = a_task(5, template="open")
    records.tasks.add_proposals(RUN, 1, [(other, None)], SplitRule())
    specs = [
        a_spec(0, other, round_=1),
        a_spec(0, TASKS[0]),
        a_spec(1, TASKS[0]),
        a_spec(2, TASKS[0], kind="shadow"),
        a_spec(3, TASKS[0], kind="evaluation"),
        a_spec(4, TASKS[0]),
        a_spec(5, TASKS[0]),
    ]
    for spec in specs[:5]:
        records.attempts.record(spec, an_outcome(spec, success=spec.slot == 0))
    records.attempts.record(specs[5], an_outcome(specs[5], success=None))
    gone = AttemptOutcome(attempt_id=specs[6].id, status="infrastructure_failure")
    records.attempts.record(specs[6], gone)
    templates = records.attempts.template_outcomes(RUN)
    assert [(t.name, t.outcomes) for t in templates] == [
        ("carry", (True, False)),
        ("open", (True,)),
    ]


def test_draws_are_joined_to_what_came_of_the_attempt(records: Records) -> None:
    skill = a_skill()
    offered = a_spec(0, TASKS[0], skills=(skill,))
    withheld = a_spec(1, TASKS[1], skills=(skill,), withheld=True)
    under_way = a_spec(2, TASKS[2], skills=(skill,))
    broken = a_spec(3, TASKS[3], skills=(skill,))
    records.attempts.plan(RUN, 0, [offered, withheld, under_way, broken])
    records.attempts.record(offered, an_outcome(offered))
    records.attempts.record(withheld, an_outcome(withheld, success=False, steps=7))
    gone = AttemptOutcome(attempt_id=broken.id, status="infrastructure_failure")
    records.attempts.record(broken, gone)
    rows = records.draws.all(name="carry", environment=TOWN)
    assert [(row.withheld, row.success, row.tool_calls, row.steps) for row in rows] == [
        (False, True, 3, 6),
        (True, False, 7, 14),
    ]
    assert records.draws.all(item_id=skill.id) == rows
    assert records.draws.all(name="carry", environment="elsewhere") == []


def test_specs_of_another_place_are_refused(records: Records) -> None:
    with pytest.raises(RecordsError, match="is of round 1"):
        records.attempts.plan(RUN, 0, [a_spec(0, TASKS[0], round_=1)])
    with pytest.raises(RecordsError, match="with its own spec"):
        records.attempts.record(SPECS[0], an_outcome(SPECS[1]))
    with pytest.raises(RecordsError, match="refused a write"):
        records.attempts.plan("other", 0, [a_spec(0, TASKS[0], run_id="other")])


# --- one effect, whatever the order and however often ----------------------------------------


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fresh")
    with opened(path) as records:
        records.tasks.add_proposals(RUN, 0, [(task, None) for task in TASKS], SplitRule())
    return path


@pytest.fixture(scope="module")
def expected(
    fresh: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[object, ...]]]:
    return _replay(fresh, tmp_path_factory.mktemp("expected") / "ws", list(range(6)), 0)


def _contents(workspace: Workspace) -> dict[str, list[tuple[object, ...]]]:
    found: dict[str, list[tuple[object, ...]]] = {}
    with closing(sqlite3.connect(workspace.database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            kept = [c for c in columns if c != "serial" and not c.endswith("_at")]
            rows = connection.execute(f"SELECT {', '.join(kept)} FROM {table}").fetchall()
            if table != "sqlite_sequence":
                found[table] = sorted(rows, key=repr)
    return found


@given(
    st.lists(st.integers(0, 5), max_size=14).flatmap(
        lambda extra: st.permutations([*extra, 0, 1, 2, 3, 4, 5])
    ),
    st.integers(0, 20),
)
@settings(max_examples=20)
def test_recording_in_any_order_and_again_has_one_effect(
    fresh: Path,
    expected: dict[str, list[tuple[object, ...]]],
    order: list[int],
    plan_before: int,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert _replay(fresh, Path(folder) / "ws", order, plan_before) == expected


def _replay(
    fresh: Path, path: Path, order: list[int], plan_before: int
) -> dict[str, list[tuple[object, ...]]]:
    shutil.copytree(fresh, path)
    workspace = Workspace.open(path)
    seen: set[int] = set()
    with Records.open(workspace) as records:
        for turn, number in enumerate(order):
            if turn == plan_before:
                records.attempts.plan(RUN, 0, SPECS)
            spec = SPECS[number]
            # What a rerun gives may differ; what was acknowledged first stays.
            first = number not in seen
            outcome = an_outcome(spec, success=first, steps=3 if first else 4)
            assert records.attempts.record(spec, outcome, finished(spec)) == first
            seen.add(number)
    return _contents(workspace)
