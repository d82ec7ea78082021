"""Seals over the whole row of an item, its status included, and over its moves.

An item that does not fit its old seal, or whose last move led elsewhere than where it stands,
was changed by something else before, and is not sealed anew. Everything else is taken as it is.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ITEM_COLUMNS = (
    "kind",
    "name",
    "version",
    "environment",
    "toolset",
    "parent",
    "origin",
    "status",
    "reason",
    "run_id",
    "round",
    "created_at",
    "body",
)
MOVE_COLUMNS = ("before", "after", "reason", "evidence", "run_id", "round", "created_at")


def upgrade() -> None:
    """Seal what is there."""
    bind = op.get_bind()
    query = sa.text("SELECT digest FROM seals WHERE owner = 'item' AND key = :key")
    kept = sa.text("SELECT * FROM moves WHERE item_id = :key ORDER BY serial")
    for (key,) in bind.execute(sa.text("SELECT id FROM items ORDER BY serial")).all():
        find = sa.text("SELECT * FROM items WHERE id = :key")
        item: Any = bind.execute(find, {"key": key}).mappings().one()
        moves: list[Any] = list(bind.execute(kept, {"key": key}).mappings())
        if not moves:
            moves = [_begin(bind, item)]
        digest = ""
        for move in moves:
            digest = _digest("moves", key, f"{digest}\n{_spelt(move, MOVE_COLUMNS)}")
        bind.execute(
            sa.text("INSERT INTO seals (owner, key, digest) VALUES ('moves', :key, :digest)"),
            {"key": key, "digest": digest},
        )
        was = bind.scalar(query, {"key": key})
        if was == _digest("item", key, str(item["body"])) and moves[-1]["after"] == item["status"]:
            bind.execute(
                sa.text("UPDATE seals SET digest = :digest WHERE owner = 'item' AND key = :key"),
                {"key": key, "digest": _digest("item", key, _spelt(item, ITEM_COLUMNS))},
            )


def downgrade() -> None:
    """Seal the bodies alone again, of what is as it was sealed."""
    bind = op.get_bind()
    bind.execute(sa.text("DELETE FROM seals WHERE owner = 'moves'"))
    query = sa.text("SELECT digest FROM seals WHERE owner = 'item' AND key = :key")
    for item in bind.execute(sa.text("SELECT * FROM items")).mappings().all():
        key = item["id"]
        if bind.scalar(query, {"key": key}) == _digest("item", key, _spelt(item, ITEM_COLUMNS)):
            bind.execute(
                sa.text("UPDATE seals SET digest = :digest WHERE owner = 'item' AND key = :key"),
                {"key": key, "digest": _digest("item", key, item["body"])},
            )


def _begin(bind: sa.Connection, item: Any) -> dict[str, object]:
    """A first move for an item that has none."""
    move: dict[str, object] = {
        "before": None,
        "after": item["status"],
        "reason": item["reason"],
        "evidence": "{}",
        "run_id": item["run_id"],
        "round": item["round"],
        "created_at": item["created_at"],
    }
    bind.execute(
        sa.text(
            "INSERT INTO moves (item_id, before, after, reason, evidence, run_id, round,"
            " created_at) VALUES (:item_id, :before, :after, :reason, :evidence, :run_id, :round,"
            " :created_at)"
        ),
        {"item_id": item["id"], **move},
    )
    return move


def _digest(owner: str, key: str, text: str) -> str:
    return hashlib.sha256(f"{owner}\n{key}\n{text}".encode()).hexdigest()


def _spelt(row: Any, columns: tuple[str, ...]) -> str:
    return json.dumps([row[name] for name in columns], default=repr)
