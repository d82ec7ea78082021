"""Whose items and attempts are: kept, sealed, taken up from older records, and read by no other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

import agentlab.records.migrations
from agentlab.errors import RecordsError
from agentlab.records import Records, Workspace
from agentlab.records.migration import HEAD
from agentlab.types import SHARED, Scope, Skill, SplitRule, scoped_id
from tests.unit.records.samples import RUN, TOWN, a_skill, a_spec, a_task, an_outcome, opened

ACME, OTHER = Scope(tenant="acme"), Scope(tenant="other")
ANN = Scope(tenant="acme", user="ann")
EVERY = (SHARED, ACME, ANN, OTHER)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with opened(tmp_path) as records:
        yield records


def _of(scope: Scope, name: str = "carry") -> Skill:
    skill = a_skill(name)
    return skill.model_copy(update={"id": scoped_id(scope, skill.id)})


def _serve(records: Records, scope: Scope, name: str = "carry") -> Skill:
    skill = _of(scope, name)
    records.items.save_skill(skill, scope=scope)
    for status in ("quarantined", "verified", "active"):
        records.items.move(skill.id, status, reason="sound")
    return skill


def test_a_scope_reads_its_own_and_what_is_around_it(records: Records) -> None:
    ids = {scope.path: _serve(records, scope).id for scope in EVERY}
    for scope in EVERY:
        rows = records.items.skills(environment=TOWN, scope=scope)
        assert {row.scope for row in rows} == set(scope.readable)
        assert {row.item.id for row in rows} == {ids[path] for path in scope.readable}
    assert [row.scope for row in records.items.skills()] == [""]
    assert len(records.items.skills(scope=None)) == len(EVERY)


def test_vectors_are_read_and_missed_by_scope_alone(records: Records) -> None:
    ids = {scope.path: _serve(records, scope).id for scope in EVERY}
    for scope in EVERY:
        missing = records.vectors.missing(
            environment=TOWN, kind="skill", embedder="lexical", scope=scope
        )
        assert set(missing) == {ids[path] for path in scope.readable}
    for identifier in ids.values():
        records.vectors.save(identifier, "lexical", np.ones(4, dtype=np.float32))
    for scope in EVERY:
        table = records.vectors.all(environment=TOWN, kind="skill", embedder="lexical", scope=scope)
        assert set(table.ids) == {ids[path] for path in scope.readable}


def test_an_id_is_of_one_scope(records: Records) -> None:
    skill = _serve(records, SHARED)
    with pytest.raises(RecordsError, match="taken in another scope"):
        records.items.save_skill(skill, scope=ACME)


def test_what_is_not_verified_stays_where_it_is(records: Records) -> None:
    skill = _of(ANN)
    records.items.save_skill(skill, scope=ANN)
    with pytest.raises(RecordsError, match="only what is verified"):
        records.items.move(skill.id, "candidate", reason="hurry", scope=ACME)
    records.items.move(skill.id, "quarantined", reason="checked")
    with pytest.raises(RecordsError, match="only what is verified"):
        records.items.move(skill.id, "quarantined", reason="hurry", scope=SHARED)
    assert records.items.skill(skill.id).scope == "acme/ann"


def test_a_scope_changed_by_hand_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        skill = _serve(records, ACME)
        records.runs.create("run-2", config={}, versions={}, seed=1, scope=ACME)
    with closing(sqlite3.connect(tmp_path / "records.db")) as connection, connection:
        connection.execute("UPDATE items SET scope = ''")
        connection.execute("UPDATE runs SET scope = '' WHERE id = 'run-2'")
    with Records.open(Workspace.open(tmp_path)) as records:
        for ask in (records.items.skills, lambda: records.items.skill(skill.id)):
            with pytest.raises(RecordsError, match="changed by something other"):
                ask()
        with pytest.raises(RecordsError, match="changed by something other"):
            records.runs.get("run-2")


def test_a_scope_given_by_hand_to_a_move_too_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        skill = _serve(records, ACME)
    with closing(sqlite3.connect(tmp_path / "records.db")) as connection, connection:
        connection.execute("UPDATE items SET scope = ''")
        connection.execute("UPDATE moves SET scope = ''")
    with (
        Records.open(Workspace.open(tmp_path)) as records,
        pytest.raises(RecordsError, match="changed by something other"),
    ):
        records.items.skill(skill.id)


def test_what_is_tried_in_a_scope_is_told_there(records: Records) -> None:
    records.tasks.add_proposals(RUN, 0, [(a_task(n), None) for n in range(4)], SplitRule())
    skill = _serve(records, SHARED)
    for slot, scope in enumerate(EVERY):
        spec = a_spec(slot, a_task(slot), skills=(skill,)).model_copy(update={"scope": scope.path})
        records.attempts.record(spec, an_outcome(spec))
    for slot, scope in enumerate(EVERY):
        own = [f"task-{slot}"]
        assert [p.task.id for p in records.trajectories.learnable(RUN, scope=scope)] == own
        assert [e.task.id for e in records.trajectories.exportable(RUN, scope=scope)] == own
        assert [o.task_id for o in records.trajectories.outline(RUN, scope=scope)] == own
        around = len(scope.readable)
        assert len(records.draws.all(item_id=skill.id, scope=scope)) == around
        known = records.draws.known([skill.id], environment=TOWN, first=9, scope=scope)
        # The skill was derived from the first task, which counts nowhere.
        assert (known[skill.id].known if known else 0) == around - 1
        assert records.attempts.uses(scope=scope)[skill.id] == around
    assert [p.task.id for p in records.trajectories.learnable(RUN)] == ["task-0"]
    assert [row.scope for row in records.attempts.all(RUN)] == [s.path for s in EVERY]


def test_older_records_are_taken_up_as_everybodys(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        skill = _serve(records, SHARED)
        spec = a_spec(0, a_task(0), skills=(skill,))
        records.attempts.record(spec, an_outcome(spec))
    database = tmp_path / "records.db"
    to_revision(database, "0006")
    with closing(sqlite3.connect(database)) as connection:
        assert "scope" not in {row[1] for row in connection.execute("PRAGMA table_info(items)")}
    with Records.open(Workspace.open(tmp_path)) as records:
        row = records.items.skill(skill.id)
        assert (row.item, row.status, row.scope) == (skill, "active", "")
        assert records.runs.get(RUN).scope == ""
        assert [move.scope for move in records.items.history(skill.id)] == [""] * 4
        assert records.attempts.all(RUN)[0].scope == ""
        records.items.move(skill.id, "retired", reason="still sealed")


def test_a_tenants_items_keep_records_from_going_back(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        _serve(records, ACME)
    with pytest.raises(RuntimeError, match="would become everybody's"):
        to_revision(tmp_path / "records.db", "0006")
    with Records.open(Workspace.open(tmp_path)) as records:
        assert records.items.skills() == []
        assert len(records.items.skills(scope=ACME)) == 1


def to_revision(database: Path, revision: str) -> None:
    """Take a database back to a schema."""
    assert HEAD >= "0007"
    config = Config()
    folder = Path(agentlab.records.migrations.__file__).parent
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    engine = create_engine(f"sqlite:///{database}")
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, revision)
    finally:
        engine.dispose()
