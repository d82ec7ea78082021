"""Everything: the first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "documents",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_documents")),
    )
    op.create_table(
        "libraries",
        sa.Column("environment", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("environment", name=op.f("pk_libraries")),
    )
    op.create_table(
        "runs",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.Column("updated_at", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_runs_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "budgets",
        sa.Column("run_id", sa.String(length=128), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("reserved", sa.Text(), nullable=False),
        sa.Column("settled", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_budgets_run_id")),
        sa.PrimaryKeyConstraint("run_id", "round", "purpose", name=op.f("pk_budgets")),
    )
    op.create_table(
        "events",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=128), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("lifecycle", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_events_run_id")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_events_place",
        "events",
        ["run_id", "round", "slot", "sequence"],
        unique=True,
        sqlite_where=sa.text("lifecycle = 0"),
        postgresql_where=sa.text("NOT lifecycle"),
    )
    op.create_index("ix_events_run", "events", ["run_id", "serial"], unique=False)
    op.create_table(
        "items",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("environment", sa.String(length=128), nullable=False),
        sa.Column("toolset", sa.String(length=64), nullable=False),
        sa.Column("parent", sa.String(length=64), nullable=True),
        sa.Column("origin", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=128), nullable=True),
        sa.Column("round", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_items_run_id")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_items")),
        sa.UniqueConstraint("id", name=op.f("uq_items_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_items_name", "items", ["kind", "name"], unique=False)
    op.create_index("ix_items_served", "items", ["kind", "environment", "status"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("run_id", sa.String(length=128), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_nodes_run_id")),
        sa.PrimaryKeyConstraint("run_id", "round", "node", name=op.f("pk_nodes")),
    )
    op.create_table(
        "rounds",
        sa.Column("run_id", sa.String(length=128), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_rounds_run_id")),
        sa.PrimaryKeyConstraint("run_id", "round", name=op.f("pk_rounds")),
    )
    op.create_table(
        "tasks",
        sa.Column("run_id", sa.String(length=128), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.String(length=128), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("admitted", sa.Boolean(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["document"], ["documents.digest"], name=op.f("fk_tasks_document")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_tasks_run_id")),
        sa.PrimaryKeyConstraint("run_id", "id", name=op.f("pk_tasks")),
    )
    op.create_index("ix_tasks_id", "tasks", ["id"], unique=False)
    op.create_index(
        "ix_tasks_place", "tasks", ["run_id", "admitted", "round", "position"], unique=False
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=128), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("task_id", sa.String(length=64), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.String(length=128), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("offered", sa.Integer(), nullable=False),
        sa.Column("withheld", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("tool_calls", sa.Integer(), nullable=True),
        sa.Column("steps", sa.Integer(), nullable=True),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        sa.Column("usd", sa.Float(), nullable=True),
        sa.Column("cpu_seconds", sa.Float(), nullable=True),
        sa.Column("wall_seconds", sa.Float(), nullable=True),
        sa.Column("first_tool_calls", sa.Integer(), nullable=True),
        sa.Column("first_steps", sa.Integer(), nullable=True),
        sa.Column("first_cpu_seconds", sa.Float(), nullable=True),
        sa.Column("skills_used", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "task_id"],
            ["tasks.run_id", "tasks.id"],
            name=op.f("fk_attempts_run_id_task_id"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_attempts_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index(
        "ix_attempts_place", "attempts", ["run_id", "round", "slot", "kind"], unique=True
    )
    op.create_index("ix_attempts_task", "attempts", ["run_id", "task_id"], unique=False)
    op.create_table(
        "lineage",
        sa.Column("item_id", sa.String(length=64), nullable=False),
        sa.Column("relation", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_lineage_item_id")),
        sa.PrimaryKeyConstraint("item_id", "relation", "reference", name=op.f("pk_lineage")),
    )
    op.create_index("ix_lineage_reference", "lineage", ["relation", "reference"], unique=False)
    op.create_table(
        "moves",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.String(length=64), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=True),
        sa.Column("after", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=128), nullable=True),
        sa.Column("round", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_moves_item_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_moves_run_id")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_moves")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_moves_item_id"), "moves", ["item_id"], unique=False)
    op.create_table(
        "proposals",
        sa.Column("run_id", sa.String(length=128), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("task_id", sa.String(length=64), nullable=False),
        sa.Column("admitted", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reason_kind", sa.String(length=128), nullable=True),
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["document"], ["documents.digest"], name=op.f("fk_proposals_document")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "task_id"],
            ["tasks.run_id", "tasks.id"],
            name=op.f("fk_proposals_run_id_task_id"),
        ),
        sa.PrimaryKeyConstraint("run_id", "round", "position", name=op.f("pk_proposals")),
    )
    op.create_index(
        "ix_proposals_verdict", "proposals", ["run_id", "admitted", "reason_kind"], unique=False
    )
    op.create_table(
        "vectors",
        sa.Column("item_id", sa.String(length=64), nullable=False),
        sa.Column("embedder", sa.String(length=128), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_vectors_item_id")),
        sa.PrimaryKeyConstraint("item_id", "embedder", name=op.f("pk_vectors")),
    )
    op.create_table(
        "draws",
        sa.Column("attempt_id", sa.String(length=64), nullable=False),
        sa.Column("item_id", sa.String(length=64), nullable=False),
        sa.Column("item_name", sa.String(length=256), nullable=False),
        sa.Column("environment", sa.String(length=128), nullable=False),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.Column("withheld", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_draws_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", "item_id", name=op.f("pk_draws")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_draws_item", "draws", ["item_id"], unique=False)
    op.create_index("ix_draws_name", "draws", ["item_name", "environment"], unique=False)
    op.create_table(
        "model_calls",
        sa.Column("attempt_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("usd", sa.Float(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_model_calls_attempt_id")
        ),
        sa.PrimaryKeyConstraint("attempt_id", "position", name=op.f("pk_model_calls")),
    )
    op.create_table(
        "outcomes",
        sa.Column("attempt_id", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_outcomes_attempt_id")
        ),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_outcomes")),
    )
    op.create_table(
        "plans",
        sa.Column("attempt_id", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("skills", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_plans_attempt_id")),
        sa.ForeignKeyConstraint(["task"], ["documents.digest"], name=op.f("fk_plans_task")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_plans")),
    )
    op.create_table(
        "scores",
        sa.Column("attempt_id", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_scores_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_scores")),
    )
    op.create_table(
        "steps",
        sa.Column("attempt_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tool", sa.String(length=128), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_steps_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", "position", name=op.f("pk_steps")),
    )


def downgrade() -> None:
    """Drop every table."""
    op.drop_table("steps")
    op.drop_table("scores")
    op.drop_table("plans")
    op.drop_table("outcomes")
    op.drop_table("model_calls")
    op.drop_index("ix_draws_name", table_name="draws")
    op.drop_index("ix_draws_item", table_name="draws")
    op.drop_table("draws")
    op.drop_table("vectors")
    op.drop_index("ix_proposals_verdict", table_name="proposals")
    op.drop_table("proposals")
    op.drop_index(op.f("ix_moves_item_id"), table_name="moves")
    op.drop_table("moves")
    op.drop_index("ix_lineage_reference", table_name="lineage")
    op.drop_table("lineage")
    op.drop_index("ix_attempts_task", table_name="attempts")
    op.drop_index("ix_attempts_place", table_name="attempts")
    op.drop_table("attempts")
    op.drop_index("ix_tasks_place", table_name="tasks")
    op.drop_index("ix_tasks_id", table_name="tasks")
    op.drop_table("tasks")
    op.drop_table("rounds")
    op.drop_table("nodes")
    op.drop_index("ix_items_served", table_name="items")
    op.drop_index("ix_items_name", table_name="items")
    op.drop_table("items")
    op.drop_index("ix_events_run", table_name="events")
    op.drop_index(
        "ix_events_place",
        table_name="events",
        sqlite_where=sa.text("lifecycle = 0"),
        postgresql_where=sa.text("NOT lifecycle"),
    )
    op.drop_table("events")
    op.drop_table("budgets")
    op.drop_table("runs")
    op.drop_table("libraries")
    op.drop_table("documents")
