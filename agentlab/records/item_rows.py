"""A version of an item as it lies in the records, and whether it is what was kept there.

An item that is not as it was kept (see `seals`), or whose status is not what its moves led to,
is given out by nothing here: what would be run or obeyed is refused by its name until it is
retired, and what is retired already is left out of lists. Nothing here writes.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

from sqlalchemy import Connection, RowMapping, Select, select

from agentlab.errors import RecordsError
from agentlab.records.encoding import PUT_BACK, decode, unreadable
from agentlab.records.moves import CHANGED, Life, lives
from agentlab.records.seals import is_sealed, item_text
from agentlab.records.tables import ITEMS, SEALS
from agentlab.types import Insight, Scope, Skill, Status

ItemKind = Literal["skill", "insight"]
_STATUSES: tuple[Status, ...] = get_args(Status)

Item = TypeVar("Item", Skill, Insight)


class ItemRow(NamedTuple, Generic[Item]):
    """One version of an item as it stands."""

    item: Item
    status: Status
    reason: str
    """Why it has that status."""
    run_id: str | None
    """The run that made it."""
    round: int | None
    created_at: str
    scope: str = ""
    """Path of the scope whose it is."""


def filtered(
    kind: ItemKind,
    environment: str | None,
    status: Status | Sequence[Status] | None,
    scope: Scope | None,
) -> Select[*tuple[Any, ...]]:
    """The rows that are asked for and that a scope may read, in the order they were kept."""
    query = with_seals().where(ITEMS.c.kind == kind).order_by(ITEMS.c.serial)
    if environment is not None:
        query = query.where(ITEMS.c.environment == environment)
    if status is not None:
        query = query.where(ITEMS.c.status.in_([status] if isinstance(status, str) else status))
    if scope is not None:
        query = query.where(ITEMS.c.scope.in_(scope.readable))
    return query


def item_rows(
    connection: Connection, query: Select[*tuple[Any, ...]], cls: type[Item]
) -> list[ItemRow[Item]]:
    """What a query of `filtered` or `with_seals` finds.

    Raises:
        RecordsError: one that is not retired was changed by something other than agentlab.
    """
    found = connection.execute(query).mappings().all()
    known = unretired_lives(connection, found)
    rows: list[ItemRow[Item]] = []
    for row in found:
        try:
            rows.append(item_row(row, cls, known))
        except RecordsError:
            # Nothing that is retired is run; whoever removed it is to see the others again.
            if row["status"] != "retired":
                raise
    return rows


def unretired_lives(connection: Connection, rows: Sequence[RowMapping]) -> dict[str, Life]:
    """The moves of those that are not retired: no status is lower, so it needs no proof."""
    return lives(connection, [row["id"] for row in rows if row["status"] != "retired"])


def with_seals() -> Select[*tuple[Any, ...]]:
    """Every row with its seal, by which `item_row` proves it."""
    on = (SEALS.c.owner == "item") & (SEALS.c.key == ITEMS.c.id)
    return select(ITEMS, SEALS.c.digest.label("sealed")).outerjoin(SEALS, on)


def item_row(row: RowMapping, cls: type[Item], known: Mapping[str, Life]) -> ItemRow[Item]:
    """The item of a row with its seal.

    Raises:
        RecordsError: it was changed by something other than agentlab; `known` has the moves of
            those items whose status must be proved, too.
    """
    key: str = row["id"]
    fix = PUT_BACK
    if row["kind"] == "skill":
        which = shlex.join([str(row["name"]), "--environment", str(row["environment"])])
        fix = f"take it out of service with `agentlab skills remove {which}`, or {fix}"
    status = status_of(key, row["status"])
    life = known.get(key)
    why = None if life is None else life.fault(status, row["reason"], row["scope"])
    if why is None and not is_whole(row):
        why = f"it was {CHANGED}"
    if why is not None:
        raise unreadable("items", key, why, fix=fix)
    item = decode(cls, row["body"], table="items", key=key, fix=fix)
    about = columns_of(item)
    if any(row[name] != value for name, value in about.items()):
        raise unreadable("items", key, "its columns belong to another item", fix=fix)
    return ItemRow(
        item=item,
        status=status,
        reason=row["reason"],
        run_id=row["run_id"],
        round=row["round"],
        created_at=row["created_at"],
        scope=row["scope"],
    )


def columns_of(item: Skill | Insight) -> dict[str, object]:
    """The columns that say again what the body says, for queries."""
    about: dict[str, object] = {
        "id": item.id,
        "version": item.version,
        "environment": item.environment,
        "parent": item.parent,
    }
    if isinstance(item, Skill):
        particular = {"name": item.name, "toolset": item.toolset, "origin": item.origin}
        return about | {"kind": "skill"} | particular
    return about | {"kind": "insight", "name": item.id, "toolset": "", "origin": item.trust}


def is_whole(row: RowMapping) -> bool:
    """Whether the row is the one that was kept."""
    return is_sealed("item", row["id"], item_text(row), row["sealed"])


def refuse_unreadable(connection: Connection, row: RowMapping) -> None:
    """Return, unless the item of a row with its seal is not to be trusted.

    Raises:
        RecordsError: it was changed by something other than agentlab.
    """
    known = lives(connection, [row["id"]])
    if row["kind"] == "skill":
        item_row(row, Skill, known)
    else:
        item_row(row, Insight, known)


def status_of(key: str, status: str) -> Status:
    """The status that a row says.

    Raises:
        RecordsError: it is none.
    """
    for known in _STATUSES:
        if status == known:
            return known
    raise unreadable("items", key, f"{status!r} is no status of an item")
