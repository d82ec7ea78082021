"""Skills and insights: their versions, where they come from, and every status they had.

One status, one row of history, one transaction. Nothing is deleted: what goes away is retired,
with the reason, and can come back. Whenever what is served in an environment changes, its
library version grows in the same transaction, by which a stale index is noticed.

An item whose text is not the one that was kept (see `seals`) is given out by nothing here: what
would be run or obeyed is refused by its name until it is retired, and what is retired already
is left out of lists.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

from sqlalchemy import Connection, RowMapping, Select, select, update

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.records.database import Joined, Session, add, now
from agentlab.records.encoding import (
    PUT_BACK,
    decode,
    decode_object,
    encode,
    encode_object,
    plain,
    unreadable,
)
from agentlab.records.seals import is_sealed, set_seal
from agentlab.records.tables import ITEMS, LIBRARIES, LINEAGE, MOVES, SEALS
from agentlab.types import Insight, JsonObject, Skill, Status

ItemKind = Literal["skill", "insight"]
SERVED: Status = "active"

NEXT: dict[Status, frozenset[Status]] = {
    "candidate": frozenset({"quarantined", "retired"}),
    "quarantined": frozenset({"verified", "retired"}),
    "verified": frozenset({"active", "quarantined", "retired"}),
    "active": frozenset({"verified", "quarantined", "retired"}),
    "retired": frozenset({"quarantined", "verified", "active"}),
}
"""Gates cannot be skipped on the way up. Out of retirement an item goes no higher than it was."""

_STATUSES: tuple[Status, ...] = get_args(Status)
_RANK: tuple[Status, ...] = ("candidate", "quarantined", "verified", "active")

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


class Move(NamedTuple):
    """One change of status."""

    item_id: str
    before: Status | None
    after: Status
    reason: str
    evidence: JsonObject
    run_id: str | None
    round: int | None
    created_at: str


class Items:
    """The library's content."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def save_skill(
        self,
        skill: Skill,
        *,
        status: Status = "candidate",
        reason: str = "",
        run_id: str | None = None,
        round_: int | None = None,
    ) -> bool:
        """Keep a version of a skill; False when it was kept already, and it stays as it is."""
        lineage = [("task", task) for task in skill.source_tasks]
        lineage += [("attempt", attempt) for attempt in skill.source_attempts]
        lineage += [("calls", name) for name in skill.skills]
        about: dict[str, object] = {
            "kind": "skill",
            "name": skill.name,
            "toolset": skill.toolset,
            "origin": skill.origin,
        }
        return self._save(skill, about, lineage, _first(skill, status, reason, run_id, round_))

    def save_insight(
        self,
        insight: Insight,
        *,
        status: Status = "candidate",
        reason: str = "",
        run_id: str | None = None,
        round_: int | None = None,
    ) -> bool:
        """Keep a version of an insight; False when it was kept already."""
        lineage = [("task", task) for task in insight.source_tasks]
        about: dict[str, object] = {
            "kind": "insight",
            "name": insight.id,
            "toolset": "",
            "origin": insight.trust,
        }
        return self._save(insight, about, lineage, _first(insight, status, reason, run_id, round_))

    def move(
        self,
        item_id: str,
        status: Status,
        *,
        reason: str,
        evidence: JsonObject | None = None,
        run_id: str | None = None,
        round_: int | None = None,
    ) -> bool:
        """Give an item another status; False when it has it already.

        Raises:
            UnknownNameError: there is no item of that id.
            RecordsError: a gate would be skipped, or the item was changed by something other
                than agentlab, which can only be retired.
        """
        with self._session.write() as connection:
            query = select(ITEMS.c.status, ITEMS.c.environment).where(ITEMS.c.id == item_id)
            row = connection.execute(query).one_or_none()
            if row is None:
                raise UnknownNameError("item", item_id, connection.scalars(select(ITEMS.c.id)))
            before = _status(item_id, row.status)
            if before == status:
                return False
            self._check(connection, item_id, before, status)
            if status != "retired":
                _readable(connection, item_id)
            connection.execute(
                update(ITEMS)
                .where(ITEMS.c.id == item_id)
                .values(status=status, reason=plain(reason))
            )
            move = Move(item_id, before, status, reason, evidence or {}, run_id, round_, now())
            _keep_move(connection, move)
            if SERVED in (before, status):
                bump(connection, row.environment)
            return True

    def remove_skill(self, name: str, *, environment: str | None = None, reason: str) -> list[str]:
        """Retire every version of a skill by its name; their ids, empty if all were retired.

        Raises:
            UnknownNameError: there is no skill of that name; suggests near ones.
        """
        query = select(ITEMS.c.id, ITEMS.c.status).where(
            ITEMS.c.kind == "skill", ITEMS.c.name == name
        )
        if environment is not None:
            query = query.where(ITEMS.c.environment == environment)
        with self._session.write() as connection:
            rows = connection.execute(query.order_by(ITEMS.c.serial)).all()
            if not rows:
                names = select(ITEMS.c.name).where(ITEMS.c.kind == "skill").distinct()
                raise UnknownNameError("skill", name, connection.scalars(names))
            joined = Items(Joined(connection))
            return [row.id for row in rows if joined.move(row.id, "retired", reason=reason)]

    def skills(
        self,
        *,
        environment: str | None = None,
        toolset: str | None = None,
        status: Status | Sequence[Status] | None = None,
        name: str | None = None,
    ) -> list[ItemRow[Skill]]:
        """Skills in the order in which they were kept.

        Raises:
            RecordsError: one that is not retired was changed by something other than agentlab.
        """
        query = _filtered("skill", environment, status)
        if toolset is not None:
            query = query.where(ITEMS.c.toolset == toolset)
        if name is not None:
            query = query.where(ITEMS.c.name == name)
        with self._session.read() as connection:
            return _item_rows(connection, query, Skill)

    def insights(
        self,
        *,
        environment: str | None = None,
        status: Status | Sequence[Status] | None = None,
    ) -> list[ItemRow[Insight]]:
        """Insights in the order in which they were kept.

        Raises:
            RecordsError: one that is not retired was changed by something other than agentlab.
        """
        with self._session.read() as connection:
            return _item_rows(connection, _filtered("insight", environment, status), Insight)

    def skill(self, item_id: str) -> ItemRow[Skill]:
        """One version of a skill by id.

        Raises:
            UnknownNameError: there is none.
            RecordsError: it was changed by something other than agentlab.
        """
        query = _sealed().where(ITEMS.c.kind == "skill", ITEMS.c.id == item_id)
        with self._session.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise UnknownNameError("skill", item_id, ())
        return _item_row(row, Skill)

    def environments(self, name: str | None = None) -> list[str]:
        """Where there are skills, or skills of a name; reads no skill."""
        query = select(ITEMS.c.environment).where(ITEMS.c.kind == "skill").distinct()
        if name is not None:
            query = query.where(ITEMS.c.name == name)
        with self._session.read() as connection:
            return list(connection.scalars(query.order_by(ITEMS.c.environment)))

    def history(self, item_id: str) -> list[Move]:
        """Every status an item had, oldest first."""
        with self._session.read() as connection:
            return _history(connection, item_id)

    def descendants(self, relation: str, reference: str) -> list[str]:
        """Ids of items with that lineage, e.g. `("task", id)`: those derived from the task."""
        query = (
            select(LINEAGE.c.item_id)
            .where(LINEAGE.c.relation == relation, LINEAGE.c.reference == reference)
            .order_by(LINEAGE.c.item_id)
        )
        with self._session.read() as connection:
            return list(connection.scalars(query))

    def library_version(self, environment: str) -> int:
        """Grows whenever what is served there changes; 0 before anything ever was."""
        query = select(LIBRARIES.c.version).where(LIBRARIES.c.environment == environment)
        with self._session.read() as connection:
            return connection.scalar(query) or 0

    def _save(
        self,
        item: Skill | Insight,
        about: dict[str, object],
        lineage: list[tuple[str, str]],
        first: Move,
    ) -> bool:
        with self._session.write() as connection:
            if connection.scalar(select(ITEMS.c.serial).where(ITEMS.c.id == item.id)) is not None:
                return False
            body = encode(item)
            row = about | {
                "id": item.id,
                "version": item.version,
                "environment": item.environment,
                "parent": item.parent,
                "status": first.after,
                "reason": plain(first.reason),
                "run_id": first.run_id,
                "round": first.round,
                "created_at": first.created_at,
                "body": body,
            }
            add(connection, ITEMS, [row])
            set_seal(connection, "item", item.id, body)
            if item.parent is not None:
                lineage = [*lineage, ("parent", item.parent)]
            links = [
                {"item_id": item.id, "relation": relation, "reference": plain(reference)}
                for relation, reference in lineage
            ]
            add(connection, LINEAGE, links)
            _keep_move(connection, first)
            if first.after == SERVED:
                bump(connection, item.environment)
            return True

    def _check(self, connection: Connection, item_id: str, before: Status, after: Status) -> None:
        allowed = NEXT[before]
        if before == "retired":
            had = [move.after for move in _history(connection, item_id) if move.after in _RANK]
            highest = max((_RANK.index(status) for status in had), default=0)
            allowed = frozenset(_RANK[: highest + 1]) & allowed
        if after not in allowed:
            raise RecordsError(
                f"The item {item_id!r} cannot go from {before} to {after}; from there it may "
                f"become {' or '.join(sorted(allowed)) or 'nothing else'}."
            )


