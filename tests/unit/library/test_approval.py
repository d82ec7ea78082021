"""The human gate's decisions: one move and one event each, kept for ever, refused in time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.config import ConfigError, load_config
from agentlab.errors import RecordsError, UnknownNameError, UsageError
from agentlab.events import InsightMoved, SkillMoved
from agentlab.library.approval import decide
from agentlab.library.waiting import gate_evidence, waiting
from agentlab.records import Records, Workspace
from agentlab.types import SHARED, Insight, Scope, Skill
from agentlab.types.approval import Verdict, WaitingItem
from tests.unit.records.samples import RUN, a_skill, opened


class Said(TypedDict):
    """What a person says."""

    reason: str
    by: str


class Given(Said):
    """The same, with what it is about."""

    digest: str


HERE = Said(reason="read it", by="ada")


def lone(name: str = "carry", version: int = 1, **changes: object) -> Skill:
    return a_skill(name, version).model_copy(update={"skills": (), **changes})


def put_up(
    records: Records, item: Skill | Insight, *supersedes: str, sequence: int = 30_000
) -> WaitingItem:
    """Let an item wait, as admission does."""
    if isinstance(item, Skill):
        records.items.save_skill(item, run_id=RUN, round_=0)
    else:
        records.items.save_insight(item, run_id=RUN, round_=0)
    evidence = gate_evidence(sequence, supersedes)
    records.items.move(item.id, "quarantined", reason="admitted", run_id=RUN, round_=2)
    records.items.move(
        item.id, "verified", reason="admitted", evidence=evidence, run_id=RUN, round_=2
    )
    (line,) = (line for line in waiting(records) if line.id == item.id)
    return line


def serve(records: Records, skill: Skill) -> Skill:
    records.items.save_skill(skill)
    for status in ("quarantined", "verified", "active"):
        records.items.move(skill.id, status, reason="admitted")
    return skill


def an_insight(number: int = 0) -> Insight:
    return Insight(
        id=f"insight-{number}", environment="town", condition="late", advice="Take the bridge."
    )


@pytest.mark.parametrize(("verdict", "status"), [("approve", "active"), ("reject", "retired")])
def test_a_decision_is_one_move_and_one_event_and_is_kept(
    tmp_path: Path, verdict: Verdict, status: str
) -> None:
    with opened(tmp_path) as records:
        line = put_up(records, lone(), sequence=30_007)
        version = records.items.library_version("town")
        moves = len(records.items.history(line.id))
        done = decide(records, line.id, verdict, digest=line.digest, **HERE)
        assert (done.status, done.repeated, done.superseded) == (status, False, ())
        (event,) = records.events.of(RUN, SkillMoved)
        assert (event.before, event.after, event.by) == ("verified", status, "ada")
        (told,) = (row.event for row in records.events.after(RUN))
        # By its own place in the round, so that the order in which people decide changes nothing.
        assert (told.round, told.slot, told.sequence) == (2, -1, 100_000 + 100 * 30_007)
        assert waiting(records) == []
        history = records.items.history(line.id)
        assert len(history) == moves + 1
        assert "read it" in history[-1].reason
        kept = history[-1].evidence["decided"]
        assert isinstance(kept, dict)
        assert (kept["verdict"], kept["by"], kept["digest"]) == (verdict, "ada", line.digest)
        served = records.items.library_version("town") - version
        assert served == (1 if verdict == "approve" else 0)

    with Records.open(Workspace.open(tmp_path)) as records:  # after a restart it is there
        again = decide(records, line.id, verdict, digest=line.digest[:12], reason="x", by="bob")
        assert again.repeated and (again.by, again.reason) == ("ada", "read it")
        assert len(records.items.history(line.id)) == moves + 1
        assert len(records.events.of(RUN, SkillMoved)) == 1
        other: Verdict = "reject" if verdict == "approve" else "approve"
        with pytest.raises(UsageError, match="already by 'ada'"):
            decide(records, line.id, other, digest=line.digest, **HERE)


def test_what_changed_since_it_was_shown_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        shown = put_up(records, lone())
        records.items.move(shown.id, "quarantined", reason="canary: it broke", run_id=RUN, round_=3)
        with pytest.raises(UsageError, match="is quarantined and does not wait"):
            decide(records, shown.id, "approve", digest=shown.digest, **HERE)
        records.items.move(
            shown.id,
            "verified",
            reason="admitted",
            evidence=gate_evidence(30_000, ()),
            run_id=RUN,
            round_=4,
        )
        with pytest.raises(UsageError, match="not what was shown"):
            decide(records, shown.id, "approve", digest=shown.digest, **HERE)
        (now,) = waiting(records)
        assert now.digest != shown.digest
        assert decide(records, now.id, "approve", digest=now.digest, **HERE).status == "active"


def test_code_that_a_hand_changed_is_not_let_in(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        line = put_up(records, lone())
        with records._database.write() as connection:  # pyright: ignore[reportPrivateUsage]  # the hand
            connection.exec_driver_sql(
                "UPDATE items SET body = replace(body, 'env.carry', 'env.steal')"
            )
        for verdict in ("approve", "reject"):
            with pytest.raises(RecordsError, match="changed by something other than agentlab"):
                decide(records, line.id, verdict, digest=line.digest, **HERE)
        records.items.remove_skill("carry", reason="removed by hand")
        assert records.events.of(RUN, SkillMoved) == []


def test_only_what_waits_can_be_decided_on(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        served = serve(records, lone("walk"))
        # Verified for another reason: a pack that was not merged has a road of its own.
        packed = lone("packed")
        records.items.save_skill(packed, status="verified", reason="verified here", run_id=RUN)
        assert waiting(records) == []
        for key in (served.id, packed.id):
            with pytest.raises(UsageError, match="does not wait"):
                decide(records, key, "approve", digest="0" * 64, **HERE)
        with pytest.raises(UnknownNameError, match="item that waits"):
            decide(records, "skill-0", "approve", digest="0" * 64, **HERE)
        line = put_up(records, lone())
        wrong: list[Given] = [
            {"reason": " \n ", "by": "ada", "digest": line.digest},
            {"reason": "x" * 2001, "by": "ada", "digest": line.digest},
            {"reason": "fine", "by": "", "digest": line.digest},
            {"reason": "fine", "by": "a" * 101, "digest": line.digest},
            {"reason": "fine", "by": "ada", "digest": line.digest[:11]},
            {"reason": "fine", "by": "ada", "digest": ""},
        ]
        for words in wrong:
            with pytest.raises(UsageError, match="A decision needs"):
                decide(records, line.id, "approve", **words)
        assert waiting(records) == [line]


def test_what_it_replaces_serves_until_somebody_approves(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        older, rival = serve(records, lone()), serve(records, lone("haul"))
        called = serve(records, lone("lift"))
        serve(records, a_skill("raise_up").model_copy(update={"skills": ("lift",)}))
        line = put_up(records, lone(version=2), older.id, rival.id, called.id)
        assert {row.item.id for row in records.items.skills(status="active", name="carry")} == {
            older.id
        }
        done = decide(records, line.id, "approve", digest=line.digest, **HERE)
        # What others came to call since is not taken from under them.
        assert done.superseded == (older.id, rival.id)
        status = {row.item.id: row.status for row in records.items.skills()}
        assert [status[key] for key in (older.id, rival.id, called.id, line.id)] == [
            "retired", "retired", "active", "active",
        ]  # fmt: skip
        events = [row.event for row in records.events.after(RUN)]
        assert len({event.sequence for event in events}) == 3
        assert decide(records, line.id, "approve", digest=line.digest, **HERE).superseded == (
            older.id, rival.id,
        )  # fmt: skip


def test_a_caller_comes_after_its_callee_and_an_older_version_not_at_all(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        caller = put_up(records, a_skill())
        assert caller.needs == ("walk",)
        with pytest.raises(UsageError, match="calls 'walk', which does not serve"):
            decide(records, caller.id, "approve", digest=caller.digest, **HERE)
        callee = put_up(records, lone("walk"))
        decide(records, callee.id, "approve", digest=callee.digest, **HERE)
        (now,) = waiting(records)
        assert now.digest == caller.digest and now.needs == ()  # it is the same, and may serve now
        serve(records, lone(version=3))
        with pytest.raises(UsageError, match="Version 3 of 'carry' serves already"):
            decide(records, caller.id, "approve", digest=caller.digest, **HERE)
        assert (
            decide(records, caller.id, "reject", digest=caller.digest, **HERE).status == "retired"
        )


def test_insights_wait_as_skills_do(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        first = put_up(records, an_insight(0))
        decide(records, first.id, "approve", digest=first.digest, **HERE)
        second = put_up(records, an_insight(1), first.id, sequence=30_002)
        skill = put_up(records, lone())
        assert [line.kind for line in waiting(records)] == ["skill", "insight"]
        assert waiting(records, kind="skill") == [skill]
        done = decide(records, second.id, "approve", digest=second.digest, **HERE)
        assert done.superseded == (first.id,)
        moved = [(e.insight_id, e.after, e.by) for e in records.events.of(RUN, InsightMoved)]
        assert moved[-2:] == [(second.id, "active", "ada"), (first.id, "retired", "ada")]


def test_a_scope_decides_about_its_own_alone(tmp_path: Path) -> None:
    acme = Scope(tenant="acme")
    with opened(tmp_path) as records:
        shared = put_up(records, lone(), sequence=30_000)
        item = lone("haul")
        records.items.save_skill(item, run_id=RUN, round_=0, scope=acme)
        for status in ("quarantined", "verified"):
            evidence = gate_evidence(30_009, ()) if status == "verified" else {}
            records.items.move(
                item.id, status, reason="admitted", evidence=evidence, run_id=RUN, round_=2
            )
        assert waiting(records) == [shared]
        (_, own) = waiting(records, scope=acme)
        assert (own.id, own.scope) == (item.id, "acme")
        assert [line.id for line in waiting(records, scope=None)] == [shared.id, item.id]
        others: list[tuple[WaitingItem, Scope]] = [(own, SHARED), (shared, acme)]
        for line, scope in others:
            with pytest.raises(UnknownNameError):
                decide(records, line.id, "approve", digest=line.digest, scope=scope, **HERE)
        # What is given to everybody meanwhile waits on, and is no longer what was shown.
        records.items.move(item.id, "verified", reason="for all", scope=SHARED)
        (now,) = (line for line in waiting(records) if line.id == item.id)
        with pytest.raises(UsageError, match="not what was shown"):
            decide(records, item.id, "approve", digest=own.digest, **HERE)
        decide(records, item.id, "approve", digest=now.digest, **HERE)
        assert records.items.skill(item.id).status == "active"


def test_two_people_at_once_decide_once(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        line = put_up(records, lone())
    said: list[str] = []

    def one(verdict: Verdict, by: str) -> None:
        with Records.open(Workspace.open(tmp_path)) as mine:
            try:
                done = decide(mine, line.id, verdict, digest=line.digest, reason="r", by=by)
                said.append("again" if done.repeated else verdict)
            except UsageError:
                said.append("too late")

    both = [("approve", "ada"), ("reject", "bob"), ("approve", "cyn"), ("reject", "dan")]
    threads = [threading.Thread(target=one, args=each) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Records.open(Workspace.open(tmp_path)) as records:
        assert len(records.events.of(RUN, SkillMoved)) == 1
    first = next(each for each in said if each in ("approve", "reject"))
    assert sorted(said) == sorted([first, "again", "too late", "too late"])


def test_whatever_a_person_writes_is_kept_or_refused_in_a_sentence(tmp_path: Path) -> None:
    words = st.text(st.characters(codec="utf-8"), max_size=40)
    numbers = iter(range(1, 1000))
    with opened(tmp_path) as records:

        @settings(max_examples=25)
        @given(words, words)
        def writes(reason: str, by: str) -> None:
            number = next(numbers)
            line = put_up(records, lone(version=number), sequence=30_000 + 2 * number)
            try:
                done = decide(records, line.id, "reject", digest=line.digest, reason=reason, by=by)
            except UsageError:
                assert line in waiting(records)
                assert not reason.split() or not by.split()
                return
            assert done.reason == " ".join(reason.split()) and done.by == " ".join(by.split())
            again = decide(records, line.id, "reject", digest=line.digest, **HERE)
            assert again.repeated and again.status == "retired"

        writes()


def test_a_key_in_a_reason_is_not_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-0123456789abcdef")
    with opened(tmp_path) as records:
        line = put_up(records, lone())
        reason = "it worked with sk-0123456789abcdef"
        done = decide(records, line.id, "reject", digest=line.digest, reason=reason, by="ada")
        assert done.reason == "it worked with [key]"
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"sk-0123456789abcdef" not in path.read_bytes()


def test_a_run_waits_only_where_a_person_is_asked() -> None:
    with pytest.raises(ConfigError, match=r"set admission\.approval to 'human'"):
        load_config(None, **{"admission.wait": True})
    config = load_config(None, **{"admission.wait": True, "admission.approval": "human"})
    assert config.admission.wait
    with pytest.raises(ConfigError, match="approval"):
        load_config(None, **{"admission.approval": "anybody"})
