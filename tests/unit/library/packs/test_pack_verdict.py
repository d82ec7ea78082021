"""The conflict rules, one by one, and what differs between packs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.library.packs.compare import compare, compare_with_library
from agentlab.library.packs.folder import build, read
from agentlab.library.packs.manifest import Needs, ToolGrant, version_key, widened
from agentlab.library.packs.verdict import Held, Tombstones, decide, derived_from, revoked_by
from agentlab.testing.sample_packs import (
    FETCH,
    sample_caller,
    sample_insight,
    sample_key,
    sample_pack,
    sample_skill,
)

KEY, OTHER = "a" * 64, "b" * 64
GO, OPEN = (ToolGrant(environment="town", tool=tool) for tool in ("go_to", "open"))


def held(version: str = "1.0.0", content: int = 0, **changes: Any) -> Held:
    fields: dict[str, Any] = {
        "id": "a/b.c",
        "name": "c",
        "environment": "town",
        "version": version,
        "digest": f"{content:064x}",
        "key": KEY,
        "needs": Needs(tools=(GO,)),
        "approved": True,
    }
    return Held(**{**fields, **changes})


def test_what_is_new_asks_for_every_grant() -> None:
    verdict = decide([], held())
    assert (verdict.action, verdict.needs_approval) == ("new", True)
    assert verdict.widened == ("tool 'go_to' of 'town'",)


def test_the_same_digest_merges_provenance_only() -> None:
    verdict = decide([held("2.0.0", 2), held()], held())
    assert (verdict.action, verdict.needs_approval, verdict.replaces) == (
        "merge-provenance",
        False,
        None,
    )


@pytest.mark.parametrize("key", [KEY, OTHER, None])
def test_the_same_version_with_other_content_is_an_alarm(key: str | None) -> None:
    verdict = decide([held()], held(content=1, key=key))
    assert (verdict.action, verdict.code, verdict.alarm) == ("refuse", "equivocation", True)


def test_a_higher_version_stands_beside() -> None:
    verdict = decide([held("1.9.0", 1), held("1.10.0", 2)], held("1.11.0", 3))
    assert (verdict.action, verdict.replaces) == ("side-by-side", f"{2:064x}")
    assert not verdict.needs_approval


@pytest.mark.parametrize("key", [OTHER, None])
def test_another_key_never_replaces(key: str | None) -> None:
    verdict = decide([held()], held("2.0.0", 1, key=key))
    assert (verdict.action, verdict.replaces, verdict.alarm) == ("namespaced", None, True)
    assert verdict.needs_approval


def test_nobody_is_not_the_same_as_nobody() -> None:
    verdict = decide([held(key=None)], held("2.0.0", 1, key=None))
    assert verdict.action == "namespaced"


def test_an_older_version_is_a_replay() -> None:
    verdict = decide([held("2.0.0")], held("1.0.0", 1))
    assert (verdict.action, verdict.code) == ("refuse", "replayed")


def test_a_replay_is_known_after_everything_was_deleted() -> None:
    gone = Tombstones(highest={"a/b.c": "2.0.0"})
    assert decide([], held("1.0.0", 1), tombstones=gone).code == "replayed"
    assert decide([], held("2.0.0", 1), tombstones=gone).code == "replayed"
    assert decide([], held("2.0.1", 1), tombstones=gone).action == "new"


def test_what_was_deleted_stays_away() -> None:
    gone = Tombstones(digests=frozenset({f"{1:064x}"}))
    assert decide([], held("2.0.0", 1), tombstones=gone).code == "revoked"
    assert decide([held("2.0.0", 1)], held("2.0.0", 1), tombstones=gone).code == "revoked"
    assert decide([], held("3.0.0", 3, source=f"{1:064x}"), tombstones=gone).code == "revoked"
    assert decide([], held("3.0.0", 3), tombstones=gone).action == "new"


def test_a_name_stays_with_whom_it_is() -> None:
    verdict = decide([held()], held(id="x/y.c", content=1))
    assert verdict.action == "new"
    assert verdict.warnings == ("The name 'c' stays with 'a/b.c' here; calls of it mean that one.",)
    assert decide([held(environment="sea")], held(id="x/y.c", content=1)).warnings == ()


def test_grants_never_widen_without_approval() -> None:
    wider = Needs(tools=(GO, OPEN))
    verdict = decide([held()], held("2.0.0", 1, needs=wider))
    assert verdict.action == "side-by-side"
    assert verdict.widened == ("tool 'open' of 'town'",)
    assert verdict.needs_approval
    assert not decide([held(needs=wider)], held("2.0.0", 1)).needs_approval


def test_what_waits_for_approval_lends_no_grants() -> None:
    wider = Needs(tools=(GO, OPEN))
    waiting = held("2.0.0", 1, needs=wider, approved=False)
    verdict = decide([held(), waiting], held("3.0.0", 2, needs=wider))
    assert verdict.widened == ("tool 'open' of 'town'",)
    alone = decide([waiting], held("3.0.0", 2, needs=wider))
    assert len(alone.widened) == 2


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        (Needs(), Needs(), 0),
        (Needs(cpu_s=2), Needs(cpu_s=2), 0),
        (Needs(cpu_s=2), Needs(cpu_s=1), 0),
        (Needs(cpu_s=2), Needs(cpu_s=3), 1),
        (Needs(cpu_s=2), Needs(), 0),
        (Needs(), Needs(mem_mb=1, wall_s=1), 2),
        (Needs(net=("a.example",)), Needs(net=("b.example",)), 1),
        (Needs(tools=(GO,)), Needs(tools=(ToolGrant(environment="sea", tool="go_to"),)), 1),
    ],
)
def test_widening_is_any_more_than_before(old: Needs, new: Needs, count: int) -> None:
    assert len(widened(old, new)) == count


VERSIONS = st.sampled_from(["0.9.0", "1.0.0", "1.0.1", "2.0.0", "10.0.0"])
ITEMS = st.builds(
    held,
    VERSIONS,
    st.integers(0, 6),
    key=st.sampled_from([KEY, OTHER, None]),
    id=st.sampled_from(["a/b.c", "x/y.c"]),
    needs=st.sampled_from([Needs(), Needs(tools=(GO,)), Needs(tools=(GO, OPEN))]),
    approved=st.booleans(),
)


@given(st.lists(ITEMS, max_size=5, unique_by=lambda item: item.digest), ITEMS)
def test_no_verdict_breaks_what_always_holds(local: list[Held], incoming: Held) -> None:
    verdict = decide(local, incoming)
    assert verdict == decide(list(reversed(local)), incoming)
    by_digest = {item.digest: item for item in local}
    if verdict.replaces is not None:
        replaced = by_digest[verdict.replaces]
        assert (replaced.id, replaced.key) == (incoming.id, incoming.key)
        assert version_key(replaced.version) < version_key(incoming.version)
    if not verdict.needs_approval and verdict.action == "side-by-side":
        granted = [g for item in local if item.approved for g in item.needs.tools]
        assert all(grant in granted for grant in incoming.needs.tools)
    assert (verdict.code != "") == (verdict.action == "refuse")


def test_only_its_author_revokes() -> None:
    items = [held(), held("2.0.0", 1, source=f"{9:064x}"), held("3.0.0", 2, key=OTHER)]
    every = [item.digest for item in items]
    assert revoked_by(items, every, author=KEY) == (f"{0:064x}", f"{1:064x}")
    assert revoked_by(items, [f"{9:064x}"], author=KEY) == (f"{1:064x}",)
    assert revoked_by(items, every, author=None) == ()


def test_what_descends_is_found_at_any_distance() -> None:
    parents = {"b": ("a",), "c": ("b", "x"), "d": ("c",), "e": ("x",), "a": ("d",)}
    assert derived_from(parents, ["a"]) == ("b", "c", "d")
    assert derived_from(parents, ["x"]) == ("a", "b", "c", "d", "e")
    assert derived_from(parents, ["nothing"]) == ()


def test_packs_are_compared() -> None:
    before = read(build(sample_pack(), key=sample_key())).pack
    assert compare(before, read(build(sample_pack(), key=sample_key(1))).pack).empty
    edited = sample_skill(source=FETCH.replace("pick_up", "grab")).model_copy(
        update={"tools": ("go_to", "grab")}
    )
    after = sample_pack(
        version="1.1.0", skills=(edited,), notes=(sample_insight(2), sample_insight(3))
    )
    found = compare(before, read(build(after)).pack)
    assert [(c.id, c.kind) for c in found.skills] == [
        ("sample/post.bring-thing", "removed"),
        ("sample/post.fetch-thing", "changed"),
    ]
    change = found.skills[1]
    assert (change.before, change.after) == ("1.0.0", "1.1.0")
    assert {"version", "needs", "code", "tools"} <= set(change.fields)
    assert change.widened == ("tool 'grab' of 'sample-post'",)
    assert "-    env.pick_up(target=thing)" in change.lines
    assert "+    env.grab(target=thing)" in change.lines
    assert found.widened
    assert (found.notes_added, found.notes_removed) == (("insight-2", "insight-3"), ("insight-1",))


def test_from_nothing_everything_is_added() -> None:
    found = compare(None, read(build(sample_pack())).pack)
    assert {change.kind for change in found.skills} == {"added"}
    assert found.widened and found.licences_added == ("MIT",)


def test_a_changed_note_is_shown_as_added() -> None:
    before = read(build(sample_pack())).pack
    after = read(build(sample_pack(notes=(sample_insight(advice="Other."),)))).pack
    assert compare(before, after).notes_added == ("insight-1",)


def test_a_pack_is_compared_with_what_is_here() -> None:
    pack = read(build(sample_pack(version="2.0.0"), key=sample_key())).pack
    manifest = next(s.manifest for s in pack.skills if s.manifest.folder == "fetch-thing")
    older = held(id=manifest.id, needs=Needs())
    old = sample_skill(source=FETCH.replace("pick_up", "grab"))
    changes = compare_with_library([older], {older.digest: old}, pack)
    assert [(c.id, c.kind) for c in changes] == [
        ("sample/post.bring-thing", "added"),
        ("sample/post.fetch-thing", "changed"),
    ]
    assert changes[1].fields == ("id", "code")
    assert len(changes[1].widened) == 2
    same = older.model_copy(update={"digest": manifest.digest})
    assert [c.id for c in compare_with_library([same], {}, pack)] == ["sample/post.bring-thing"]


def test_long_differences_are_cut() -> None:
    long = "".join(f"    env.go_to(target={n})\n" for n in range(3000))
    before = read(build(sample_pack())).pack
    after = sample_pack(skills=(sample_skill(source=FETCH + long), sample_caller()))
    (change,) = compare(before, after).skills
    assert change.lines[-1].endswith("lines more")
    assert len(change.lines) == 401
