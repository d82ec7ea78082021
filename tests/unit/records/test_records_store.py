from __future__ import annotations

import ast
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

import agentlab.records.migrations
from agentlab.errors import NewerDatabaseError, RecordsError, UnknownNameError, UsageError
from agentlab.events import AttemptFinished, RoundFinished, RunFinished, RunStarted, TaskAdmitted
from agentlab.records import Records, Transaction, Workspace
from agentlab.records.migration import HEAD, REVISIONS
from agentlab.records.tables import METADATA
from agentlab.types import JsonObject, SplitRule, Usage
from tests.unit.records.samples import RUN, a_skill, a_spec, a_task, an_outcome, opened


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with opened(tmp_path) as records:
        yield records


# --- runs and nodes --------------------------------------------------------------------------


def test_runs_are_kept_oldest_first(records: Records) -> None:
    assert records.runs.create("a-run", config={"x": [1, None]}, versions={}, seed=2**63 - 1)
    assert [run.run_id for run in records.runs.all()] == [RUN, "a-run"]
    row = records.runs.get("a-run")
    assert (row.config, row.seed, row.status) == ({"x": [1, None]}, 2**63 - 1, "running")
    records.runs.set_status("a-run", "stopped", "the budget is spent")
    row = records.runs.get("a-run")
    assert (row.status, row.reason) == ("stopped", "the budget is spent")


def test_a_run_is_created_once(records: Records) -> None:
    assert not records.runs.create(RUN, config={"seed": 3}, versions={"agentlab": "1"}, seed=3)
    assert records.runs.get(RUN).versions == {"agentlab": "0"}
    with pytest.raises(RecordsError, match="another config or seed"):
        records.runs.create(RUN, config={"seed": 4}, versions={}, seed=4)
    with pytest.raises(UsageError, match="too large"):
        records.runs.create("big", config={}, versions={}, seed=2**63)


def test_unknown_runs_suggest_near_ones(records: Records) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'run-1'"):
        records.runs.get("run-2")
    with pytest.raises(UnknownNameError, match="Did you mean 'run-1'"):
        records.runs.set_status("run-2", "failed")


def test_a_node_has_one_effect(records: Records) -> None:
    calls: list[int] = []

    def work(part: Transaction) -> JsonObject:
        calls.append(1)
        part.tasks.add_proposals(RUN, 0, [(a_task(1), None)], SplitRule())
        part.events.append([TaskAdmitted(run_id=RUN, task_id="task-1")])
        return {"admitted": 1}

    assert records.nodes.done(RUN, 0, "propose") is None
    assert records.once(RUN, 0, "propose", work) == {"admitted": 1}
    assert records.once(RUN, 0, "propose", work) == {"admitted": 1}
    assert calls == [1]
    assert records.nodes.done(RUN, 0, "propose") == {"admitted": 1}
    assert records.runs.rounds(RUN) == [0]
    assert not records.nodes.finish(RUN, 0, "propose", {"admitted": 2})