def bump(connection: Connection, environment: str) -> None:
    """Let the library version of an environment grow; for writers of what is served."""
    add(connection, LIBRARIES, [{"environment": environment, "version": 0}])
    connection.execute(
        update(LIBRARIES)
        .where(LIBRARIES.c.environment == environment)
        .values(version=LIBRARIES.c.version + 1)
    )


def _filtered(
    kind: ItemKind, environment: str | None, status: Status | Sequence[Status] | None
) -> Select[*tuple[Any, ...]]:
    query = _sealed().where(ITEMS.c.kind == kind).order_by(ITEMS.c.serial)
    if environment is not None:
        query = query.where(ITEMS.c.environment == environment)
    if status is not None:
        query = query.where(ITEMS.c.status.in_([status] if isinstance(status, str) else status))
    return query


def _item_rows(
    connection: Connection, query: Select[*tuple[Any, ...]], cls: type[Item]
) -> list[ItemRow[Item]]:
    rows: list[ItemRow[Item]] = []
    for row in connection.execute(query).mappings():
        try:
            rows.append(_item_row(row, cls))
        except RecordsError:
            # Nothing that is retired is run; whoever removed it is to see the others again.
            if row["status"] != "retired":
                raise
    return rows


def _sealed() -> Select[*tuple[Any, ...]]:
    on = (SEALS.c.owner == "item") & (SEALS.c.key == ITEMS.c.id)
    return select(ITEMS, SEALS.c.digest.label("sealed")).outerjoin(SEALS, on)


