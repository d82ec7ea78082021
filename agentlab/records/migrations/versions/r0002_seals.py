"""Seals of items and runs, an index for counting uses, and whose database this is.

What stands there on upgrading is taken as it is: nothing older says otherwise.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPLICATION_ID = 0x61676C62


def upgrade() -> None:
    """Create the table and seal what is there."""
    seals = op.create_table(
        "seals",
        sa.Column("owner", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_seals")),
    )
    bind = op.get_bind()
    found = [
        ("item", row.id, row.body) for row in bind.execute(sa.text("SELECT id, body FROM items"))
    ]
    found += [
        ("run", row.id, f"{row.seed}\n{row.config}")
        for row in bind.execute(sa.text("SELECT id, seed, config FROM runs"))
    ]
    rows = [
        {
            "owner": owner,
            "key": key,
            "digest": hashlib.sha256(f"{owner}\n{key}\n{text}".encode()).hexdigest(),
        }
        for owner, key, text in found
    ]
    if rows:
        op.bulk_insert(seals, rows)
    if bind.dialect.name == "sqlite":
        op.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def downgrade() -> None:
    """Drop it."""
    op.drop_table("seals")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA application_id = 0")
