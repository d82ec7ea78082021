"""A run grown to any length: one round through the record store, copied under new ids.

The copies keep what the store holds to: every plan has its task, every document its digest, every
attempt its score, outcome, steps and draws, and every content event its place.
"""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from pathlib import Path

# As a round was made but for its ids, which get the round's number behind them.
COPY = (
    "CREATE TEMP TABLE copied AS SELECT d.digest AS was, sha256(replace(d.body, t.id,"
    " t.id || '-' || :r)) AS digest, replace(d.body, t.id, t.id || '-' || :r) AS body"
    " FROM documents d JOIN tasks t ON t.document = d.digest WHERE t.round = 0",
    "CREATE INDEX temp.copied_was ON copied (was)",
    "INSERT INTO documents SELECT digest, body FROM copied",
    "INSERT INTO tasks SELECT run_id, id || '-' || :r, environment, template, split, source,"
    " admitted, :r, position, c.digest FROM tasks JOIN copied c ON c.was = document"
    " WHERE round = 0",
    "INSERT INTO proposals SELECT run_id, :r, position, task_id || '-' || :r, admitted, reason,"
    " reason_kind, c.digest FROM proposals JOIN copied c ON c.was = document WHERE round = 0",
    "INSERT INTO attempts SELECT id || '-' || :r, run_id, :r, slot, kind, task_id || '-' || :r,"
    " group_id || '-' || :r, environment, template, split, offered, withheld, status, success,"
    " error, tool_calls, steps, tokens, usd, cpu_seconds, wall_seconds, first_tool_calls,"
    " first_steps, first_cpu_seconds, skills_used, recorded_at, scope FROM attempts"
    " WHERE round = 0",
    *(
        f"INSERT INTO {table} SELECT x.attempt_id || '-' || :r, {columns} FROM {table} x"
        " JOIN attempts a ON a.id = x.attempt_id WHERE a.round = 0"
        for table, columns in (
            (
                "plans",
                "(SELECT c.digest FROM copied c WHERE c.was = x.task), x.skills, x.body",
            ),
            ("outcomes", "replace(x.body, x.attempt_id, x.attempt_id || '-' || :r)"),
            ("scores", "x.value, x.success, x.source, x.confidence, x.body"),
            ("steps", "x.position, x.tool, x.steps, x.refused, x.body"),
            ("draws", "x.item_id, x.item_name, x.environment, x.probability, x.withheld"),
        )
    ),
    "INSERT INTO rounds SELECT run_id, :r, created_at FROM rounds WHERE round = 0",
    "INSERT INTO nodes SELECT run_id, :r, node, result, created_at FROM nodes WHERE round = 0",
    "INSERT INTO events (run_id, round, slot, sequence, lifecycle, kind, payload, created_at)"
    " SELECT run_id, :r, slot, sequence, lifecycle, kind, payload, created_at FROM events"
    " WHERE round = 0",
    "DROP TABLE copied",
)


def grow(database: Path, rounds: int) -> None:
    """Copy round 0 until there are so many."""
    with sqlite3.connect(database) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-500000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("sha256", 1, _digest)
        for round_ in range(1, rounds):
            for statement in COPY:
                connection.execute(statement, {"r": round_})
    connection.close()


def _digest(body: str) -> str:
    """The key of a document, as the records make it."""
    return sha256(body.encode()).hexdigest()
