from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.records import Records
from agentlab.types import Insight, Parameter, Status
from tests.unit.records.samples import RUN, TOWN, a_skill, opened


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with opened(tmp_path) as records:
        yield records


def _walk(records: Records, item_id: str, *statuses: Status) -> None:
    for status in statuses:
        assert records.items.move(item_id, status, reason=f"to {status}", run_id=RUN, round_=1)


def test_a_skill_goes_from_gate_to_gate(records: Records) -> None:
    skill = a_skill()
    assert records.items.save_skill(skill, reason="from two attempts", run_id=RUN, round_=0)
    assert not records.items.save_skill(skill, status="active")
    _walk(records, skill.id, "quarantined", "verified")
    records.items.move(skill.id, "active", reason="useful", evidence={"lift": 0.4, "n": 16})
    assert not records.items.move(skill.id, "active", reason="again")
    row = records.items.skill(skill.id)
    assert (row.item, row.status, row.reason, row.run_id) == (skill, "active", "useful", RUN)
    history = records.items.history(skill.id)
    assert [(move.before, move.after) for move in history] == [
        (None, "candidate"),
        ("candidate", "quarantined"),
        ("quarantined", "verified"),
        ("verified", "active"),
    ]
    assert history[-1].evidence == {"lift": 0.4, "n": 16}
    assert history[1].round == 1


def test_a_verdict_by_which_it_stays_in_quarantine_is_kept_once(records: Records) -> None:
    skill = a_skill()
    records.items.save_skill(skill, run_id=RUN, round_=0)
    _walk(records, skill.id, "quarantined")
    seen = records.items.library_version(TOWN)

    def judge(reason: str, round_: int, status: Status = "quarantined") -> bool:
        return records.items.move(
            skill.id,
            status,
            reason=reason,
            evidence={"n": 8},
            run_id=RUN,
            round_=round_,
            again=True,
        )

    assert judge("of no use", 2)
    assert not judge("of no use", 2), "the same verdict, told twice"
    assert judge("of no use", 3)
    assert not records.items.move(skill.id, "quarantined", reason="else"), "nobody judged it"
    row = records.items.skill(skill.id)
    assert (row.status, row.reason) == ("quarantined", "of no use")
    history = records.items.history(skill.id)
    assert [(move.after, move.round) for move in history[1:]] == [
        ("quarantined", 1),
        ("quarantined", 2),
        ("quarantined", 3),
    ]
    assert history[-1].evidence == {"n": 8}
    assert records.items.library_version(TOWN) == seen
    _walk(records, skill.id, "verified", "active")
    assert not judge("good still", 4, "active"), "what serves is not judged so"
    assert records.items.skill(skill.id).reason == "to active"


@pytest.mark.parametrize(
    ("walk", "after"),
    [((), "active"), ((), "verified"), (("quarantined",), "active"), (("retired",), "active")],
)
def test_no_gate_is_skipped(records: Records, walk: tuple[Status, ...], after: Status) -> None:
    skill = a_skill()
    records.items.save_skill(skill)
    _walk(records, skill.id, *walk)
    with pytest.raises(RecordsError, match="cannot go from"):
        records.items.move(skill.id, after, reason="hurry")
    assert records.items.skills(status="active") == []


def test_retirement_has_a_reason_and_can_be_undone(records: Records) -> None:
    old, new = a_skill(), a_skill(version=2, parent=a_skill().id)
    for skill in (old, new):
        records.items.save_skill(skill)
        _walk(records, skill.id, "quarantined", "verified", "active")
    records.items.save_skill(a_skill("walk"))
    assert records.items.remove_skill("carry", reason="asked for") == [old.id, new.id]
    assert records.items.remove_skill("carry", reason="asked for") == []
    assert {row.reason for row in records.items.skills(status="retired")} == {"asked for"}
    assert [row.item.name for row in records.items.skills(status="candidate")] == ["walk"]
    assert records.items.move(new.id, "active", reason="missed it")
    assert [row.item for row in records.items.skills(status="active")] == [new]
    with pytest.raises(UnknownNameError, match="Did you mean 'carry'"):
        records.items.remove_skill("cary", reason="asked for")


def test_skills_are_filtered_and_in_the_order_of_arrival(records: Records) -> None:
    skills = [a_skill("walk"), a_skill(), a_skill(version=2, parent=a_skill().id)]
    for skill in skills:
        records.items.save_skill(skill)
    assert [row.item for row in records.items.skills()] == skills
    assert [row.item for row in records.items.skills(name="carry")] == skills[1:]
    assert records.items.skills(environment="elsewhere") == []
    assert records.items.skills(toolset="other") == []
    assert len(records.items.skills(environment=TOWN, toolset="default")) == 3
    assert len(records.items.skills(status=["candidate", "active"])) == 3
    with pytest.raises(UnknownNameError):
        records.items.skill("skill-x")
    with pytest.raises(UnknownNameError):
        records.items.move("skill-x", "retired", reason="none")


