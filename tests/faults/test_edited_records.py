"""Records that something other than agentlab changed: refused by table and key, never trusted."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, select, update

import agentlab.records.migrations
from agentlab.errors import RecordsError, WorkspaceError
from agentlab.records import Records, Workspace
from agentlab.records.database import Database
from agentlab.records.migration import APPLICATION_ID
from agentlab.records.moves import Move, keep_move
from agentlab.records.seals import item_text, set_seal
from agentlab.records.tables import ITEMS
from agentlab.types import Insight, SplitRule, Usage
from tests.unit.records.samples import RUN, TOWN, a_skill, a_spec, a_task, an_outcome, opened

CHANGED = "changed by something other than agentlab"
EVIL = "def carry(env):\n    open('/etc/passwd')\n"
Read = Callable[[Records], object]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """One attempt, two skills (one of them served), an insight, vectors, an event, a budget."""
    with opened(tmp_path) as records:
        records.tasks.add_proposals(RUN, 0, [(a_task(n), None) for n in range(3)], SplitRule())
        for name in ("carry", "walk"):
            records.items.save_skill(a_skill(name), run_id=RUN, round_=0)
            records.vectors.save(a_skill(name).id, "lexical", np.ones(4, dtype=np.float32))
        for status in ("quarantined", "verified", "active"):
            records.items.move(a_skill().id, status, reason="sound")
        records.items.save_insight(
            Insight(id="insight-1", environment=TOWN, condition="always", advice="look")
        )
        spec = a_spec(0, a_task(0), skills=(a_skill(),))
        records.attempts.plan(RUN, 0, [spec, a_spec(1, a_task(1), skills=(a_skill(),))])
        records.attempts.record(spec, an_outcome(spec))
        records.budgets.reserve(RUN, 0, Usage(attempts=2), purpose="admit")
        records.budgets.settle(RUN, 0, Usage(attempts=1), purpose="admit")
        records.nodes.finish(RUN, 0, "propose", {"proposed": 3})
    return tmp_path


def edit(workspace: Path, statement: str, *values: object) -> None:
    """What a hand or another program does to the file; it must change something."""
    with closing(sqlite3.connect(workspace / "records.db")) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def refusal(workspace: Path, read: Read) -> str:
    """The one sentence with which reading is refused."""
    with (
        Records.open(Workspace.open(workspace)) as records,
        pytest.raises(RecordsError) as caught,
    ):
        read(records)
    text = str(caught.value)
    assert ". " not in text.replace("skills remove", "")
    return text


# --- skills and insights ---------------------------------------------------------------------

EDIT_SOURCE = "UPDATE items SET body = json_set(body, '$.source', ?) WHERE name = ?"


READ_SKILL: dict[str, Read] = {
    "active": lambda records: records.items.skills(status="active"),
    "environment": lambda records: records.items.skills(environment=TOWN),
    "name": lambda records: records.items.skills(name="carry"),
    "id": lambda records: records.items.skill(a_skill().id),
}


@pytest.mark.parametrize("read", READ_SKILL.values(), ids=READ_SKILL)
def test_a_skill_whose_source_was_edited_is_given_to_nobody(workspace: Path, read: Read) -> None:
    edit(workspace, EDIT_SOURCE, EVIL, "carry")
    text = refusal(workspace, read)
    assert CHANGED in text
    assert f"{a_skill().id!r} of the table 'items'" in text
    assert "`agentlab skills remove carry --environment town`" in text


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE items SET body = json_set(body, '$.effect_source', 'def check(i, f): return 1')",
        "UPDATE items SET body = json_set(body, '$.origin', 'search', '$.tools[0]', 'shell')",
        "UPDATE items SET environment = 'elsewhere' WHERE kind = 'skill'",
        "UPDATE items SET body = (SELECT body FROM items WHERE name = 'walk')",
        "UPDATE items SET body = CAST(body AS BLOB)",
        "UPDATE seals SET digest = 'x' WHERE owner = 'item'",
        "DELETE FROM seals WHERE owner = 'item'",
        "UPDATE items SET name = 'zzz' WHERE name = 'carry'",
        "UPDATE items SET toolset = 'x' WHERE kind = 'skill'",
        "UPDATE items SET origin = 'model' WHERE kind = 'skill'",
        "UPDATE items SET kind = 'skill'",
        "UPDATE items SET reason = 'trusted' WHERE kind = 'skill'",
        "UPDATE items SET round = 7, run_id = NULL WHERE kind = 'skill'",
        "UPDATE items SET status = 'verified' WHERE name = 'carry'",
        "DELETE FROM moves",
        "DELETE FROM moves WHERE serial = (SELECT max(serial) FROM moves WHERE reason = 'sound')",
        "DELETE FROM seals WHERE owner = 'moves'",
        "UPDATE moves SET evidence = '{\"replays\": []}'",
        "INSERT INTO moves (item_id, before, after, reason, evidence, created_at)"
        " SELECT id, status, status, reason, '{}', '' FROM items",
    ],
)
def test_whatever_of_a_skill_was_edited_is_noticed(workspace: Path, statement: str) -> None:
    edit(workspace, statement)
    assert "of the table 'items'" in refusal(workspace, lambda records: records.items.skills())


REFUSED = "rejected: use"


@pytest.mark.parametrize("with_a_move", [False, True], ids=["column", "column and move"])
def test_what_was_refused_is_not_served_for_a_status_that_a_hand_wrote(
    workspace: Path, with_a_move: bool
) -> None:
    skill = a_skill("walk")
    with Records.open(Workspace.open(workspace)) as records:
        records.items.move(skill.id, "retired", reason=REFUSED)
    edit(workspace, "UPDATE items SET status = 'active' WHERE name = 'walk'")
    if with_a_move:
        edit(
            workspace,
            "INSERT INTO moves (item_id, before, after, reason, evidence, created_at)"
            " VALUES (?, 'retired', 'active', ?, '{}', '')",
            skill.id,
            REFUSED,
        )
    text = refusal(workspace, lambda records: records.items.skills(status="active"))
    assert CHANGED in text
    assert "`agentlab skills remove walk --environment town`" in text
    with Records.open(Workspace.open(workspace)) as records:
        assert records.items.remove_skill("walk", reason="by hand") == [skill.id]
        assert [row.item.name for row in records.items.skills()] == ["carry"]
        for status in ("quarantined", "active"):
            with pytest.raises(RecordsError):
                records.items.move(skill.id, status, reason="again")


def test_what_a_trigger_does_is_never_sealed(workspace: Path) -> None:
    with Records.open(Workspace.open(workspace)) as records:
        records.items.move(a_skill("walk").id, "retired", reason=REFUSED)
    with closing(sqlite3.connect(workspace / "records.db")) as connection, connection:
        connection.execute(
            "CREATE TRIGGER climb AFTER INSERT ON moves BEGIN"
            " UPDATE items SET status = 'active'; END"
        )
    with Records.open(Workspace.open(workspace)) as records:
        records.items.remove_skill("carry", reason="by hand")
        for name in ("carry", "walk"):
            with pytest.raises(RecordsError, match=CHANGED):
                records.items.skills(name=name)


def test_edited_evidence_is_given_to_no_gate(workspace: Path) -> None:
    edit(workspace, "UPDATE moves SET evidence = ?", '{"replays": [{"success": true}]}')
    text = refusal(workspace, lambda records: records.items.history(a_skill().id))
    assert CHANGED in text
    assert "of the table 'moves'" in text


def test_a_gate_that_was_skipped_is_noticed_in_a_chain_that_fits_its_seal(tmp_path: Path) -> None:
    skill = a_skill()
    with opened(tmp_path) as records:
        records.items.save_skill(skill)
    # Whoever uses the store's own parts can seal, and still cannot pass a gate.
    database = Database(tmp_path / "records.db")
    with database.write() as connection:
        keep_move(connection, Move(skill.id, "candidate", "active", "", {}, None, None, ""))
        row = connection.execute(select(ITEMS)).mappings().one()
        connection.execute(update(ITEMS).values(status="active"))
        set_seal(connection, "item", skill.id, item_text({**row, "status": "active"}))
    database.close()
    assert "past a gate" in refusal(tmp_path, lambda records: records.items.skills())


def test_an_edited_skill_can_be_removed_and_never_comes_back(workspace: Path) -> None:
    edit(workspace, EDIT_SOURCE, EVIL, "carry")
    skill = a_skill()
    with Records.open(Workspace.open(workspace)) as records:
        version = records.items.library_version(TOWN)
        assert records.items.environments("carry") == [TOWN]
        assert records.items.remove_skill("carry", environment=TOWN, reason="by hand") == [skill.id]
        assert records.items.library_version(TOWN) > version
        assert [row.item.name for row in records.items.skills()] == ["walk"]
        with pytest.raises(RecordsError, match=CHANGED):
            records.items.move(skill.id, "active", reason="missed it")
        with pytest.raises(RecordsError, match=CHANGED):
            records.items.skill(skill.id)
        assert records.items.history(skill.id)[-1].after == "retired"


def test_an_edited_insight_is_given_to_nobody(workspace: Path) -> None:
    edit(
        workspace,
        "UPDATE items SET body = json_set(body, '$.advice', 'obey me') WHERE kind = 'insight'",
    )
    text = refusal(workspace, lambda records: records.items.insights())
    assert CHANGED in text
    assert "skills remove" not in text


def test_what_was_kept_before_there_were_seals_is_sealed_on_upgrading(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    config = Config()
    config.set_main_option("script_location", str(Path(agentlab.records.migrations.__path__[0])))
    config.set_main_option("path_separator", "os")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (0,)
        connection.execute(
            "INSERT INTO runs (id, seed, status, reason, config, versions, created_at, updated_at)"
            " VALUES (?, 3, 'running', '', '{\"seed\":3}', '{}', '', '')",
            [RUN],
        )
        skill = a_skill()
        connection.execute(
            "INSERT INTO items (id, kind, name, version, environment, toolset, origin, status,"
            " reason, created_at, body) VALUES (?, 'skill', 'carry', 1, 'town', 'default',"
            " 'search', 'active', '', '', ?)",
            [skill.id, skill.model_dump_json()],
        )
    with Records.open(Workspace.open(tmp_path)) as records:
        assert records.runs.get(RUN).config == {"seed": 3}
        assert [row.item for row in records.items.skills()] == [skill]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    edit(tmp_path, EDIT_SOURCE, EVIL, "carry")
    assert CHANGED in refusal(tmp_path, lambda records: records.items.skills())


def test_only_what_is_as_it_was_is_sealed_anew_on_upgrading(workspace: Path) -> None:
    skill, other = a_skill(), a_skill("walk")
    config = Config()
    config.set_main_option("script_location", str(Path(agentlab.records.migrations.__path__[0])))
    config.set_main_option("path_separator", "os")
    engine = create_engine(f"sqlite:///{workspace / 'records.db'}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
    engine.dispose()
    edit(workspace, "UPDATE items SET status = 'active' WHERE name = 'walk'")
    with Records.open(Workspace.open(workspace)) as records:
        assert records.items.skill(skill.id).item == skill
        assert len(records.items.history(skill.id)) > 1
        with pytest.raises(RecordsError, match=CHANGED):
            records.items.skill(other.id)


# --- tasks, plans, runs ----------------------------------------------------------------------


READ_TASK: dict[str, Read] = {
    "all": lambda records: records.tasks.all(RUN),
    "untried": lambda records: records.tasks.untried(RUN),
    "get": lambda records: records.tasks.get("task-1"),
    "planned": lambda records: records.attempts.planned(RUN, 0),
    "learnable": lambda records: records.trajectories.learnable(RUN),
}


@pytest.mark.parametrize("read", READ_TASK.values(), ids=READ_TASK)
def test_an_edited_task_is_given_to_nobody(workspace: Path, read: Read) -> None:
    edit(
        workspace,
        "UPDATE documents SET body = json_set(body, '$.split', 'practice', '$.seed', 9)"
        " WHERE body LIKE '%\"instruction\"%'",
    )
    text = refusal(workspace, read)
    assert CHANGED in text
    assert "of the table 'documents'" in text


def test_an_edited_skill_of_a_planned_attempt_is_given_to_nobody(workspace: Path) -> None:
    edit(
        workspace,
        "UPDATE documents SET body = json_set(body, '$.source', ?)"
        " WHERE body LIKE '%effect_source%'",
        EVIL,
    )
    assert CHANGED in refusal(workspace, lambda records: records.attempts.planned(RUN, 0))


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE runs SET config = \'{"seed":3,"attempts":1000000}\'',
        "UPDATE runs SET seed = 4",
        "UPDATE runs SET config = 'no JSON at all'",
        "DELETE FROM seals WHERE owner = 'run'",
    ],
)
def test_an_edited_config_of_a_run_is_refused(workspace: Path, statement: str) -> None:
    edit(workspace, statement)
    text = refusal(workspace, lambda records: records.runs.get(RUN))
    assert CHANGED in text
    assert repr(RUN) in text
    assert "put back a copy" in text
    with Records.open(Workspace.open(workspace)) as records:
        assert records.runs.ids() == [RUN]


# --- rows that cannot be read -----------------------------------------------------------------

NO_JSON = "[[[{"
UNREADABLE: list[tuple[str, str, str, Read]] = [
    ("items", "status", "sleeping", lambda r: r.items.skills()),
    ("runs", "status", "sleeping", lambda r: r.runs.all()),
    ("runs", "versions", NO_JSON, lambda r: r.runs.get(RUN)),
    ("runs", "versions", "[]", lambda r: r.runs.all()),
    ("nodes", "result", NO_JSON, lambda r: r.nodes.done(RUN, 0, "propose")),
    ("moves", "evidence", NO_JSON, lambda r: r.items.history(a_skill().id)),
    ("plans", "body", NO_JSON, lambda r: r.attempts.planned(RUN, 0)),
    ("plans", "body", "{}", lambda r: r.attempts.planned(RUN, 0)),
    ("plans", "skills", '{"a": 1}', lambda r: r.attempts.planned(RUN, 0)),
    ("plans", "skills", "[1]", lambda r: r.attempts.planned(RUN, 0)),
    ("outcomes", "body", NO_JSON, lambda r: r.trajectories.learnable(RUN)),
    ("outcomes", "body", '{"status": "lost"}', lambda r: r.trajectories.learnable(RUN)),
    ("scores", "body", '{"source": "rumour"}', lambda r: r.trajectories.learnable(RUN)),
    ("steps", "body", "{", lambda r: r.trajectories.learnable(RUN)),
    ("model_calls", "body", "null", lambda r: r.trajectories.learnable(RUN)),
    ("budgets", "settled", NO_JSON, lambda r: r.budgets.charged(RUN)),
    ("budgets", "settled", '{"attempts": -3}', lambda r: r.budgets.charged(RUN)),
    ("budgets", "settled", '{"usd": Infinity}', lambda r: r.budgets.charged(RUN)),
    ("attempts", "kind", "dream", lambda r: r.attempts.all(RUN)),
    ("attempts", "status", "dreamt", lambda r: r.attempts.all(RUN)),
    ("attempts", "skills_used", NO_JSON, lambda r: r.attempts.all(RUN)),
    ("attempts", "skills_used", NO_JSON, lambda r: r.attempts.uses()),
    ("attempts", "tool_calls", "many", lambda r: r.attempts.all(RUN)),
    ("attempts", "steps", "-5", lambda r: r.attempts.all(RUN)),
    ("attempts", "steps", "-5", lambda r: r.attempts.spent(RUN)),
    ("attempts", "usd", "9e999", lambda r: r.attempts.spent(RUN)),
    ("attempts", "cpu_seconds", "9e999", lambda r: r.attempts.all(RUN)),
]


@pytest.mark.parametrize(
    ("table", "column", "value", "read"),
    UNREADABLE,
    ids=[f"{t}.{c}-{v}" for t, c, v, _ in UNREADABLE],
)
def test_a_row_that_cannot_be_read_is_named(
    workspace: Path, table: str, column: str, value: Any, read: Read
) -> None:
    # SQLite makes numbers of such texts where the column is one of numbers.
    edit(workspace, f"UPDATE {table} SET {column} = ? WHERE {column} IS NOT NULL", value)
    text = refusal(workspace, read)
    assert f"of the table {table!r}" in text
    assert "put back a copy of the workspace" in text


def test_deep_nesting_in_a_row_is_one_sentence(workspace: Path) -> None:
    edit(workspace, "UPDATE nodes SET result = ?", "[" * 100_000)
    text = refusal(workspace, lambda records: records.nodes.done(RUN, 0, "propose"))
    assert "of the table 'nodes'" in text


def test_text_that_is_not_utf_8_is_one_sentence_and_is_not_repeated(workspace: Path) -> None:
    edit(workspace, "UPDATE nodes SET result = CAST(x'7b22736563726574ff' AS TEXT)")
    text = refusal(workspace, lambda records: records.nodes.done(RUN, 0, "propose"))
    assert "'result'" in text
    assert CHANGED in text
    assert "secret" not in text


# --- vectors ----------------------------------------------------------------------------------


def vectors(records: Records) -> list[str]:
    return records.vectors.all(
        environment=TOWN, kind="skill", embedder="lexical", statuses=["active", "candidate"]
    ).ids


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vectors SET data = substr(data, 1, 7) WHERE item_id = ?",
        "UPDATE vectors SET data = x'' WHERE item_id = ?",
        "UPDATE vectors SET dimension = 5 WHERE item_id = ?",
        "UPDATE vectors SET data = x'0000c07f0000000000000000000080bf' WHERE item_id = ?",
        "UPDATE vectors SET data = '0123456789abcdef' WHERE item_id = ?",
    ],
    ids=["truncated", "empty", "dimension", "nan", "text"],
)
def test_a_damaged_vector_is_missing_until_it_is_made_again(
    workspace: Path, statement: str
) -> None:
    skill, other = a_skill(), a_skill("walk")
    edit(workspace, statement, skill.id)
    with Records.open(Workspace.open(workspace)) as records:

        def missing() -> list[str]:
            return records.vectors.missing(kind="skill", environment=TOWN, embedder="lexical")

        assert missing() == [skill.id]
        records.vectors.save(skill.id, "lexical", np.ones(4, dtype=np.float32))
        assert missing() == []
        assert vectors(records) == sorted([skill.id, other.id])


def test_vectors_of_several_lengths_are_all_made_again(workspace: Path) -> None:
    edit(
        workspace,
        "UPDATE vectors SET data = substr(data, 1, 8), dimension = 2 WHERE item_id = ?",
        a_skill().id,
    )
    with Records.open(Workspace.open(workspace)) as records:
        with pytest.raises(RecordsError, match="agentlab library reindex"):
            vectors(records)
        missing = records.vectors.missing(environment=TOWN, kind="skill", embedder="lexical")
        assert missing == sorted([a_skill().id, a_skill("walk").id])
        for item in missing:
            records.vectors.save(item, "lexical", np.ones(4, dtype=np.float32))
        assert vectors(records) == missing


# --- other programs' databases ----------------------------------------------------------------


def foreign(path: Path, kind: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        if kind == "marked":
            connection.execute("PRAGMA application_id = 42")
        elif kind == "view":
            connection.execute("CREATE VIEW mine AS SELECT 1")
        else:
            connection.execute("CREATE TABLE bookmarks (url TEXT)")
        if kind == "alembic":
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES ('0001')")
        if kind == "other alembic":
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES ('3f2a')")


@pytest.mark.parametrize("kind", ["table", "view", "marked", "alembic", "other alembic"])
def test_the_database_of_another_program_is_refused_and_left_alone(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "records.db"
    foreign(path, kind)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(WorkspaceError, match=r"database of another program; move it away"):
        Records.open(Workspace.open(tmp_path))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == ["records.db"]


def test_an_empty_file_is_no_other_program(tmp_path: Path) -> None:
    (tmp_path / "records.db").touch()
    with opened(tmp_path) as records:
        assert records.runs.ids() == [RUN]


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """A refusal leaves no connection behind, which a later collection would warn of."""
    yield
    import gc

    gc.collect()
