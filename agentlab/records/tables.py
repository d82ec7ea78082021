"""The tables, as SQLAlchemy Core metadata: what is kept, under which keys, found by which index.

Every value that a query filters, sorts or sums is a column; the whole of it is JSON text
beside. Types are portable, so that PostgreSQL can follow without another schema. Nothing here
runs a query, and a change here needs a migration (a test compares the two).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

RUNS = Table(
    "runs",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("id", String(128), nullable=False, unique=True),
    Column("seed", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("updated_at", String(40), nullable=False),
    Column("scope", String(129), nullable=False, server_default=""),
    sqlite_autoincrement=True,
)

ROUNDS = Table(
    "rounds",
    METADATA,
    Column("run_id", String(128), ForeignKey("runs.id"), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("created_at", String(40), nullable=False),
)

NODES = Table(
    "nodes",
    METADATA,
    Column("run_id", String(128), ForeignKey("runs.id"), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("node", String(64), primary_key=True),
    Column("result", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
)
"""Which nodes of the graph have had their effect, and what they returned."""

DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("body", Text, nullable=False),
)
"""Tasks and skills as JSON under the SHA-256 of that text, each kept once."""

TASKS = Table(
    "tasks",
    METADATA,
    Column("run_id", String(128), ForeignKey("runs.id"), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("environment", String(128), nullable=False),
    Column("template", Text, nullable=False),
    Column("split", String(16), nullable=False),
    Column("source", String(64), nullable=False),
    Column("admitted", Boolean(create_constraint=False), nullable=False),
    Column("round", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("document", String(64), ForeignKey("documents.digest"), nullable=False),
    Index("ix_tasks_place", "run_id", "admitted", "round", "position"),
    Index("ix_tasks_id", "id"),
)
"""Tasks of a run. Only `admitted` ones passed the split rule, and only those can be learnt
from; the others were given for evaluation, or proposed and refused."""

PROPOSALS = Table(
    "proposals",
    METADATA,
    Column("run_id", String(128), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("task_id", String(64), nullable=False),
    Column("admitted", Boolean(create_constraint=False), nullable=False),
    Column("reason", Text, nullable=True),
    Column("reason_kind", String(128), nullable=True),
    Column("document", String(64), ForeignKey("documents.digest"), nullable=False),
    ForeignKeyConstraint(["run_id", "task_id"], ["tasks.run_id", "tasks.id"]),
    Index("ix_proposals_verdict", "run_id", "admitted", "reason_kind"),
)

ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("run_id", String(128), ForeignKey("runs.id"), nullable=False),
    Column("round", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("task_id", String(64), nullable=False),
    Column("group_id", String(64), nullable=False),
    Column("environment", String(128), nullable=False),
    Column("template", Text, nullable=False),
    Column("split", String(16), nullable=False),
    Column("offered", Integer, nullable=False),
    Column("withheld", Integer, nullable=False),
    Column("status", String(32), nullable=True),
    Column("success", Boolean(create_constraint=False), nullable=True),
    Column("error", Text, nullable=True),
    Column("tool_calls", Integer, nullable=True),
    Column("steps", Integer, nullable=True),
    Column("tokens", BigInteger, nullable=True),
    Column("usd", Float, nullable=True),
    Column("cpu_seconds", Float, nullable=True),
    Column("wall_seconds", Float, nullable=True),
    Column("first_tool_calls", Integer, nullable=True),
    Column("first_steps", Integer, nullable=True),
    Column("first_cpu_seconds", Float, nullable=True),
    Column("skills_used", Text, nullable=True),
    Column("recorded_at", String(40), nullable=True),
    Column("scope", String(129), nullable=False, server_default=""),
    ForeignKeyConstraint(["run_id", "task_id"], ["tasks.run_id", "tasks.id"]),
    Index("ix_attempts_place", "run_id", "round", "slot", "kind", unique=True),
    Index("ix_attempts_task", "run_id", "task_id"),
)
"""One narrow row each, so that counting 100,000 of them reads no trajectory. A row without
`status` is planned and not yet recorded. Of a scope like items: empty is everybody's."""

