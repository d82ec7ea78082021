"""Draws of attribution: which item an attempt was offered or not, by chance, and what came of it.

An effect is measured over draws alone. Whatever was tried on a held-out task is left out here,
since draws decide what is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, func, select

from agentlab.records.database import Session
from agentlab.records.documents import batches
from agentlab.records.tables import ATTEMPTS, DRAWS, LINEAGE
from agentlab.types import SHARED, AttemptKind, Scope

LEAST_CHANCE = 1e-6
"""A draw of less could have gone one way only; `statistics.has_chance` says the same."""


class DrawRow(NamedTuple):
    """One draw of attribution and what came of the attempt."""

    attempt_id: str
    run_id: str
    round: int
    slot: int
    kind: AttemptKind
    task_id: str
    template: str
    split: str
    item_id: str
    item_name: str
    probability: float
    """Probability of being withheld."""
    withheld: bool
    success: bool | None
    steps: int
    tool_calls: int
    tokens: int


class KnownDraws(NamedTuple):
    """An item's draws that could have gone either way and whose outcome is known."""

    known: int
    """How many there are."""
    first: list[DrawRow]
    """The oldest of them."""


class Draws:
    """Recorded draws."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def all(
        self,
        *,
        name: str | None = None,
        item_id: str | None = None,
        environment: str | None = None,
        run_id: str | None = None,
        scope: Scope = SHARED,
    ) -> list[DrawRow]:
        """Draws of attempts that completed, by run and place.

        Infrastructure failures and attempts under way are left out, and so is whatever was
        tried on a held-out task: draws decide what is served. `kind` and `split` tell
        practice, production and shadow attempts apart.
        """
        query = (
            select(*_DRAW_COLUMNS)
            .join(ATTEMPTS, ATTEMPTS.c.id == DRAWS.c.attempt_id)
            .where(
                ATTEMPTS.c.status == "completed",
                ATTEMPTS.c.split != "heldout",
                ATTEMPTS.c.scope.in_(scope.readable),
            )
            .order_by(ATTEMPTS.c.run_id, ATTEMPTS.c.round, ATTEMPTS.c.slot, DRAWS.c.item_id)
        )
        if name is not None:
            query = query.where(DRAWS.c.item_name == name)
        if item_id is not None:
            query = query.where(DRAWS.c.item_id == item_id)
        if environment is not None:
            query = query.where(DRAWS.c.environment == environment)
        if run_id is not None:
            query = query.where(ATTEMPTS.c.run_id == run_id)
        with self._session.read() as connection:
            return [DrawRow._make(row) for row in connection.execute(query)]

    def items(self, environment: str) -> set[str]:
        """Ids of the items that were drawn there at all, in whatever scope; reads an index."""
        query = select(DRAWS.c.item_id).where(DRAWS.c.environment == environment).distinct()
        with self._session.read() as connection:
            return set(connection.scalars(query))

    def known(
        self, item_ids: Sequence[str], *, environment: str, first: int, scope: Scope = SHARED
    ) -> dict[str, KnownDraws]:
        """What the probability of withholding follows from, by item; those without are left out.

        Of practice and production, as `draws` orders them, without attempts at the tasks that
        an item was derived from. The database counts them, so that a long history costs no
        more to read than a short one.

        Args:
            item_ids: the items in question.
            environment: where the draws were made.
            first: how many of the oldest to read of each.
            scope: in which they are read; what was drawn in others says nothing here.
        """
        found: dict[str, KnownDraws] = {}
        values = {"environment": environment, "first": first, "scopes": scope.readable}
        with self._session.read() as connection:
            for part in batches(sorted(set(item_ids))):
                for row in connection.execute(_known(), {**values, "items": part}):
                    draw = DrawRow._make(tuple(row)[: len(DrawRow._fields)])
                    entry = found.setdefault(draw.item_id, KnownDraws(row.known, []))
                    entry.first.append(draw)
        return found


_DRAW_COLUMNS = [
    DRAWS.c[name] if name in DRAWS.c else ATTEMPTS.c["id" if name == "attempt_id" else name]
    for name in DrawRow._fields
]


@cache
def _known() -> Select[Any]:
    """The query of `Draws.known`; built once, since building it takes longer than running it."""
    derived = select(LINEAGE.c.item_id).where(
        LINEAGE.c.item_id == DRAWS.c.item_id,
        LINEAGE.c.relation == "task",
        LINEAGE.c.reference == ATTEMPTS.c.task_id,
    )
    # Keys alone are ranked: whole rows would be sorted with them.
    ranked = (
        select(
            DRAWS.c.item_id,
            DRAWS.c.attempt_id,
            func.row_number()
            .over(
                partition_by=DRAWS.c.item_id,
                order_by=(ATTEMPTS.c.run_id, ATTEMPTS.c.round, ATTEMPTS.c.slot),
            )
            .label("place"),
        )
        .join(ATTEMPTS, ATTEMPTS.c.id == DRAWS.c.attempt_id)
        .where(
            DRAWS.c.item_id.in_(bindparam("items", expanding=True)),
            DRAWS.c.environment == bindparam("environment"),
            DRAWS.c.probability.between(LEAST_CHANCE, 1 - LEAST_CHANCE),
            ATTEMPTS.c.kind.in_(("practice", "production")),
            ATTEMPTS.c.status == "completed",
            ATTEMPTS.c.split != "heldout",
            ATTEMPTS.c.scope.in_(bindparam("scopes", expanding=True)),
            ATTEMPTS.c.success.is_not(None),
            ~derived.exists(),
        )
        .cte("ranked")
    )
    totals = (
        select(ranked.c.item_id, func.max(ranked.c.place).label("known"))
        .group_by(ranked.c.item_id)
        .subquery()
    )
    return (
        select(*_DRAW_COLUMNS, totals.c.known)
        .join_from(ranked, totals, totals.c.item_id == ranked.c.item_id)
        .join(ATTEMPTS, ATTEMPTS.c.id == ranked.c.attempt_id)
        .join(
            DRAWS,
            (DRAWS.c.attempt_id == ranked.c.attempt_id) & (DRAWS.c.item_id == ranked.c.item_id),
        )
        .where(ranked.c.place <= bindparam("first"))
        .order_by(ranked.c.item_id, ranked.c.place)
    )
