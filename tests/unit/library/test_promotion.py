"""The library in scopes: what is served to whom, names, and going from one scope to another."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.cli.main import cli
from agentlab.config import RetrievalConfig
from agentlab.errors import UnknownNameError, UsageError
from agentlab.library.catalogue import list_skills, reindex, remove_skill, show_skill
from agentlab.library.exporting import Export, export
from agentlab.library.insights import InsightLibrary
from agentlab.library.promotion import KEY, promote, undo_promotion
from agentlab.library.skills import SkillLibrary
from agentlab.records import Records, Workspace
from agentlab.types import SHARED, Insight, Scope, Skill, scoped_id, skill_id

ACME, OTHER = Scope(tenant="acme"), Scope(tenant="other")
ANN, BEN = Scope(tenant="acme", user="ann"), Scope(tenant="acme", user="ben")
EVERY = (SHARED, ACME, ANN, BEN, OTHER)
DOOR = "open the locked door"
WIDE = RetrievalConfig(floor=-1.0, k=50)


def _skill(name: str, scope: Scope, *calls: str, place: str) -> Skill:
    source = f"def {name}(env):\n    env.act()\n"
    return Skill(
        id=scoped_id(scope, skill_id(place, name, 1, source)),
        name=name,
        environment=place,
        toolset="tools",
        source=source,
        parameters=(),
        summary=DOOR,
        effect_source="",
        skills=calls,
    )


def _serve(
    records: Records, name: str, scope: Scope = SHARED, *calls: str, place: str = "town"
) -> Skill:
    skill = _skill(name, scope, *calls, place=place)
    records.items.save_skill(skill, scope=scope)
    records.items.move(skill.id, "quarantined", reason="checked")
    records.items.move(skill.id, "verified", reason="proved", evidence={"replays": [1, 2]})
    records.items.move(skill.id, "active", reason="admitted")
    return skill


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with Records.open(Workspace.open(tmp_path / "ws")) as opened:
        yield opened


def _library(records: Records, scope: Scope, place: str = "town") -> SkillLibrary:
    return SkillLibrary(records, place, toolset="tools", scope=scope)


def _found(records: Records, scope: Scope) -> set[str]:
    with _library(records, scope) as library:
        return {found.skill.id for found in library.retrieve(DOOR, WIDE)}


def test_each_is_served_its_own_and_what_is_around(records: Records) -> None:
    skills = {scope.path: _serve(records, f"open_{n}", scope).id for n, scope in enumerate(EVERY)}
    for scope in EVERY:
        assert _found(records, scope) == {skills[path] for path in scope.readable}


def test_nothing_of_a_tenant_lies_in_the_index_on_disk(records: Records, tmp_path: Path) -> None:
    _serve(records, "open_it")
    hidden = _serve(records, "acme_secret_door", ACME)
    with _library(records, ACME) as library:
        assert library.status.state == "off"
    with _library(records, SHARED) as library:
        assert library.status.items == 1
    assert reindex(tmp_path / "ws").items == 1
    for path in (tmp_path / "ws" / "index").rglob("*"):
        assert not path.is_file() or hidden.id.encode() not in path.read_bytes()


def test_the_nearest_of_a_name_is_served_and_the_others_keep_what_they_call(
    records: Records,
) -> None:
    """A tenant's skill changes nothing for others, nor for the shared one that calls its name."""
    shared = _serve(records, "open_it")
    caller = _serve(records, "enter", SHARED, "open_it")
    mine = _serve(records, "open_it", ACME)
    user = _serve(records, "walk_in", ANN, "open_it")
    assert _found(records, OTHER) == {shared.id, caller.id}
    with _library(records, ACME) as library:
        assert {skill.id for skill in library.skills.values()} == {mine.id, caller.id}
        assert library.with_callees([caller]) == (caller, shared)
        assert library.with_callees([mine]) == (mine,)
        found = {each.skill.id for each in library.retrieve(DOOR, WIDE)}
        assert found == {mine.id}, "in one attempt a name means one skill"
    with _library(records, ANN) as library:
        assert library.with_callees([user]) == (user, mine)
        assert {each.skill.id for each in library.retrieve(DOOR, WIDE)} == {mine.id, user.id}
    records.items.move(mine.id, "retired", reason="tested")
    with _library(records, ACME) as library:
        assert {each.skill.id for each in library.retrieve(DOOR, WIDE)} == {shared.id, caller.id}


