"""The life of an item: every status that it had, why, and which may follow which.

A status is one only if the moves lead to it, gate by gate, and nothing but agentlab wrote them
(see `seals`). Who moves an item, and what is served of it, is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, select

from agentlab.records.database import add
from agentlab.records.documents import batches
from agentlab.records.encoding import decode_object, encode_object, plain, unreadable
from agentlab.records.seals import chain, extend_chain
from agentlab.records.tables import MOVES, SEALS
from agentlab.types import JsonObject, Status

NEXT: dict[Status, frozenset[Status]] = {
    "candidate": frozenset({"quarantined", "retired"}),
    "quarantined": frozenset({"verified", "retired"}),
    "verified": frozenset({"active", "quarantined", "retired"}),
    "active": frozenset({"verified", "quarantined", "retired"}),
    "retired": frozenset({"quarantined", "verified", "active"}),
}
"""Gates cannot be skipped on the way up. Out of retirement an item goes no higher than it was."""

_RANK: tuple[Status, ...] = ("candidate", "quarantined", "verified", "active")
CHANGED = "changed by something other than agentlab"


class Move(NamedTuple):
    """One change of status or scope, or a verdict by which an item stays in quarantine."""

    item_id: str
    before: Status | None
    after: Status
    reason: str
    evidence: JsonObject
    run_id: str | None
    round: int | None
    created_at: str
    scope: str = ""
    """Whose the item was from then on."""


class Life(NamedTuple):
    """The moves of an item as they stand in the records, and the seal over them."""

    item_id: str
    rows: Sequence[RowMapping]
    """Oldest first."""
    sealed: str | None

    @property
    def whole(self) -> bool:
        """Whether the moves are those that were kept, each of them and no other."""
        return bool(self.rows) and chain(self.item_id, self.rows) == self.sealed

    def fault(self, status: object, reason: object, scope: object) -> str | None:
        """Why an item that says so of itself is not to be trusted; None if it may be."""
        if not self.whole:
            return f"its moves were {CHANGED}"
        if (self.rows[0]["before"], self.rows[-1]["after"]) != (None, status):
            last = self.rows[-1]["after"]
            return f"it is {status!r} where its last move says {last!r}, and so was {CHANGED}"
        if self.rows[-1]["reason"] != reason:
            return f"its reason is not that of its last move, and so was {CHANGED}"
        if self.rows[-1]["scope"] != scope:
            return f"its scope is not that of its last move, and so was {CHANGED}"
        been = [row["after"] for row in self.rows]
        for number, (earlier, later) in enumerate(pairwise(self.rows), start=1):
            if later["before"] == earlier["after"] == later["after"]:
                # Only its scope changed then, or it was judged again and stayed where it was.
                if later["scope"] != earlier["scope"] or later["after"] == "quarantined":
                    continue
            if later["before"] != earlier["after"] or later["after"] not in allowed(been[:number]):
                return f"it went from {earlier['after']!r} to {later['after']!r}, past a gate"
        return None


def allowed(been: Sequence[Status]) -> frozenset[Status]:
    """What an item may become that has been all this, oldest first."""
    after = NEXT[been[-1]]
    if been[-1] != "retired":
        return after
    highest = max((_RANK.index(status) for status in been if status in _RANK), default=0)
    return frozenset(_RANK[: highest + 1]) & after


def lives(connection: Connection, items: Iterable[str]) -> dict[str, Life]:
    """The moves of each of the items."""
    keys = list(items)
    rows: dict[str, list[RowMapping]] = {key: [] for key in keys}
    seals: dict[str, str] = {}
    for part in batches(keys):
        query = select(MOVES).where(MOVES.c.item_id.in_(part)).order_by(MOVES.c.serial)
        for row in connection.execute(query).mappings():
            rows[row["item_id"]].append(row)
        digests = select(SEALS.c.key, SEALS.c.digest)
        of_moves = digests.where(SEALS.c.owner == "moves", SEALS.c.key.in_(part))
        seals.update((row.key, row.digest) for row in connection.execute(of_moves))
    return {key: Life(key, rows[key], seals.get(key)) for key in keys}


def history(connection: Connection, item_id: str) -> list[Move]:
    """Every status that an item had, oldest first; none where there is no such item.

    Raises:
        RecordsError: the moves are not those that were kept; they may hold what admission
            trusts, so they are never given out.
    """
    life = lives(connection, [item_id])[item_id]
    if (life.rows or life.sealed) and not life.whole:
        raise unreadable("moves", item_id, f"the item's moves were {CHANGED}")
    return [
        Move(
            item_id=item_id,
            before=row["before"],
            after=row["after"],
            reason=row["reason"],
            evidence=decode_object(row["evidence"], table="moves", key=row["serial"]),
            run_id=row["run_id"],
            round=row["round"],
            created_at=row["created_at"],
            scope=row["scope"],
        )
        for row in life.rows
    ]


def keep_move(connection: Connection, move: Move) -> None:
    """Write a move down, sealed."""
    row = move._asdict() | {
        "reason": plain(move.reason),
        "evidence": encode_object(move.evidence),
    }
    add(connection, MOVES, [row])
    extend_chain(connection, move.item_id, row)
