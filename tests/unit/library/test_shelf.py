"""Packs on record: their states, the conflict rules, revoking and putting back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlab.errors import PackRefusedError, RecordsError, UnknownNameError, UsageError
from agentlab.library import merging, shelf
from agentlab.library.packs.canonical import sha256
from agentlab.library.packs.contents import Pack
from agentlab.library.packs.folder import build, read
from agentlab.library.packs.limits import PACK
from agentlab.library.packs.trust import TrustStore
from agentlab.library.revocation import revoke
from agentlab.records import PackRow, Records, Workspace
from agentlab.testing.hostile_histories import HostileHistory, hostile_histories
from agentlab.testing.sample_packs import (
    BRING,
    ENVIRONMENT,
    FETCH,
    sample_caller,
    sample_key,
    sample_pack,
    sample_skill,
)
from agentlab.types import JsonObject, Skill, skill_id


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with Records.open(Workspace.open(tmp_path / "work")) as opened:
        yield opened


@pytest.fixture
def trust(tmp_path: Path) -> TrustStore:
    return TrustStore(tmp_path / "trusted.db")


def bring(records: Records, trust: TrustStore, pack: Pack, *, key: int | None = 0) -> PackRow:
    """Take a pack as far as approval."""
    files = build(pack, key=None if key is None else sample_key(key))
    row = shelf.receive(records, files, "here")
    shelf.approve(records, shelf.judge(records, row.digest, trust), trust)
    return records.packs.get(row.digest)


def pass_gates(records: Records, row: PackRow, *, not_worse: bool = False) -> None:
    """What verification writes down when every gate was passed."""
    opened = shelf.open_pack(records, row.digest)
    for packed in opened.pack.skills:
        skill = shelf.imported_skill(packed, None)
        digest = packed.manifest.digest
        with records.transaction() as part:
            part.items.save_skill(skill, status="quarantined")
            part.items.move(skill.id, "verified", reason="test")
            said: JsonObject = {
                "passed": True,
                "reason": "",
                "manifest": digest,
                "not_worse": not_worse,
            }
            part.packs.check(row.digest, digest, skill.id, said)
    records.packs.move(row.digest, "verified", reason="test")


def served(records: Records) -> set[str]:
    return {row.item.name for row in records.items.skills(status="active")}


def learnt(name: str, source: str, *, skills: tuple[str, ...] = ()) -> Skill:
    return Skill(
        id=skill_id(ENVIRONMENT, name, 1, source),
        name=name,
        environment=ENVIRONMENT,
        source=source,
        parameters=(),
        summary="Made here.",
        effect_source="def check(initial, final):\n    return True\n",
        skills=skills,
    )


def test_each_state_is_a_step_on_record(records: Records, trust: TrustStore) -> None:
    row = bring(records, trust, sample_pack())
    pass_gates(records, row)
    merging.merge(records, row.digest)
    states = [move.after for move in records.packs.history(row.digest)]
    assert states == ["received", "quarantined", "checked", "approved", "verified", "active"]
    assert served(records) == {"fetch_thing", "bring_thing"}


def test_nothing_is_an_item_before_it_was_verified(records: Records, trust: TrustStore) -> None:
    row = bring(records, trust, sample_pack())
    assert records.items.skills() == []
    with pytest.raises(UsageError, match="verified here"):
        merging.merge(records, row.digest)


def test_a_gate_cannot_be_skipped(records: Records) -> None:
    row = shelf.receive(records, build(sample_pack(), key=sample_key()), "here")
    for state in ("approved", "verified", "active"):
        with pytest.raises(RecordsError, match="cannot go from quarantined"):
            records.packs.move(row.digest, state, reason="no")


def test_looking_keeps_no_key(records: Records, trust: TrustStore) -> None:
    row = shelf.receive(records, build(sample_pack(), key=sample_key()), "here")
    assert shelf.judge(records, row.digest, trust).standing == "first"
    assert trust.trusted() == []


def test_the_bytes_come_out_as_they_went_in(records: Records, trust: TrustStore) -> None:
    files = build(sample_pack(), key=sample_key())
    row = shelf.receive(records, files, "here")
    assert shelf.pack_files(records, row.digest) == files


def test_a_changed_byte_returns_to_quarantine(records: Records, trust: TrustStore) -> None:
    row = bring(records, trust, sample_pack())
    pass_gates(records, row)
    merging.merge(records, row.digest)
    path = records.blobs.path(row.archive)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(PackRefusedError, match="changed-file"):
        shelf.open_pack(records, row.digest)
    assert records.packs.get(row.digest).state == "quarantined"
    assert served(records) == set()
    # The same pack from its source mends what was damaged, and starts over.
    bring(records, trust, sample_pack())
    pass_gates(records, row)
    merging.merge(records, row.digest)
    assert served(records) == {"fetch_thing", "bring_thing"}


def test_imported_insights_are_foreign_and_not_served(records: Records, trust: TrustStore) -> None:
    bring(records, trust, sample_pack())
    (row,) = records.items.insights()
    assert (row.item.trust, row.status) == ("foreign", "quarantined")
    assert row.item.outcomes == type(row.item.outcomes)()


@pytest.mark.parametrize("case", hostile_histories(), ids=lambda case: case.name)
def test_bad_histories_are_refused(
    case: HostileHistory, records: Records, trust: TrustStore
) -> None:
    first = shelf.receive(records, case.first, "first")
    shelf.approve(records, shelf.judge(records, first.digest, trust), trust)
    with pytest.raises(PackRefusedError) as refusal:
        then = shelf.receive(records, case.then, "then")
        shelf.judge(records, then.digest, trust)
    assert refusal.value.reason == case.reason
    assert records.items.skills() == []
    states = {row.digest: row.state for row in records.packs.all()}
    assert states.pop(first.digest) == "approved"
    assert set(states.values()) <= {"rejected", "quarantined"}


def test_the_same_skill_in_another_pack_only_adds_its_origin(
    records: Records, trust: TrustStore
) -> None:
    first = bring(records, trust, sample_pack())
    pass_gates(records, first)
    again = sample_pack().model_copy(update={"readme": "# Another page\n"})
    row = shelf.receive(records, build(again, key=sample_key()), "again")
    verdicts = shelf.judge(records, row.digest, trust).verdicts
    assert {verdict.action for verdict in verdicts.values()} == {"merge-provenance"}


def test_a_name_that_is_taken_stays_with_what_was_made_here(
    records: Records, trust: TrustStore
) -> None:
    own = learnt("fetch_thing", "def fetch_thing(env):\n    pass\n")
    records.items.save_skill(own, status="active")
    row = bring(records, trust, sample_pack(skills=(sample_skill(),)))
    (skill,) = records.packs.skills(row.digest)
    assert "stays with 'local/learnt.fetch-thing'" in str(skill.verdict["warnings"])
    pass_gates(records, row)
    (line,) = merging.merge(records, row.digest)
    assert line.what == "waits"
    assert [r.item.id for r in records.items.skills(status="active")] == [own.id]


@pytest.mark.parametrize("not_worse", [True, False])
def test_a_later_version_serves_only_if_it_proved_not_worse(
    not_worse: bool, records: Records, trust: TrustStore
) -> None:
    first = bring(records, trust, sample_pack(skills=(sample_skill(),)))
    pass_gates(records, first)
    merging.merge(records, first.digest)
    later = sample_skill(version=2, source=FETCH + "    env.go_to(target=thing)\n")
    second = bring(records, trust, sample_pack(version="2.0.0", skills=(later,)))
    pass_gates(records, second, not_worse=not_worse)
    merging.merge(records, second.digest)
    (active,) = records.items.skills(status="active")
    assert active.item.version == (2 if not_worse else 1)
    if not_worse:
        assert merging.undo(records).kind == "merge"
        (active,) = records.items.skills(status="active")
        assert active.item.version == 1


def test_grants_that_widen_are_told(records: Records, trust: TrustStore) -> None:
    bring(records, trust, sample_pack(skills=(sample_skill(),)))
    wider = sample_skill(version=2).model_copy(update={"tools": ("go_to", "pick_up", "burn")})
    files = build(sample_pack(version="2.0.0", skills=(wider,)), key=sample_key())
    judged = shelf.judge(records, shelf.receive(records, files, "here").digest, trust)
    (verdict,) = judged.verdicts.values()
    assert (verdict.action, verdict.needs_approval) == ("side-by-side", True)
    assert verdict.widened == (f"tool 'burn' of '{ENVIRONMENT}'",)


def test_an_unsigned_pack_needs_a_word(records: Records, trust: TrustStore) -> None:
    row = shelf.receive(records, build(sample_pack()), "here")
    judged = shelf.judge(records, row.digest, trust)
    with pytest.raises(UsageError, match="--unsigned-ok"):
        shelf.require_unsigned_ok(judged, unsigned_ok=False)
    shelf.require_unsigned_ok(judged, unsigned_ok=True)


def test_revoking_takes_all_that_was_derived_and_can_be_undone(
    records: Records, trust: TrustStore
) -> None:
    row = bring(records, trust, sample_pack())
    pass_gates(records, row)
    merging.merge(records, row.digest)
    body = "def twice(env):\n    env.skills.bring_thing()\n"
    caller = learnt("twice", body, skills=("bring_thing",))
    above = learnt("thrice", body.replace("twice", "thrice"), skills=("twice",))
    heir = learnt("heir", "def heir(env):\n    pass\n").model_copy(update={"parent": caller.id})
    bystander = learnt("bystander", "def bystander(env):\n    pass\n")
    for skill in (caller, above, heir, bystander):
        records.items.save_skill(skill, status="active")
    before = served(records)
    found = revoke(records, [row], None, reason="its author was robbed")
    assert len(found.items) == 2
    assert set(found.derived) == {caller.id, above.id, heir.id}
    assert served(records) == {"bystander"}
    assert records.packs.get(row.digest).state == "revoked"
    files = build(sample_pack().model_copy(update={"readme": "# Again\n"}), key=sample_key())
    with pytest.raises(PackRefusedError, match="revoked"):
        shelf.judge(records, shelf.receive(records, files, "again").digest, trust)
    undone = merging.undo(records)
    assert (undone.items, undone.left) == (5, ())
    assert served(records) == before
    assert records.packs.get(row.digest).state == "active"
    assert records.packs.buried() == frozenset()


def test_one_skill_can_be_revoked_alone(records: Records, trust: TrustStore) -> None:
    row = bring(records, trust, sample_pack())
    pass_gates(records, row)
    merging.merge(records, row.digest)
    revoke(records, [row], "sample/post.bring-thing", reason="it drops things")
    assert served(records) == {"fetch_thing"}
    assert records.packs.get(row.digest).state == "active"


def test_undoing_leaves_what_changed_since(records: Records, trust: TrustStore) -> None:
    row = bring(records, trust, sample_pack(skills=(sample_skill(),)))
    pass_gates(records, row)
    merging.merge(records, row.digest)
    (active,) = records.items.skills(status="active")
    records.items.move(active.item.id, "retired", reason="harmful")
    assert merging.undo(records).left == (active.item.id,)
    with pytest.raises(UsageError, match="left to undo"):
        merging.undo(records)


def test_a_skill_made_from_a_revoked_one_in_another_pack_goes_too(
    records: Records, trust: TrustStore
) -> None:
    first = bring(records, trust, sample_pack(skills=(sample_skill(),)))
    pass_gates(records, first)
    (skill,) = records.packs.skills(first.digest)
    other = sample_pack(name="sample/other", skills=(sample_caller(),))
    (packed,) = other.skills
    origin = packed.manifest.provenance.model_copy(update={"parents": (skill.manifest,)})
    manifest = packed.manifest.model_copy(update={"provenance": origin})
    other = other.model_copy(update={"skills": (packed.model_copy(update={"manifest": manifest}),)})
    second = bring(records, trust, other)
    pass_gates(records, second)
    found = revoke(records, [first], None, reason="gone")
    assert len(found.derived) == 1


def test_shipped_packs_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = build(sample_pack(), key=sample_key())
    for path, data in files.items():
        (tmp_path / "post" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "post" / path).write_bytes(data)
    monkeypatch.setattr(shelf, "shipped_packs", lambda: {"post": tmp_path / "post"})
    assert read(shelf.open_files("agentlab/post")).digest == sha256(files[PACK])
    with pytest.raises(UnknownNameError, match="Did you mean 'agentlab/post'"):
        shelf.open_files("agentlab/posts")


def test_the_samples_call_each_other() -> None:
    assert "env.skills.fetch_thing" in BRING
