"""The served skills over real records: what is active, found, excluded, embedded and called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlab.config import IndexName, RetrievalConfig
from agentlab.embeddings import open_embedder
from agentlab.library.skills import SkillLibrary, closure
from agentlab.records import Records, Workspace
from agentlab.types import Skill, skill_id

EVERYTHING = RetrievalConfig(floor=-1.0, k=50)
DOOR, BALL, FETCH = "open the locked door", "put a ball next to a box", "fetch the key"


def _skill(name: str, summary: str, **changes: object) -> Skill:
    source = f"def {name}(env):\n    env.{name}()\n"
    environment = str(changes.get("environment", "town"))
    return Skill.model_validate(
        {
            "id": skill_id(environment, name, 1, source),
            "name": name,
            "environment": environment,
            "toolset": "tools",
            "source": source,
            "parameters": (),
            "summary": summary,
            "effect_source": "",
            **changes,
        }
    )


def _serve(records: Records, skill: Skill) -> Skill:
    records.items.save_skill(skill)
    for status in ("quarantined", "verified", "active"):
        records.items.move(skill.id, status, reason="tested")
    return skill


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with Records.open(Workspace.open(tmp_path / "ws")) as opened:
        yield opened


@pytest.fixture(params=["exact", "chroma"])
def backend(request: pytest.FixtureRequest) -> IndexName:
    return request.param


def _open(records: Records, backend: IndexName = "exact", **options: str) -> SkillLibrary:
    values = {"environment": "town", "toolset": "tools", **options}
    return SkillLibrary(records, values["environment"], toolset=values["toolset"], backend=backend)


def _found(library: SkillLibrary, query: str, *, task_id: str | None = None) -> list[str]:
    return [f.skill.name for f in library.retrieve(query, EVERYTHING, task_id=task_id)]


def test_nothing_is_served_at_first(records: Records, backend: IndexName) -> None:
    with _open(records, backend) as library:
        assert library.skills == {}
        assert library.version == 0
        assert _found(library, DOOR) == []
        assert library.calls() == {}


def test_only_what_is_active_is_served(records: Records, backend: IndexName) -> None:
    served = _serve(records, _skill("unlock", DOOR))
    records.items.save_skill(_skill("candidate", DOOR))
    gone = _serve(records, _skill("gone", DOOR))
    records.items.move(gone.id, "retired", reason="tested")
    with _open(records, backend) as library:
        assert list(library.skills) == [served.id]
        assert _found(library, DOOR) == ["unlock"]


def test_a_change_is_served_after_refresh(records: Records, backend: IndexName) -> None:
    first = _serve(records, _skill("unlock", DOOR))
    with _open(records, backend) as library:
        before = library.version
        second = _serve(records, _skill("join", BALL))
        assert _found(library, BALL) == ["unlock"], "frozen until it is refreshed"
        library.refresh()
        assert library.version > before
        assert _found(library, BALL)[0] == "join"
        records.items.move(first.id, "retired", reason="tested")
        assert "unlock" in _found(library, DOOR)
        library.refresh()
        assert _found(library, DOOR) == ["join"]
        assert list(library.skills) == [second.id]
        records.items.move(first.id, "active", reason="tested")
        library.refresh()
        assert _found(library, DOOR)[0] == "unlock"


def test_refreshing_without_a_change_does_nothing(records: Records) -> None:
    _serve(records, _skill("unlock", DOOR))
    with _open(records) as library:
        skills, version = library.skills, library.version
        library.refresh()
        assert library.skills is skills
        assert library.version == version


def test_source_tasks_are_excluded(records: Records, backend: IndexName) -> None:
    _serve(records, _skill("unlock", DOOR, source_tasks=("task-1", "task-2")))
    _serve(records, _skill("force", DOOR, source_tasks=("task-2",)))
    with _open(records, backend) as library:
        assert sorted(_found(library, DOOR)) == ["force", "unlock"]
        assert _found(library, DOOR, task_id="task-1") == ["force"]
        assert _found(library, DOOR, task_id="task-2") == []
        assert sorted(_found(library, DOOR, task_id="task-3")) == ["force", "unlock"]


def test_what_a_runtime_would_refuse_is_not_offered(records: Records, backend: IndexName) -> None:
    _serve(records, _skill("unlock", DOOR))
    _serve(records, _skill("bought", DOOR, origin="import"))
    _serve(records, _skill("haggle", DOOR, skills=("bought",)))
    with _open(records, backend) as library:
        assert _found(library, DOOR) == ["unlock"]
        assert library.calls() == {"unlock": ()}
    with SkillLibrary(records, "town", toolset="tools", backend=backend, foreign=True) as library:
        assert sorted(_found(library, DOOR)) == ["bought", "haggle", "unlock"]


def test_vectors_that_are_missing_are_made(records: Records, backend: IndexName) -> None:
    skill = _serve(records, _skill("unlock", DOOR))
    candidate = _skill("candidate", BALL)
    records.items.save_skill(candidate)
    with _open(records, backend) as library:
        name = open_embedder("lexical").name
        assert records.vectors.missing(environment="town", kind="skill", embedder=name) == []
        table = records.vectors.all(environment="town", kind="skill", embedder=name)
        assert table.ids == [skill.id]
        assert library.complete() == 0
        records.items.save_skill(_skill("later", FETCH))
        assert library.complete() == 1


def test_only_one_toolset_and_environment(records: Records, backend: IndexName) -> None:
    _serve(records, _skill("unlock", DOOR))
    other = _serve(records, _skill("primitive", DOOR, toolset="moves"))
    _serve(records, _skill("elsewhere", DOOR, environment="village"))
    with _open(records, backend) as library:
        assert _found(library, DOOR) == ["unlock"]
    with _open(records, backend, toolset="moves") as library:
        assert _found(library, DOOR) == ["primitive"]
        assert list(library.skills) == [other.id]
    with _open(records, backend, environment="village") as library:
        assert _found(library, DOOR) == ["elsewhere"]


def test_other_toolsets_take_no_place(records: Records) -> None:
    """However many skills over other tools are nearer, those that can be used are found."""
    for number in range(20):
        _serve(records, _skill(f"unlock_{number}", "unlocker", toolset="moves"))
    _serve(records, _skill("door", "a thing that is locked away"))
    with _open(records) as library:
        found = library.retrieve("unlocked", RetrievalConfig(k=3))
        assert [item.skill.name for item in found] == ["door"]


def test_none_is_an_answer(records: Records) -> None:
    _serve(records, _skill("unlock", DOOR))
    with _open(records) as library:
        assert library.retrieve(DOOR, RetrievalConfig(k=0)) == []
        assert library.retrieve("zzz qqq", RetrievalConfig(floor=0.3)) == []
        assert library.retrieve(DOOR, RetrievalConfig(tokens=0)) == []


def test_callees_come_along(records: Records) -> None:
    base = _serve(records, _skill("base", FETCH))
    middle = _serve(records, _skill("middle", BALL, skills=("base",)))
    top = _serve(records, _skill("top", DOOR, skills=("middle", "base")))
    with _open(records) as library:
        assert library.with_callees([top]) == (top, middle, base)
        assert library.with_callees([middle, top]) == (middle, top, base)
        assert library.with_callees([]) == ()
        assert library.calls() == {"base": (), "middle": ("base",), "top": ("middle", "base")}


def test_closure_ends() -> None:
    one = _skill("one", "", skills=("two",))
    two = _skill("two", "", skills=("one", "missing"))
    assert closure([one], {"one": one, "two": two}) == (one, two)


def test_the_index_is_derived(records: Records, backend: IndexName, tmp_path: Path) -> None:
    _serve(records, _skill("unlock", DOOR))
    _open(records, backend).close()
    for path in sorted((tmp_path / "ws" / "index").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with _open(records, backend) as library:
        assert _found(library, DOOR) == ["unlock"]
        library.reindex()
        assert _found(library, DOOR) == ["unlock"]


def test_closing_twice(records: Records, backend: IndexName) -> None:
    library = _open(records, backend)
    library.close()
    library.close()


def test_an_index_that_followed_is_not_stale(
    records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    """What was added while open is known again when opened next, to the last bit."""
    with _open(records, "chroma") as library:
        for number in range(12):
            _serve(records, _skill(f"skill_{number}", f"{DOOR} {number}"))
        library.refresh()
    with _open(records, "chroma") as library:
        assert library.status.state == "ready"
        assert library.status.items == 12
    assert "rebuilt" not in caplog.text


def test_callers_of_what_was_derived_from_a_task_are_not_offered_for_it(records: Records) -> None:
    """What is offered brings along what it calls, however deep."""
    _serve(records, _skill("key", DOOR, source_tasks=("t1",)))
    _serve(records, _skill("unlock", DOOR, skills=("key",)))
    _serve(records, _skill("enter", DOOR, skills=("unlock",), source_tasks=("t2",)))
    _serve(records, _skill("other", DOOR))
    with _open(records) as library:
        assert sorted(_found(library, DOOR)) == ["enter", "key", "other", "unlock"]
        assert _found(library, DOOR, task_id="t1") == ["other"]
        assert sorted(_found(library, DOOR, task_id="t2")) == ["key", "other", "unlock"]
        assert len(_found(library, DOOR, task_id="t3")) == 4
        for found in library.retrieve(DOOR, EVERYTHING, task_id="t1"):
            brought = library.with_callees([found.skill])
            assert not any("t1" in skill.source_tasks for skill in brought)


def test_alike_is_above_the_floor_and_best_first(records: Records) -> None:
    door, again, ball = _skill("unlock", DOOR), _skill("unlock_door", DOOR), _skill("join", BALL)
    with _open(records) as library:
        assert library.alike(door, [], floor=0.0) == []
        assert library.alike(door, [ball, again], floor=0.5) == [again]
        assert library.alike(door, [ball, again], floor=-1.0) == [again, ball]
        assert library.alike(door, [again], floor=1.01) == []
