"""The library for people: one name in several environments, and what counting uses costs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentlab.embeddings import open_embedder
from agentlab.errors import RecordsError, UnknownNameError, UsageError
from agentlab.library.catalogue import (
    list_skills,
    reindex,
    remove_skill,
    search_skills,
    show_skill,
)
from agentlab.records import Records, Workspace
from agentlab.records.attempts import AttemptRow, Attempts
from agentlab.types import AttemptKind, Skill, skill_id
from tests.unit.records.samples import a_spec, a_task, an_outcome, opened


def _serve(records: Records, name: str, environment: str = "town") -> Skill:
    source = f"def {name}(env):\n    env.{name}()\n"
    skill = Skill(
        id=skill_id(environment, name, 1, source),
        name=name,
        environment=environment,
        toolset="tools",
        source=source,
        parameters=(),
        summary=f"{name} the locked door",
        effect_source="",
    )
    records.items.save_skill(skill)
    for status in ("quarantined", "verified", "active"):
        records.items.move(skill.id, status, reason="tested")
    return skill


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """`unlock` of two environments, `force` of one; `force` was used twice and tried once."""
    place = tmp_path / "ws"
    with opened(place) as records:
        for environment in ("town", "village"):
            _serve(records, "unlock", environment)
        force = _serve(records, "force")
        kinds: tuple[AttemptKind, ...] = ("practice", "practice", "shadow")
        for slot, kind in enumerate(kinds):
            spec = a_spec(slot, a_task(slot), kind=kind, skills=(force,))
            records.attempts.record(spec, an_outcome(spec))
    return place


def test_a_name_of_several_environments_needs_one_named(workspace: Path) -> None:
    for look in (show_skill, remove_skill):
        with pytest.raises(UsageError, match="'town', 'village'; say which with --environment"):
            look(workspace, "unlock")
    assert show_skill(workspace, "unlock", environment="village").environment == "village"
    assert show_skill(workspace, "force").environment == "town"
    removed = remove_skill(workspace, "unlock", environment="village")
    assert (removed.environment, removed.status) == ("village", "retired")
    assert show_skill(workspace, "unlock", environment="town").status == "active"


def test_a_skill_of_another_environment_is_not_found(workspace: Path) -> None:
    for look in (show_skill, remove_skill):
        with pytest.raises(UnknownNameError, match="Did you mean 'unlock'"):
            look(workspace, "unlok", environment="village")
        with pytest.raises(UnknownNameError, match="'force'"):
            look(workspace, "force", environment="village")
    assert show_skill(workspace, "force").status == "active"


def test_a_skill_that_was_edited_can_be_removed(workspace: Path) -> None:
    with closing(sqlite3.connect(workspace / "records.db")) as connection, connection:
        connection.execute(
            "UPDATE items SET body = json_set(body, '$.source', 'evil') WHERE name = 'force'"
        )
    for read in (list_skills, reindex):
        with pytest.raises(RecordsError, match="agentlab skills remove force --environment town"):
            read(workspace)
    removed = remove_skill(workspace, "force")
    assert (removed.name, removed.environment, removed.status) == ("force", "town", "retired")
    assert [line.name for line in list_skills(workspace)] == ["unlock", "unlock"]
    assert reindex(workspace).items == 2


def test_uses_are_counted_by_the_database(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    everything = Attempts.all

    def counted(
        self: Attempts, run_id: str, round_: int | None = None, *, kind: AttemptKind | None = None
    ) -> list[AttemptRow]:
        read.append(run_id)
        return everything(self, run_id, round_, kind=kind)

    monkeypatch.setattr(Attempts, "all", counted)
    found = search_skills(workspace, "the locked door")
    assert {(line.name, line.environment, line.uses) for line in found} == {
        ("force", "town", 2),
        ("unlock", "town", 0),
        ("unlock", "village", 0),
    }
    assert [line.score for line in found] == sorted((line.score for line in found), reverse=True)
    assert [line.name for line in list_skills(workspace)] == ["force", "unlock", "unlock"]
    assert read == []


def test_reindexing_counts_what_is_embedded_anew(workspace: Path) -> None:
    report = reindex(workspace)
    assert (report.items, report.embedded) == (3, 3)
    assert [line.environment for line in report.collections] == ["town", "village"]
    assert reindex(workspace).embedded == 0
    name = open_embedder("lexical").name
    with Records.open(Workspace.open(workspace)) as records:
        assert records.vectors.missing(environment="town", kind="skill", embedder=name) == []
    with pytest.raises(UnknownNameError, match="'lexicl'"):
        reindex(workspace, embedder="lexicl")