PLANS = Table(
    "plans",
    METADATA,
    Column("attempt_id", String(64), ForeignKey("attempts.id"), primary_key=True),
    Column("task", String(64), ForeignKey("documents.digest"), nullable=False),
    Column("skills", Text, nullable=False),
    Column("body", Text, nullable=False),
)
"""Attempt specs: the task and the skills by digest, the rest as JSON."""

OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("attempt_id", String(64), ForeignKey("attempts.id"), primary_key=True),
    Column("body", Text, nullable=False),
)
"""Attempt outcomes without score, steps and model calls, which have tables of their own."""

STEPS = Table(
    "steps",
    METADATA,
    Column("attempt_id", String(64), ForeignKey("attempts.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("tool", String(128), nullable=False),
    Column("steps", Integer, nullable=False),
    Column("refused", Boolean(create_constraint=False), nullable=False),
    Column("body", Text, nullable=False),
)

MODEL_CALLS = Table(
    "model_calls",
    METADATA,
    Column("attempt_id", String(64), ForeignKey("attempts.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("model", String(256), nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("usd", Float, nullable=False),
    Column("body", Text, nullable=False),
)

ROLE_CALLS = Table(
    "role_calls",
    METADATA,
    Column("run_id", String(128), ForeignKey("runs.id"), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("purpose", String(32), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("role", String(16), nullable=False),
    Column("model", String(256), nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("usd", Float, nullable=False),
    Column("body", Text, nullable=False),
)
"""Model calls outside attempts: those of proposers and curators."""

SCORES = Table(
    "scores",
    METADATA,
    Column("attempt_id", String(64), ForeignKey("attempts.id"), primary_key=True),
    Column("value", Float, nullable=True),
    Column("success", Boolean(create_constraint=False), nullable=True),
    Column("source", String(16), nullable=False),
    Column("confidence", Float, nullable=False),
    Column("body", Text, nullable=False),
)

FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("attempt_id", String(64), ForeignKey("attempts.id"), nullable=False, index=True),
    Column("success", Boolean(create_constraint=False), nullable=True),
    Column("comment", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    sqlite_autoincrement=True,
)
"""What people said of attempts afterwards; the newest of an attempt counts."""

REQUESTS = Table(
    "requests",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("attempt_id", String(64), ForeignKey("attempts.id"), nullable=False, unique=True),
    Column("environment", String(128), nullable=False),
    Column("scope", String(129), nullable=False, server_default=""),
    Column("session", String(64), nullable=False),
    Column("said", Text, nullable=False),
    Column("asked", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    Index("ix_requests_place", "environment", "scope", "session"),
    sqlite_autoincrement=True,
)
"""What a user said in a conversation, and what was attempted for it, in the order of asking."""

DRAWS = Table(
    "draws",
    METADATA,
    Column("attempt_id", String(64), ForeignKey("attempts.id"), primary_key=True),
    Column("item_id", String(64), primary_key=True),
    Column("item_name", String(256), nullable=False),
    Column("environment", String(128), nullable=False),
    Column("probability", Float, nullable=False),
    Column("withheld", Boolean(create_constraint=False), nullable=False),
    Index("ix_draws_name", "item_name", "environment"),
    Index("ix_draws_item", "item_id"),
    sqlite_with_rowid=False,
)
"""What was retrieved for an attempt, and the draw that offered or withheld it."""

ITEMS = Table(
    "items",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(256), nullable=False),
    Column("version", Integer, nullable=False),
    Column("environment", String(128), nullable=False),
    Column("toolset", String(64), nullable=False),
    Column("parent", String(64), nullable=True),
    Column("origin", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("run_id", String(128), ForeignKey("runs.id"), nullable=True),
    Column("round", Integer, nullable=True),
    Column("created_at", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("scope", String(129), nullable=False, server_default=""),
    Index("ix_items_served", "kind", "environment", "status"),
    Index("ix_items_name", "kind", "name"),
    sqlite_autoincrement=True,
)
"""Skills and insights, one row for each version; rows are never deleted."""

MOVES = Table(
    "moves",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("item_id", String(64), ForeignKey("items.id"), nullable=False, index=True),
    Column("before", String(16), nullable=True),
    Column("after", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("run_id", String(128), ForeignKey("runs.id"), nullable=True),
    Column("round", Integer, nullable=True),
    Column("created_at", String(40), nullable=False),
    Column("scope", String(129), nullable=False, server_default=""),
    sqlite_autoincrement=True,
)
"""The life of each item, status by status and scope by scope; the first has nothing before it."""

LINEAGE = Table(
    "lineage",
    METADATA,
    Column("item_id", String(64), ForeignKey("items.id"), primary_key=True),
    Column("relation", String(16), primary_key=True),
    Column("reference", String(256), primary_key=True),
    Index("ix_lineage_reference", "relation", "reference"),
)
"""Where an item comes from (`parent`, `task`, `attempt`) and what it `calls` by name."""

VECTORS = Table(
    "vectors",
    METADATA,
    Column("item_id", String(64), ForeignKey("items.id"), primary_key=True),
    Column("embedder", String(128), primary_key=True),
    Column("dimension", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
"""Little-endian float32, `dimension` of them."""

SEALS = Table(
    "seals",
    METADATA,
    Column("owner", String(16), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("digest", String(64), nullable=False),
)
"""What items and runs hashed to when they were written; see `seals`."""

LIBRARIES = Table(
    "libraries",
    METADATA,
    Column("environment", String(128), primary_key=True),
    Column("version", Integer, nullable=False),
)
"""A number for each environment that grows whenever what is served there changes."""

EVENTS = Table(
    "events",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("run_id", String(128), ForeignKey("runs.id"), nullable=False),
    Column("round", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("lifecycle", Boolean(create_constraint=False), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    Index(
        "ix_events_place",
        "run_id",
        "round",
        "slot",
        "sequence",
        unique=True,
        sqlite_where=text("lifecycle = 0"),
        postgresql_where=text("NOT lifecycle"),
    ),
    Index("ix_events_run", "run_id", "serial"),
    sqlite_autoincrement=True,
)
"""Content events have one place each. Lifecycle events tell of processes, of which a run may
have many, so they share places and never take one from a content event."""

BUDGETS = Table(
    "budgets",
    METADATA,
    Column("run_id", String(128), ForeignKey("runs.id"), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("purpose", String(64), primary_key=True),
    Column("reserved", Text, nullable=False),
    Column("settled", Text, nullable=True),
)

PACKS = Table(
    "packs",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("name", String(128), nullable=False, index=True),
    Column("version", String(32), nullable=False),
    Column("key", String(64), nullable=True),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("archive", String(64), nullable=False),
    Column("created_at", String(40), nullable=False),
    sqlite_autoincrement=True,
)
"""Packs that came in, by the digest of `pack.json`; `archive` is the blob of all its files."""

PACK_MOVES = Table(
    "pack_moves",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("pack", String(64), ForeignKey("packs.digest"), nullable=False, index=True),
    Column("before", String(16), nullable=True),
    Column("after", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    sqlite_autoincrement=True,
)
"""The life of each pack, state by state; the first row has nothing before it."""

PACK_SKILLS = Table(
    "pack_skills",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("pack", String(64), ForeignKey("packs.digest"), nullable=False),
    Column("manifest", String(64), nullable=False),
    Column("skill", String(165), nullable=False),
    Column("name", String(256), nullable=False),
    Column("environment", String(128), nullable=False),
    Column("version", String(32), nullable=False),
    Column("key", String(64), nullable=True),
    Column("needs", Text, nullable=False),
    Column("parents", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("approved", Boolean(create_constraint=False), nullable=False),
    Column("item_id", String(64), nullable=True),
    Column("checked", Text, nullable=False),
    Index("ix_pack_skills_place", "pack", "manifest", unique=True),
    Index("ix_pack_skills_skill", "skill"),
    Index("ix_pack_skills_manifest", "manifest"),
    Index("ix_pack_skills_item_id", "item_id"),
    sqlite_autoincrement=True,
)
"""The skills of the packs. One has an item from when its verification here passed."""

PACK_CHANGES = Table(
    "pack_changes",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("pack", String(64), ForeignKey("packs.digest"), nullable=False),
    Column("body", Text, nullable=False),
    Column("undone", Boolean(create_constraint=False), nullable=False),
    Column("created_at", String(40), nullable=False),
    sqlite_autoincrement=True,
)
"""What a merge or a revocation did to the library, so that it can be undone."""

TOMBSTONES = Table(
    "tombstones",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
)
"""Manifests of skills and packs that were revoked here and must not come back."""
