from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.records import Records
from agentlab.types import AttemptOutcome, SplitRule
from tests.unit.records.samples import RUN, a_spec, a_task, an_outcome, opened

RULE = SplitRule(heldout_templates=(r"^put .* > put",))


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with opened(tmp_path) as records:
        yield records


def test_the_store_itself_drops_what_is_reserved(records: Records) -> None:
    verdicts = records.tasks.add_proposals(
        RUN,
        0,
        [
            (a_task(1), None),
            (a_task(9), None),
            (a_task(8), "solution fails: twice"),
            (a_task(2, template="put a > put b"), None),
            (a_task(3, split="heldout"), None),
            (a_task(4), "solution fails: at step 3"),
            (a_task(1), None),
        ],
        RULE,
    )
    assert [verdict.admitted for verdict in verdicts] == [True] + [False] * 6
    assert [(verdict.reason or "").partition(":")[0] for verdict in verdicts] == [
        "",
        "reserved seed",
        "reserved seed",
        "reserved template",
        "reserved split",
        "solution fails",
        "duplicate",
    ]
    assert records.tasks.all(RUN) == [a_task(1)]
    assert records.tasks.verdicts(RUN, 0) == verdicts
    counts = records.tasks.proposal_counts(RUN)
    assert (counts.proposed, counts.admitted) == (7, 1)
    assert counts.rejected == {
        "duplicate": 1,
        "reserved seed": 2,
        "reserved split": 1,
        "reserved template": 1,
        "solution fails": 1,
    }


def test_proposing_again_changes_nothing(records: Records) -> None:
    proposals = [(a_task(number), None) for number in (1, 9, 2, 1)]
    first = records.tasks.add_proposals(RUN, 0, proposals, RULE)
    assert records.tasks.add_proposals(RUN, 0, proposals, RULE) == first
    assert records.tasks.proposal_counts(RUN).proposed == 4
    with pytest.raises(RecordsError, match="has other proposals already"):
        records.tasks.add_proposals(RUN, 0, [(a_task(7), None)], RULE)
    more = records.tasks.add_proposals(RUN, 0, [(a_task(7), None)], RULE, first=4)
    assert more[0].admitted


def test_a_task_of_an_earlier_round_is_a_duplicate_unless_it_was_refused(
    records: Records,
) -> None:
    records.tasks.add_proposals(RUN, 0, [(a_task(1), None), (a_task(2), "flaky")], RULE)
    verdicts = records.tasks.add_proposals(RUN, 1, [(a_task(1), None), (a_task(2), None)], RULE)
    assert [verdict.reason for verdict in verdicts] == ["duplicate", None]
    rows = records.tasks.rows(RUN)
    assert [(row.task.id, row.round, row.position) for row in rows] == [
        ("task-1", 0, 0),
        ("task-2", 1, 1),
    ]
    assert records.tasks.all(RUN, 1) == [a_task(2)]


def test_tasks_are_found_by_id(records: Records) -> None:
    records.tasks.add_proposals(RUN, 0, [(a_task(1), None)], RULE)
    assert records.tasks.get("task-1") == a_task(1)
    assert records.tasks.get("task-1", run_id=RUN) == a_task(1)
    with pytest.raises(UnknownNameError, match="no task named 'task-5'"):
        records.tasks.get("task-5")
    with pytest.raises(UnknownNameError):
        records.tasks.get("task-1", run_id="run-2")


def test_only_completed_practice_at_admitted_tasks_is_learnable(records: Records) -> None:
    records.tasks.add_proposals(RUN, 0, [(a_task(1), None), (a_task(9), None)], RULE)
    heldout = a_task(9, split="heldout")
    specs = [
        a_spec(0, a_task(1)),
        a_spec(1, a_task(1)),
        a_spec(2, a_task(1), kind="shadow"),
        a_spec(3, a_task(1), kind="evaluation"),
        a_spec(4, heldout, kind="evaluation"),
        a_spec(5, a_task(8, split="dev"), kind="evaluation"),
        # Nobody proposed it, so nothing was checked against the rule.
        a_spec(6, a_task(2)),
        # It says that it may be practised, and its proposal was refused.
        a_spec(7, a_task(9)),
        a_spec(8, a_task(1), kind="production"),
        a_spec(9, a_task(1)),
    ]
    for spec in specs[:-1]:
        records.attempts.record(spec, an_outcome(spec, success=spec.slot != 1))
    gone = AttemptOutcome(attempt_id=specs[-1].id, status="infrastructure_failure")
    records.attempts.record(specs[-1], gone)
    learnable = records.trajectories.learnable(RUN)
    assert [past.attempt_id for past in learnable] == [specs[0].id, specs[1].id]
    assert learnable[0].task == a_task(1)
    assert learnable[0].trajectory == an_outcome(specs[0]).trajectory
    assert [p.success for p in records.trajectories.learnable(RUN, 0, solved=True)] == [True]
    assert [p.success for p in records.trajectories.learnable(RUN, solved=False)] == [False]
    assert records.trajectories.learnable(RUN, 1) == []


@pytest.mark.parametrize("kind", ["practice", "shadow"])
def test_reserved_tasks_are_never_practised(records: Records, kind: str) -> None:
    spec = a_spec(0, a_task(9, split="heldout"), kind="shadow" if kind == "shadow" else "practice")
    with pytest.raises(RecordsError, match="reserved for heldout"):
        records.attempts.plan(RUN, 0, [spec])
    with pytest.raises(RecordsError, match="reserved for heldout"):
        records.attempts.record(spec, an_outcome(spec))


def test_an_evaluated_task_is_not_among_the_admitted(records: Records) -> None:
    spec = a_spec(0, a_task(9, split="heldout"), kind="evaluation")
    records.attempts.record(spec, an_outcome(spec))
    assert records.tasks.all(RUN) == []
    assert records.tasks.all(RUN, admitted=False) == [spec.task]
    assert records.tasks.proposal_counts(RUN).proposed == 0


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["go", "put a > put b"]))))
@settings(max_examples=15)
def test_nothing_reserved_is_ever_admitted(
    tmp_path_factory: pytest.TempPathFactory, proposed: list[tuple[int, str]]
) -> None:
    tasks = [a_task(number, template=template) for number, template in proposed]
    with opened(tmp_path_factory.mktemp("split")) as records:
        verdicts = records.tasks.add_proposals(RUN, 0, [(task, None) for task in tasks], RULE)
        admitted = records.tasks.all(RUN)
    assert len(verdicts) == len(tasks)
    assert all(RULE.refusal(task) is None for task in admitted)
    assert len({task.id for task in admitted}) == len(admitted)
    assert sum(verdict.admitted for verdict in verdicts) == len(admitted)