def test_a_transaction_is_all_or_nothing(records: Records) -> None:
    with pytest.raises(ZeroDivisionError), records.transaction() as part:
        part.items.save_skill(a_skill())
        part.items.move(a_skill().id, "quarantined", reason="first look")
        assert part.items.skill(a_skill().id).status == "quarantined"
        # Others see what was committed and nothing else.
        assert records.items.skills() == []
        part.nodes.finish(RUN, 0, "curate", {"n": 1 // 0})
    assert records.items.skills() == []
    assert records.nodes.done(RUN, 0, "curate") is None
    with records.transaction() as part:
        part.items.save_skill(a_skill())
    assert len(records.items.skills()) == 1


def test_writing_past_an_open_transaction_is_refused(records: Records) -> None:
    with records.transaction(), pytest.raises(RecordsError, match="open already"):
        records.items.save_skill(a_skill())
    records.items.save_skill(a_skill())


def test_threads_take_turns(records: Records) -> None:
    specs = [a_spec(slot, a_task(slot % 8)) for slot in range(24)]
    records.attempts.plan(RUN, 0, specs)
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for spec in specs[first::4]:
                records.attempts.record(spec, an_outcome(spec))
                records.attempts.spent(RUN)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert records.attempts.spent(RUN).attempts == 24


# --- events and budgets ----------------------------------------------------------------------


def test_events_come_back_as_they_were(records: Records) -> None:
    events = [
        RunStarted(run_id=RUN, environment="town"),
        TaskAdmitted(run_id=RUN, sequence=0, task_id="task-1"),
        AttemptFinished(run_id=RUN, slot=2, skills_used=("skill-1",), seconds=1.5),
        RoundFinished(run_id=RUN, sequence=1, attempts=1),
    ]
    records.events.append(events)
    records.events.append([events[1], RunStarted(run_id=RUN, resumed=True)])
    rows = records.events.after(RUN)
    assert [row.event for row in rows[:4]] == events
    assert [type(row.event) for row in rows[4:]] == [RunStarted]
    assert [row.event for row in records.events.after(RUN, rows[3].serial)] == [rows[4].event]
    assert len(records.events.after(RUN, limit=2)) == 2
    assert records.events.all(RUN) == [events[1], events[3], events[2]]
    assert records.events.after("other") == []


def test_the_first_event_of_a_place_stays(records: Records) -> None:
    first = RoundFinished(run_id=RUN, attempts=1)
    records.events.append([RunFinished(run_id=RUN, status="stopped")])
    records.events.append([first])
    records.events.append([RoundFinished(run_id=RUN, attempts=2)])
    assert records.events.all(RUN) == [first]


def test_reservations_are_made_and_settled_once(records: Records) -> None:
    ten = Usage(attempts=10, tool_calls=10_000)
    assert records.budgets.reserve(RUN, 0, ten)
    assert not records.budgets.reserve(RUN, 0, Usage(attempts=99))
    assert records.budgets.reserve(RUN, 0, Usage(steps=500), purpose="admit")
    assert records.budgets.reserved(RUN) == ten + Usage(steps=500)
    assert records.budgets.settle(RUN, 0, Usage(attempts=9))
    assert not records.budgets.settle(RUN, 0, Usage(attempts=1))
    assert records.budgets.reserved(RUN) == Usage(steps=500)
    assert records.budgets.charged(RUN) == Usage()
    assert records.budgets.settle(RUN, 0, Usage(steps=400), purpose="admit")
    assert records.budgets.charged(RUN) == Usage(steps=400)
    with pytest.raises(RecordsError, match="Nothing is reserved"):
        records.budgets.settle(RUN, 1, ten)


# --- schema ----------------------------------------------------------------------------------


def _schema(path: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {
            # Constraints come in any order; columns and all else are compared as they stand.
            name: sorted(part.rstrip(" )") for part in " ".join(sql.split()).split(", CONSTRAINT "))
            for name, sql in rows
            if not name.startswith(("alembic_", "sqlite_"))
        }


def test_migrations_give_the_schema_that_the_code_uses(records: Records, tmp_path: Path) -> None:
    direct = tmp_path / "direct.db"
    engine = create_engine(f"sqlite:///{direct}")
    METADATA.create_all(engine)
    engine.dispose()
    schema = _schema(records.workspace.database)
    assert schema == _schema(direct)
    assert set(METADATA.tables) <= set(schema)


def test_every_revision_is_known_and_follows_the_one_before() -> None:
    folder = Path(agentlab.records.migrations.__file__).parent / "versions"
    found: dict[str, str | None] = {}
    for script in folder.glob("r*.py"):
        names: dict[str, str | None] = {}
        for line in ast.parse(script.read_text()).body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                names[line.targets[0].id] = ast.literal_eval(line.value)
        revision = names["revision"]
        assert revision is not None
        found[revision] = names["down_revision"]
    assert found == dict(zip(REVISIONS, (None, *REVISIONS[:-1]), strict=True))


def test_opening_again_changes_nothing_and_loads_no_alembic(tmp_path: Path) -> None:
    opened(tmp_path).close()
    script = (
        "import sys; from agentlab.records import Records, Workspace\n"
        f"with Records.open(Workspace.open({str(tmp_path)!r})) as records:\n"
        "    print(records.runs.get('run-1').status, 'alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["running", "False"]


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    opened(tmp_path).close()
    path = tmp_path / "records.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerDatabaseError, match=r"'9999'.*upgrade agentlab"):
        Records.open(Workspace.open(tmp_path))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (HEAD,))
    with Records.open(Workspace.open(tmp_path)) as records:
        assert records.runs.get(RUN).seed == 3


def test_the_pragmas_are_set_on_every_connection(records: Records) -> None:
    with records.transaction() as part:
        part.items.save_skill(a_skill())
        # Open beside the first, so this is another connection.
        assert records.items.skills() == []
    database = records._database  # pyright: ignore[reportPrivateUsage] - no public way to ask
    for session in (database.read, database.write):
        with session() as connection:
            values = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        assert values == ["wal", 2, 1]


def test_a_second_opener_reads_while_the_first_writes(records: Records) -> None:
    spec = a_spec(0, a_task(1))
    with Records.open(records.workspace) as other:
        with records.transaction() as part:
            part.attempts.record(spec, an_outcome(spec))
            assert other.attempts.count(RUN) == 0
        assert other.attempts.count(RUN) == 1
        assert other.trajectories.outcome(spec.id) == an_outcome(spec)


def test_two_processes_may_create_the_records_at_once(tmp_path: Path) -> None:
    script = (
        "from agentlab.records import Records, Workspace\n"
        "input()\n"
        f"Records.open(Workspace.open({str(tmp_path)!r})).close()\n"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[1] for process in both] == ["", ""]
    with opened(tmp_path) as records:
        assert len(records.runs.all()) == 1
