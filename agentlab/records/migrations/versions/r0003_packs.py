"""Packs that came in from elsewhere, their skills and states, and what was revoked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "packs",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("archive", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_packs")),
        sa.UniqueConstraint("digest", name=op.f("uq_packs_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_packs_name"), "packs", ["name"])
    op.create_table(
        "pack_moves",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("pack", sa.String(length=64), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=True),
        sa.Column("after", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["pack"], ["packs.digest"], name=op.f("fk_pack_moves_pack")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_pack_moves")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_pack_moves_pack"), "pack_moves", ["pack"])
    op.create_table(
        "pack_skills",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("pack", sa.String(length=64), nullable=False),
        sa.Column("manifest", sa.String(length=64), nullable=False),
        sa.Column("skill", sa.String(length=165), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("environment", sa.String(length=128), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=True),
        sa.Column("needs", sa.Text(), nullable=False),
        sa.Column("parents", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("approved", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("item_id", sa.String(length=64), nullable=True),
        sa.Column("checked", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["pack"], ["packs.digest"], name=op.f("fk_pack_skills_pack")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_pack_skills")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_pack_skills_place", "pack_skills", ["pack", "manifest"], unique=True)
    op.create_index("ix_pack_skills_skill", "pack_skills", ["skill"])
    op.create_index("ix_pack_skills_manifest", "pack_skills", ["manifest"])
    op.create_index("ix_pack_skills_item_id", "pack_skills", ["item_id"])
    op.create_table(
        "pack_changes",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("pack", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("undone", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["pack"], ["packs.digest"], name=op.f("fk_pack_changes_pack")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_pack_changes")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tombstones",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tombstones")),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("tombstones", "pack_changes", "pack_skills", "pack_moves", "packs"):
        op.drop_table(table)
