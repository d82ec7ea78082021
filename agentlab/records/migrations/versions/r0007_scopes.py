"""Whose items, attempts and runs are, what people said of attempts, and what they asked for.

What is there becomes everybody's, as it was; the seals over it stay as they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = ("runs", "attempts", "items", "moves")


def upgrade() -> None:
    """Add the columns and the tables."""
    for table in TABLES:
        op.add_column(table, _scope())
    op.create_table(
        "feedback",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.String(length=64), nullable=False),
        sa.Column("success", sa.Boolean(create_constraint=False), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_feedback_attempt_id")
        ),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_feedback")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_feedback_attempt_id"), "feedback", ["attempt_id"])
    op.create_table(
        "requests",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.String(length=128), nullable=False),
        _scope(),
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_requests_attempt_id")
        ),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_requests")),
        sa.UniqueConstraint("attempt_id", name=op.f("uq_requests_attempt_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_requests_place", "requests", ["environment", "scope", "session"])


def downgrade() -> None:
    """Drop them, unless something is a tenant's: without its scope it would be everybody's."""
    bind = op.get_bind()
    for table in TABLES:
        if bind.scalar(sa.text(f"SELECT count(*) FROM {table} WHERE scope != ''")):
            raise RuntimeError(f"A row of {table} is a tenant's and would become everybody's.")
    for table in ("requests", "feedback"):
        op.drop_table(table)
    for table in TABLES:
        op.drop_column(table, "scope")


def _scope() -> sa.Column[str]:
    return sa.Column("scope", sa.String(length=129), server_default="", nullable=False)
