"""What the database counts, against the same read attempt by attempt."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.records import DrawRow, Records
from agentlab.records.draws import LEAST_CHANCE
from agentlab.statistics.effects import has_chance
from agentlab.types import (
    AttemptKind,
    AttemptSpec,
    AttemptStatus,
    Offer,
    Skill,
    Split,
    SplitRule,
    Task,
)
from tests.unit.records.samples import RUN, TOWN, a_skill, a_spec, a_task, an_outcome, opened

RUNS = (RUN, "run-0")
SKILLS = [
    a_skill(name).model_copy(update={"source_tasks": tasks})
    for name, tasks in (("carry", ("task-0",)), ("walk", ()), ("open", ("task-1", "task-2")))
]
CHANCES = (0.0, LEAST_CHANCE / 2, LEAST_CHANCE, 0.1, 0.5, 1 - LEAST_CHANCE, 1.0)


class Past(NamedTuple):
    """One attempt of a history."""

    run: str
    task: int
    kind: AttemptKind
    status: AttemptStatus | None
    success: bool | None
    split: Split
    offers: tuple[tuple[int, float, bool], ...]
    used: tuple[int, ...]


OFFER = st.tuples(st.integers(0, 2), st.sampled_from(CHANCES), st.booleans())
HISTORY = st.lists(
    st.builds(
        Past,
        st.sampled_from(RUNS),
        st.integers(0, 5),
        st.sampled_from(["practice", "shadow", "evaluation", "production"]),
        st.sampled_from(["completed", "infrastructure_failure", None]),
        st.sampled_from([True, False, None]),
        st.sampled_from(["practice", "heldout"]),
        st.lists(OFFER, max_size=3, unique_by=lambda offer: offer[0]).map(tuple),
        st.lists(st.integers(0, 2), max_size=2, unique=True).map(tuple),
    ),
    max_size=25,
)


def _task(past: Past) -> Task:
    unseen = past.kind in ("evaluation", "production") and past.split == "heldout"
    return a_task(past.task + 10, split="heldout") if unseen else a_task(past.task)


def _remember(records: Records, history: list[Past]) -> None:
    records.runs.create("run-0", config={}, versions={}, seed=0)
    for skill in SKILLS:
        records.items.save_skill(skill)
    for run in RUNS:
        tasks = [(a_task(number), None) for number in range(6)]
        records.tasks.add_proposals(run, 0, tasks, SplitRule())
    for slot, past in enumerate(history):
        spec: AttemptSpec = a_spec(
            slot % 7, _task(past), round_=slot // 7, kind=past.kind, run_id=past.run
        ).model_copy(
            update={
                "offers": tuple(
                    Offer(
                        item_id=SKILLS[item].id,
                        name=SKILLS[item].name,
                        probability=chance,
                        withheld=withheld,
                    )
                    for item, chance, withheld in past.offers
                )
            }
        )
        records.attempts.plan(past.run, spec.round, [spec])
        if past.status is not None:
            outcome = an_outcome(spec, success=past.success, steps=1).model_copy(
                update={
                    "status": past.status,
                    "skills_used": tuple(SKILLS[item].id for item in past.used),
                }
            )
            records.attempts.record(spec, outcome)


def _counts(row: DrawRow, skill: Skill) -> bool:
    return (
        row.kind in ("practice", "production")
        and row.task_id not in skill.source_tasks
        and has_chance(row.probability)
        and row.success is not None
    )


@given(HISTORY, st.integers(1, 4))
@settings(max_examples=40)
def test_counting_in_the_database_is_counting_attempt_by_attempt(
    tmp_path_factory: pytest.TempPathFactory, history: list[Past], first: int
) -> None:
    with opened(tmp_path_factory.mktemp("ws")) as records:
        _remember(records, history)
        uses = Counter[str]()
        for run in RUNS:
            rows = records.attempts.all(run)
            tried = {row.task_id for row in rows if row.kind == "practice"}
            untried = [task for task in records.tasks.all(run) if task.id not in tried]
            assert records.tasks.untried(run) == untried
            for row in rows:
                if row.kind != "shadow":
                    uses.update(row.skills_used)
        assert records.attempts.uses() == uses
        found = records.draws.known([skill.id for skill in SKILLS], environment=TOWN, first=first)
        for skill in SKILLS:
            slow = records.draws.all(environment=TOWN, item_id=skill.id)
            known = [row for row in slow if _counts(row, skill)]
            if known:
                assert found[skill.id] == (len(known), known[:first])
            else:
                assert skill.id not in found


def test_draws_of_other_items_and_environments_are_left_out(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        _remember(
            records,
            [Past(RUN, 5, "practice", "completed", True, "practice", ((0, 0.5, False),), ())],
        )
        ask = records.draws.known
        assert set(ask([SKILLS[0].id], environment=TOWN, first=5)) == {SKILLS[0].id}
        assert ask([SKILLS[1].id], environment=TOWN, first=5) == {}
        assert ask([SKILLS[0].id], environment="elsewhere", first=5) == {}
        assert ask([], environment=TOWN, first=5) == {}
