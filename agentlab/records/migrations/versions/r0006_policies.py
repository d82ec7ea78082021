"""Served policies, and the gates that decide about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "policies",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("base_model", sa.String(length=256), nullable=False),
        sa.Column("base_path", sa.Text(), nullable=False),
        sa.Column("base_sha256", sa.String(length=64), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_policies")),
    )
    op.create_table(
        "policy_versions",
        sa.Column("adapter", sa.String(length=128), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy"], ["policies.name"], name=op.f("fk_policy_versions_policy")
        ),
        sa.PrimaryKeyConstraint("adapter", name=op.f("pk_policy_versions")),
    )
    op.create_index(op.f("ix_policy_versions_policy"), "policy_versions", ["policy"])
    op.create_table(
        "policy_moves",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("before", sa.String(length=128), nullable=False),
        sa.Column("after", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["policy"], ["policies.name"], name=op.f("fk_policy_moves_policy")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_policy_moves")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_policy_moves_policy"), "policy_moves", ["policy"])
    op.create_table(
        "gates",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.String(length=128), nullable=False),
        sa.Column("candidate", sa.String(length=128), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("incumbent", sa.String(length=128), nullable=False),
        sa.Column("incumbent_sha256", sa.String(length=64), nullable=False),
        sa.Column("order_sha256", sa.String(length=64), nullable=False),
        sa.Column("alpha", sa.Float(), nullable=False),
        sa.Column("carried_wins", sa.BigInteger(), nullable=False),
        sa.Column("carried_losses", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("afterwards", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.Column("updated_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_gates_run_id")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_gates")),
        sa.UniqueConstraint("id", name=op.f("uq_gates_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_gates_weights", "gates", ["weights_sha256"])
    op.create_table(
        "looks",
        sa.Column("gate", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("task_id", sa.String(length=64), nullable=False),
        sa.Column("control", sa.Boolean(create_constraint=False), nullable=True),
        sa.Column("candidate", sa.Boolean(create_constraint=False), nullable=True),
        sa.Column("wins", sa.BigInteger(), nullable=False),
        sa.Column("losses", sa.BigInteger(), nullable=False),
        sa.Column("promote", sa.Float(), nullable=False),
        sa.Column("reject", sa.Float(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["gate"], ["gates.id"], name=op.f("fk_looks_gate")),
        sa.PrimaryKeyConstraint("gate", "position", name=op.f("pk_looks")),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("looks", "gates", "policy_moves", "policy_versions", "policies"):
        op.drop_table(table)
