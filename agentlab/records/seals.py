"""What a row hashed to when it was written, so that one edited by something else is not trusted.

A skill is code that will be run, its status and history decide whether it is, and a run's config
decides what is done in its name. All would be read back as they stand in the file, whoever
changed them there, so each has a seal in a table of its own. This notices a hand that edits, not
one that also computes new seals: who may write the file may do that.

An item's seal covers its whole row; that of its history is a chain over its moves, so that none
can be changed, left out or put in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Literal

from sqlalchemy import Connection, RowMapping, delete, select

from agentlab.records.database import add
from agentlab.records.tables import SEALS

Owner = Literal["item", "moves", "run"]
SealedRow = RowMapping | Mapping[str, object]
"""A row as it was read, or as it is about to be written."""

ITEM_COLUMNS: tuple[str, ...] = (
    *("kind", "name", "version", "environment", "toolset", "parent", "origin"),
    *("status", "reason", "run_id", "round", "created_at", "body"),
)
"""What is sealed of an item beside its id, and its scope; migration 0004 spells the same."""
MOVE_COLUMNS: tuple[str, ...] = (
    *("before", "after", "reason", "evidence"),
    *("run_id", "round", "created_at"),
)


def seal(owner: Owner, key: str, text: str) -> str:
    """64 hexadecimal digits over a row's kind, key and content."""
    return hashlib.sha256(f"{owner}\n{key}\n{text}".encode()).hexdigest()


def set_seal(connection: Connection, owner: Owner, key: str, text: str) -> None:
    """Seal a row in the transaction that writes it; an earlier seal of it is replaced."""
    connection.execute(delete(SEALS).where(SEALS.c.owner == owner, SEALS.c.key == key))
    add(connection, SEALS, [{"owner": owner, "key": key, "digest": seal(owner, key, text)}])


def is_sealed(owner: Owner, key: str, text: object, digest: str | None) -> bool:
    """Whether the text is the one that was sealed; not where there is no seal."""
    return isinstance(text, str) and digest == seal(owner, key, text)


def item_text(row: SealedRow) -> str:
    """What is sealed of a row of `items`."""
    return _spelt(row, ITEM_COLUMNS)


def chain(key: str, rows: Iterable[SealedRow]) -> str | None:
    """The digest that the moves of an item lead to, oldest first; None for none."""
    digest: str | None = None
    for row in rows:
        digest = seal("moves", key, _link(digest, row))
    return digest


def extend_chain(connection: Connection, key: str, row: SealedRow) -> None:
    """Seal one more move of an item; a chain that was broken stays broken."""
    known = select(SEALS.c.digest).where(SEALS.c.owner == "moves", SEALS.c.key == key)
    set_seal(connection, "moves", key, _link(connection.scalar(known), row))


def _link(before: str | None, row: SealedRow) -> str:
    return f"{before or ''}\n{_spelt(row, MOVE_COLUMNS)}"


def _spelt(row: SealedRow, columns: tuple[str, ...]) -> str:
    values = [row[name] for name in columns]
    # What is shared is sealed as it was before there were scopes.
    if row["scope"] != "":
        values.append(row["scope"])
    # A hand may have put bytes there, which JSON has no spelling for.
    return json.dumps(values, default=repr)
