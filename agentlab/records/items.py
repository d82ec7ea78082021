"""Skills and insights: their versions, where they come from, and every status they had.

One status, one row of history, one transaction. Nothing is deleted: what goes away is retired,
with the reason, and can come back. Whenever what is served in an environment changes, its
library version grows in the same transaction, by which a stale index is noticed. What is given
out of an item, and what is refused, is told by `item_rows`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select, update

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.records.database import Joined, Session, add, now
from agentlab.records.encoding import encode, plain
from agentlab.records.item_rows import (
    ItemRow,
    columns_of,
    filtered,
    is_whole,
    item_row,
    item_rows,
    refuse_unreadable,
    status_of,
    unretired_lives,
    with_seals,
)
from agentlab.records.moves import NEXT, Move, allowed, history, keep_move
from agentlab.records.seals import item_text, set_seal
from agentlab.records.tables import ITEMS, LIBRARIES, LINEAGE
from agentlab.types import SHARED, Insight, JsonObject, Outcomes, Scope, Skill, Status

SERVED: Status = "active"
VOUCHED: frozenset[Status] = frozenset({"verified", "active"})
"""What alone may go from one scope to another."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


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
        scope: Scope = SHARED,
    ) -> bool:
        """Keep a version of a skill; False when it was kept already, and it stays as it is.

        Raises:
            RecordsError: its name, or that of a parameter, is no plain identifier, or its id is
                that of an item of another scope.
        """
        for name in (skill.name, *(parameter.name for parameter in skill.parameters)):
            _check_name(skill, name)
        lineage = [("task", task) for task in skill.source_tasks]
        lineage += [("attempt", attempt) for attempt in skill.source_attempts]
        lineage += [("calls", name) for name in skill.skills]
        return self._save(skill, lineage, _first(skill, status, reason, run_id, round_, scope))

    def save_insight(
        self,
        insight: Insight,
        *,
        status: Status = "candidate",
        reason: str = "",
        run_id: str | None = None,
        round_: int | None = None,
        scope: Scope = SHARED,
    ) -> bool:
        """Keep a version of an insight; False when it was kept already.

        Raises:
            RecordsError: its id is that of an item of another scope.
        """
        lineage = [("task", task) for task in insight.source_tasks]
        return self._save(insight, lineage, _first(insight, status, reason, run_id, round_, scope))

    def move(
        self,
        item_id: str,
        status: Status,
        *,
        reason: str,
        evidence: JsonObject | None = None,
        run_id: str | None = None,
        round_: int | None = None,
        scope: Scope | None = None,
        again: bool = False,
    ) -> bool:
        """Give an item another status, or with `scope` to somebody else; False if it is so already.

        With `again`, what stays in quarantine keeps a further verdict; one of a run and round once.

        Raises:
            UnknownNameError: there is no item of that id.
            RecordsError: a gate would be skipped, an item that is not verified would go to
                another scope, or the item was changed by something other than agentlab, which
                can only be retired.
        """
        with self._session.write() as connection:
            row = connection.execute(with_seals().where(ITEMS.c.id == item_id)).mappings().first()
            if row is None:
                raise UnknownNameError("item", item_id, connection.scalars(select(ITEMS.c.id)))
            before = status_of(item_id, row["status"])
            whose = row["scope"] if scope is None else scope.path
            if before == status and whose == row["scope"]:
                last = (
                    history(connection, item_id)[-1] if again and status == "quarantined" else None
                )
                said = (plain(reason), run_id, round_)
                if last is None or (last.reason, last.run_id, last.round) == said:
                    return False
            if before != status:
                self._check(connection, item_id, before, status)
            if whose != row["scope"] and status not in VOUCHED:
                raise RecordsError(
                    f"The item {item_id!r} is {status}; only what is verified may go to another "
                    "scope, so let admission judge it first."
                )
            if status != "retired":
                refuse_unreadable(connection, row)
            values = {"status": status, "reason": plain(reason), "scope": whose}
            connection.execute(update(ITEMS).where(ITEMS.c.id == item_id).values(values))
            # What was changed by a hand keeps the seal that it does not fit. What is sealed here
            # is what was read and what was asked for, and nothing that a trigger put there.
            if is_whole(row):
                set_seal(connection, "item", item_id, item_text({**row, **values}))
            move = Move(
                item_id, before, status, reason, evidence or {}, run_id, round_, now(), whose
            )
            keep_move(connection, move)
            if SERVED in (before, status):
                bump(connection, row["environment"])
            return True

    def remove_skill(
        self, name: str, *, environment: str | None = None, reason: str, scope: Scope = SHARED
    ) -> list[str]:
        """Retire every version of a scope's skill by its name; the ids of those that were not.

        Raises:
            UnknownNameError: there is no skill of that name; suggests near ones.
        """
        query = select(ITEMS.c.id, ITEMS.c.status).where(
            ITEMS.c.kind == "skill", ITEMS.c.name == name, ITEMS.c.scope == scope.path
        )
        if environment is not None:
            query = query.where(ITEMS.c.environment == environment)
        with self._session.write() as connection:
            rows = connection.execute(query.order_by(ITEMS.c.serial)).all()
            if not rows:
                names = select(ITEMS.c.name).where(
                    ITEMS.c.kind == "skill", ITEMS.c.scope == scope.path
                )
                raise UnknownNameError("skill", name, set(connection.scalars(names)))
            joined = Items(Joined(connection))
            return [row.id for row in rows if joined.move(row.id, "retired", reason=reason)]

    def skills(
        self,
        *,
        environment: str | None = None,
        toolset: str | None = None,
        status: Status | Sequence[Status] | None = None,
        name: str | None = None,
        scope: Scope | None = SHARED,
    ) -> list[ItemRow[Skill]]:
        """Skills that a scope may read in the order in which they were kept; None reads all.

        Raises:
            RecordsError: one that is not retired was changed by something other than agentlab.
        """
        query = filtered("skill", environment, status, scope)
        if toolset is not None:
            query = query.where(ITEMS.c.toolset == toolset)
        if name is not None:
            query = query.where(ITEMS.c.name == name)
        with self._session.read() as connection:
            return item_rows(connection, query, Skill)

    def insights(
        self,
        *,
        environment: str | None = None,
        status: Status | Sequence[Status] | None = None,
        scope: Scope | None = SHARED,
    ) -> list[ItemRow[Insight]]:
        """Insights that a scope may read in the order in which they were kept; None reads all.

        Raises:
            RecordsError: one that is not retired was changed by something other than agentlab.
        """
        with self._session.read() as connection:
            return item_rows(connection, filtered("insight", environment, status, scope), Insight)

    def skill(self, item_id: str) -> ItemRow[Skill]:
        """One version of a skill by id.

        Raises:
            UnknownNameError: there is none.
            RecordsError: it was changed by something other than agentlab.
        """
        query = with_seals().where(ITEMS.c.kind == "skill", ITEMS.c.id == item_id)
        with self._session.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                raise UnknownNameError("skill", item_id, ())
            return item_row(row, Skill, unretired_lives(connection, [row]))

    def insight(self, item_id: str) -> ItemRow[Insight]:
        """One version of an insight by id.

        Raises:
            UnknownNameError: there is none.
            RecordsError: it was changed by something other than agentlab.
        """
        query = with_seals().where(ITEMS.c.kind == "insight", ITEMS.c.id == item_id)
        with self._session.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                raise UnknownNameError("insight", item_id, ())
            return item_row(row, Insight, unretired_lives(connection, [row]))

    def note_outcomes(self, item_id: str, outcomes: Outcomes) -> bool:
        """Keep what an insight did at which tasks; False when that is on record already.

        Its words stay, so it is no new version and starts nothing over.

        Raises:
            UnknownNameError: there is no insight of that id.
            RecordsError: it was changed by something other than agentlab.
        """
        with self._session.write() as connection:
            query = with_seals().where(ITEMS.c.kind == "insight", ITEMS.c.id == item_id)
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                raise UnknownNameError("insight", item_id, ())
            found = item_row(row, Insight, unretired_lives(connection, [row])).item
            if found.outcomes == outcomes:
                return False
            body = encode(found.model_copy(update={"outcomes": outcomes}))
            connection.execute(update(ITEMS).where(ITEMS.c.id == item_id).values(body=body))
            set_seal(connection, "item", item_id, item_text({**row, "body": body}))
            if row["status"] == SERVED:
                bump(connection, row["environment"])
            return True

    def environments(self, name: str | None = None, *, scope: Scope | None = SHARED) -> list[str]:
        """Where there are skills that a scope may read, or skills of a name; reads no skill."""
        query = select(ITEMS.c.environment).where(ITEMS.c.kind == "skill").distinct()
        if scope is not None:
            query = query.where(ITEMS.c.scope.in_(scope.readable))
        if name is not None:
            query = query.where(ITEMS.c.name == name)
        with self._session.read() as connection:
            return list(connection.scalars(query.order_by(ITEMS.c.environment)))

    def history(self, item_id: str) -> list[Move]:
        """Every status an item had, oldest first.

        Raises:
            RecordsError: something other than agentlab changed them.
        """
        with self._session.read() as connection:
            return history(connection, item_id)

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
        with self._session.read() as connection:
            return connection.scalar(_VERSION, {"environment": environment}) or 0

    def _save(
        self,
        item: Skill | Insight,
        lineage: list[tuple[str, str]],
        first: Move,
    ) -> bool:
        with self._session.write() as connection:
            whose = connection.scalar(select(ITEMS.c.scope).where(ITEMS.c.id == item.id))
            if whose is not None and whose != first.scope:
                raise RecordsError(
                    f"The id {item.id!r} is taken in another scope; make the item's id for its "
                    "own scope with `scoped_id`."
                )
            if whose is not None:
                return False
            row = columns_of(item) | {
                "status": first.after,
                "reason": plain(first.reason),
                "run_id": first.run_id,
                "round": first.round,
                "created_at": first.created_at,
                "body": encode(item),
                "scope": first.scope,
            }
            add(connection, ITEMS, [row])
            set_seal(connection, "item", item.id, item_text(row))
            if item.parent is not None:
                lineage = [*lineage, ("parent", item.parent)]
            links = [
                {"item_id": item.id, "relation": relation, "reference": plain(reference)}
                for relation, reference in lineage
            ]
            add(connection, LINEAGE, links)
            keep_move(connection, first)
            if first.after == SERVED:
                bump(connection, item.environment)
            return True

    def _check(self, connection: Connection, item_id: str, before: Status, after: Status) -> None:
        may = NEXT[before]
        if before == "retired":
            may = allowed([move.after for move in history(connection, item_id)] or [before])
        if after not in may:
            raise RecordsError(
                f"The item {item_id!r} cannot go from {before} to {after}; from there it may "
                f"become {' or '.join(sorted(may)) or 'nothing else'}."
            )


# Asked before every attempt, and building a statement takes longer than running it.
_VERSION = select(LIBRARIES.c.version).where(LIBRARIES.c.environment == bindparam("environment"))


def bump(connection: Connection, environment: str) -> None:
    """Let the library version of an environment grow; for writers of what is served."""
    add(connection, LIBRARIES, [{"environment": environment, "version": 0}])
    connection.execute(
        update(LIBRARIES)
        .where(LIBRARIES.c.environment == environment)
        .values(version=LIBRARIES.c.version + 1)
    )


def _check_name(skill: Skill, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise RecordsError(
            f"The skill {skill.name!r} cannot be kept, for {name!r} is no plain identifier; name "
            "skills and parameters with up to 64 ASCII letters, digits and underscores, and no "
            "digit first."
        )


def _first(
    item: Skill | Insight,
    status: Status,
    reason: str,
    run_id: str | None,
    round_: int | None,
    scope: Scope,
) -> Move:
    return Move(item.id, None, status, reason, {}, run_id, round_, now(), scope.path)