def test_lineage_can_be_followed(records: Records) -> None:
    old, new = a_skill(), a_skill(version=2, parent=a_skill().id)
    records.items.save_skill(old)
    records.items.save_skill(new)
    both = sorted([old.id, new.id])
    assert records.items.descendants("parent", old.id) == [new.id]
    assert records.items.descendants("task", "task-0") == both
    assert records.items.descendants("attempt", "attempt-0") == both
    assert records.items.descendants("calls", "walk") == both


def test_insights_live_the_same_life(records: Records) -> None:
    insight = Insight(
        id="insight-1",
        environment=TOWN,
        condition="the door is locked",
        advice="fetch the key first",
        source_tasks=("task-1",),
    )
    assert records.items.save_insight(insight, run_id=RUN, round_=0)
    assert not records.items.save_insight(insight)
    _walk(records, insight.id, "quarantined", "verified", "active")
    assert [row.item for row in records.items.insights(status="active")] == [insight]
    assert records.items.descendants("task", "task-1") == [insight.id]
    assert records.items.skills() == []


def test_the_library_version_grows_with_what_is_served(records: Records) -> None:
    skill = a_skill()
    seen = [records.items.library_version(TOWN)]

    def grew() -> bool:
        seen.append(records.items.library_version(TOWN))
        assert seen[-1] >= seen[-2]
        return seen[-1] > seen[-2]

    vector = np.asarray([0.6, 0.8], dtype=np.float32)
    records.items.save_skill(skill)
    assert not grew()
    assert records.vectors.save(skill.id, "lexical", vector)
    assert not grew()
    _walk(records, skill.id, "quarantined", "verified")
    assert not grew()
    _walk(records, skill.id, "active")
    assert grew()
    assert not records.vectors.save(skill.id, "lexical", vector)
    assert not grew()
    assert records.vectors.save(skill.id, "lexical", -vector)
    assert grew()
    _walk(records, skill.id, "retired")
    assert grew()
    assert records.items.library_version("elsewhere") == 0


def test_vectors_come_back_as_one_matrix(records: Records) -> None:
    names = ["walk", "carry", "open", "fetch"]
    skills = sorted((a_skill(name) for name in names), key=lambda skill: skill.id)
    for number, skill in enumerate(skills):
        records.items.save_skill(skill)
        row = np.asarray([number, 0.25, -1.0], dtype=np.float32)
        records.vectors.save(skill.id, "lexical", row)
    _walk(records, skills[3].id, "retired")
    records.vectors.save(skills[0].id, "other", np.ones(2, dtype=np.float32))
    table = records.vectors.all(
        environment=TOWN, kind="skill", embedder="lexical", statuses=["candidate"]
    )
    assert table.ids == [skill.id for skill in skills[:3]]
    assert table.matrix.dtype == np.float32
    np.testing.assert_array_equal(table.matrix[:, 0], [0, 1, 2])
    served = records.vectors.all(environment=TOWN, kind="skill", embedder="lexical")
    assert (served.ids, served.matrix.shape) == ([], (0, 0))
    missing = records.vectors.missing(environment=TOWN, kind="skill", embedder="other")
    assert missing == [skill.id for skill in skills[1:3]]


def test_bad_vectors_are_refused(records: Records) -> None:
    skill = a_skill()
    records.items.save_skill(skill)
    for bad in (np.ones((1, 2), dtype=np.float32), np.asarray([np.nan], dtype=np.float32)):
        with pytest.raises(RecordsError, match="one row of finite numbers"):
            records.vectors.save(skill.id, "lexical", bad)
    with pytest.raises(UnknownNameError):
        records.vectors.save("skill-x", "lexical", np.ones(2, dtype=np.float32))


@pytest.mark.parametrize("name", ["", "a-b", "2nd", "räum", "env.x", "a b", "x\n", "x" * 65])
def test_names_that_are_no_plain_identifiers_are_refused(records: Records, name: str) -> None:
    skill = a_skill()
    parameter = Parameter(name=name, type="object")
    for bad in (
        skill.model_copy(update={"name": name}),
        skill.model_copy(update={"parameters": (parameter,)}),
    ):
        with pytest.raises(RecordsError, match="no plain identifier; name skills"):
            records.items.save_skill(bad)
    assert records.items.skills() == []


def test_the_longest_plain_names_are_kept(records: Records) -> None:
    skill = a_skill("_" + "x" * 63).model_copy(
        update={"parameters": (Parameter(name="Item_2", type="object"),)}
    )
    assert records.items.save_skill(skill)
    assert records.items.skill(skill.id).item == skill