def _item_row(row: RowMapping, cls: type[Item]) -> ItemRow[Item]:
    key: str = row["id"]
    fix = PUT_BACK
    if row["kind"] == "skill":
        which = shlex.join([row["name"], "--environment", row["environment"]])
        fix = f"take it out of service with `agentlab skills remove {which}`, or {fix}"
    if not is_sealed("item", key, row["body"], row["sealed"]):
        why = "it was changed by something other than agentlab"
        raise unreadable("items", key, why, fix=fix)
    item = decode(cls, row["body"], table="items", key=key, fix=fix)
    if (item.id, item.environment, item.version) != (key, row["environment"], row["version"]):
        raise unreadable("items", key, "its columns belong to another item", fix=fix)
    return ItemRow(
        item=item,
        status=_status(key, row["status"]),
        reason=row["reason"],
        run_id=row["run_id"],
        round=row["round"],
        created_at=row["created_at"],
    )


def _readable(connection: Connection, item_id: str) -> None:
    row = connection.execute(_sealed().where(ITEMS.c.id == item_id)).mappings().one()
    if row["kind"] == "skill":
        _item_row(row, Skill)
    else:
        _item_row(row, Insight)


def _status(key: str, status: str) -> Status:
    for known in _STATUSES:
        if status == known:
            return known
    raise unreadable("items", key, f"{status!r} is no status of an item")


def _first(
    item: Skill | Insight, status: Status, reason: str, run_id: str | None, round_: int | None
) -> Move:
    return Move(item.id, None, status, reason, {}, run_id, round_, now())


def _keep_move(connection: Connection, move: Move) -> None:
    row = move._asdict() | {
        "reason": plain(move.reason),
        "evidence": encode_object(move.evidence),
    }
    add(connection, MOVES, [row])


def _history(connection: Connection, item_id: str) -> list[Move]:
    query = select(MOVES).where(MOVES.c.item_id == item_id).order_by(MOVES.c.serial)
    return [
        Move(
            item_id=item_id,
            before=row.before,
            after=row.after,
            reason=row.reason,
            evidence=decode_object(row.evidence, table="moves", key=row.serial),
            run_id=row.run_id,
            round=row.round,
            created_at=row.created_at,
        )
        for row in connection.execute(query)
    ]