NAMES = ("a", "b", "c")


def test_whatever_is_kept_nobody_is_given_what_is_anothers(records: Records) -> None:
    places = count()

    @settings(max_examples=10, deadline=None)
    @given(
        plan=st.lists(
            st.tuples(
                st.sampled_from(NAMES),
                st.sampled_from(EVERY),
                st.lists(st.sampled_from(NAMES), max_size=2),
            ),
            max_size=9,
            unique_by=lambda item: item[:2],
        )
    )
    def check(plan: list[tuple[str, Scope, list[str]]]) -> None:
        place = f"town-{next(places)}"
        owner: dict[str, str] = {}
        for name, scope, calls in plan:
            below = [each for each in calls if each > name]
            owner[_serve(records, name, scope, *below, place=place).id] = scope.path
        for scope in EVERY:
            with _library(records, scope, place) as library:
                found = [each.skill for each in library.retrieve(DOOR, WIDE)]
                brought = library.with_callees(found)
            assert all(owner[skill.id] in scope.readable for skill in brought)
            assert len({skill.name for skill in brought}) == len(brought)
            assert {skill.id for skill in found} <= {skill.id for skill in brought}
            names = {name for name, whose, _ in plan if whose.path in scope.readable}
            nearest = {
                name: max(p.path for n, p, _ in plan if n == name and p.path in scope.readable)
                for name in names
            }
            assert all(owner[skill.id] == nearest[skill.name] for skill in found)

    check()


def test_insights_are_served_by_scope(records: Records) -> None:
    for scope in EVERY:
        note = Insight(
            id=scoped_id(scope, "insight-1"), environment="town", condition=DOOR, advice="push"
        )
        records.items.save_insight(note, scope=scope)
        for status in ("quarantined", "verified", "active"):
            records.items.move(note.id, status, reason="tested")
    for scope in EVERY:
        with InsightLibrary(records, "town", scope=scope) as library:
            assert len(library.retrieve(DOOR, WIDE)) == len(scope.readable)


def test_a_pack_holds_nothing_of_a_tenant(records: Records) -> None:
    _serve(records, "open_it")
    _serve(records, "acme_secret_door", ACME)
    _serve(records, "ann_secret_door", ANN)
    wanted = Export(
        id="me/town", version="1.0.0", environment="town", created="2026-01-01T00:00:00Z"
    )
    files = export(records, wanted)
    assert any("open-it" in name for name in files)
    assert not any(b"secret" in body or b"acme" in body for body in files.values())


def test_a_skill_goes_up_step_by_step_and_comes_back(records: Records) -> None:
    skill = _serve(records, "open_it", ANN)
    assert _found(records, BEN) == set()
    done = promote(records, "open_it", to="tenant", reason="good for all of us")
    assert (done.before, done.after) == ("acme/ann", "acme")
    assert _found(records, BEN) == _found(records, ANN) == {skill.id}
    assert _found(records, OTHER) == set()
    promote(records, skill.id, to="shared", reason="good for everybody")
    assert _found(records, OTHER) == {skill.id}
    assert undo_promotion(records, skill.id).after == "acme"
    assert _found(records, OTHER) == set()
    promote(records, skill.id, to="user", reason="not for us after all")
    assert _found(records, BEN) == set() and _found(records, ANN) == {skill.id}
    history = records.items.history(skill.id)
    assert [move.scope for move in history[4:]] == ["acme", "", "acme", "acme/ann"]
    assert all(move.before == move.after == "active" for move in history[4:])
    assert history[4].evidence[KEY] == {"from": "acme/ann", "to": "acme"}
    assert all(move.evidence["replays"] == [1, 2] for move in history[4:]), "it goes along"


def test_a_version_grows_with_each_promotion(records: Records) -> None:
    skill = _serve(records, "open_it", ANN)
    with _library(records, OTHER) as library:
        promote(records, skill.id, to="shared", reason="good")
        assert library.skills == {}
        library.refresh()
        assert set(library.skills) == {skill.id}


def test_what_stands_in_the_way_is_said(records: Records) -> None:
    shared = _serve(records, "open_it")
    mine = _serve(records, "open_it", ACME)
    caller = _serve(records, "enter", ACME, "open_it")
    lone = _serve(records, "peek", ANN, "look")
    with pytest.raises(UsageError, match="keeps the name"):
        promote(records, mine.id, to="shared", reason="better")
    with pytest.raises(UsageError, match="which is not what"):
        promote(records, caller.id, to="shared", reason="better")
    with pytest.raises(UsageError, match="already"):
        promote(records, mine.id, to="tenant", reason="better")
    with pytest.raises(UsageError, match="never been one tenant's"):
        promote(records, shared.id, to="tenant", reason="mine")
    with pytest.raises(UsageError, match="is neither"):
        promote(records, mine.id, to=OTHER, reason="theirs")
    with pytest.raises(UsageError, match="needs a reason"):
        promote(records, mine.id, to="shared", reason=" ")
    with pytest.raises(UsageError, match="may mean any of") as several:
        promote(records, "open_it", to="shared", reason="which?")
    assert mine.id in str(several.value) and shared.id in str(several.value)
    with pytest.raises(UnknownNameError, match="Did you mean 'enter'"):
        promote(records, "entre", to="shared", reason="which?")
    records.items.save_skill(waits := _skill("wait", ANN, place="town"), scope=ANN)
    for status in ("candidate", "quarantined"):
        records.items.move(waits.id, status, reason="no use yet")
        with pytest.raises(UsageError, match=f"'wait' is {status}; only what was verified"):
            promote(records, "wait", to="tenant", reason="good")
    callee = _serve(records, "look", ANN)
    with pytest.raises(UsageError, match="which is not what"):
        promote(records, lone.id, to="tenant", reason="better")
    promote(records, callee.id, to="tenant", reason="first")
    promote(records, lone.id, to="tenant", reason="then")
    with pytest.raises(UsageError, match="than it would then call"):
        promote(records, callee.id, to="user", reason="back")


def test_a_tenants_twin_is_not_put_under_a_shared_caller(records: Records) -> None:
    """What a user's skill calls may not change because somebody promotes another one."""
    _serve(records, "open_it")
    _serve(records, "enter", BEN, "open_it")
    mine = _serve(records, "open_it", ANN)
    with pytest.raises(UsageError, match="'enter' of acme/ben"):
        promote(records, mine.id, to="tenant", reason="better")


def test_the_catalogue_shows_by_scope(records: Records, tmp_path: Path) -> None:
    place = tmp_path / "ws"
    _serve(records, "open_it")
    _serve(records, "open_it", ACME)
    assert [line.scope for line in list_skills(place)] == [""]
    assert {line.scope for line in list_skills(place, scope=ACME)} == {"", "acme"}
    assert show_skill(place, "open_it", scope=ACME).scope == "acme"
    assert show_skill(place, "open_it", scope=OTHER).scope == ""
    remove_skill(place, "open_it", scope=ACME)
    assert [line.status for line in list_skills(place)] == ["active"]
    with pytest.raises(UnknownNameError):
        remove_skill(place, "open_it", scope=OTHER)


def test_the_command_promotes_and_takes_back(records: Records, tmp_path: Path) -> None:
    skill = _serve(records, "open_it", ANN)

    def run(*words: str) -> dict[str, object]:
        where = ["--workspace", str(tmp_path / "ws"), "--json"]
        done = CliRunner().invoke(cli, ["library", "promote", *words, *where])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    told = run("open_it", "--to", "tenant", "--reason", "good")
    assert (told["id"], told["before"], told["after"]) == (skill.id, "acme/ann", "acme")
    assert run(skill.id, "--undo")["after"] == "acme/ann"
    where = ["--workspace", str(tmp_path / "ws")]
    words = ["library", "promote", "open_it", "--to", "tenant", "--reason", "good", *where]
    *_, last = CliRunner().invoke(cli, words).output.splitlines()
    hint = last.removeprefix("Next: agentlab ")
    assert hint != last and "--to" not in hint
    undone = CliRunner().invoke(cli, shlex.split(hint))
    assert undone.exit_code == 0 and "went from acme to acme/ann" in undone.output
    assert "Next" not in undone.output
    for words in (["open_it"], ["open_it", "--to", "a/b/c", "--reason", "x"], ["none", "--undo"]):
        assert CliRunner().invoke(cli, ["library", "promote", *words, *where]).exit_code != 0
