"""The vectors of skills and insights: the only copy from which an index is rebuilt.

Each remembers the embedder that made it; vectors of two embedders never meet in one matrix.
One that is no row of finite numbers of the length that it says counts as missing, for it can be
made again from the item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, delete, func, select, type_coerce
from sqlalchemy.types import NullType

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.protocols import Vectors
from agentlab.records.database import Session, add
from agentlab.records.item_rows import ItemKind
from agentlab.records.items import SERVED, bump
from agentlab.records.tables import ITEMS, VECTORS
from agentlab.types import SHARED, Scope, Status

_STORED = np.dtype("<f4")


class VectorTable(NamedTuple):
    """Items and their vectors."""

    ids: list[str]
    """Sorted."""
    matrix: Vectors
    """One row each, shape `(len(ids), dimension)`, float32; `(0, 0)` when there are none."""


class VectorStore:
    """Vectors by item and embedder."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._proven: set[tuple[str, ItemKind, str, str]] = set()
        """Where every vector of an embedder was read once and found finite. What is written
        later is checked on writing; what is damaged later is found on the next opening."""

    def save(self, item_id: str, embedder: str, vector: Vectors) -> bool:
        """Keep an item's vector, shape `(dimension,)`; False when it is there already.

        Raises:
            UnknownNameError: there is no item of that id.
            RecordsError: the vector is not a row of finite numbers.
        """
        if vector.ndim != 1 or not bool(np.isfinite(vector).all()):
            raise RecordsError(
                f"The vector of {item_id!r} has shape {vector.shape} or is not finite; the "
                f"embedder {embedder!r} must give one row of finite numbers."
            )
        data = vector.astype(_STORED).tobytes()
        here = (VECTORS.c.item_id == item_id, VECTORS.c.embedder == embedder)
        with self._session.write() as connection:
            query = select(ITEMS.c.environment, ITEMS.c.status).where(ITEMS.c.id == item_id)
            item = connection.execute(query).one_or_none()
            if item is None:
                raise UnknownNameError("item", item_id, connection.scalars(select(ITEMS.c.id)))
            if connection.scalar(select(VECTORS.c.data).where(*here, _whole())) == data:
                return False
            connection.execute(delete(VECTORS).where(*here))
            row = {
                "item_id": item_id,
                "embedder": embedder,
                "dimension": vector.shape[0],
                "data": data,
            }
            add(connection, VECTORS, [row])
            if item.status == SERVED:
                bump(connection, item.environment)
            return True

    def all(
        self,
        *,
        environment: str,
        kind: ItemKind,
        embedder: str,
        statuses: Sequence[Status] = (SERVED,),
        scope: Scope = SHARED,
    ) -> VectorTable:
        """The vectors of an environment's items of one kind, in those statuses, read in a scope.

        Unsound ones are left out; see `missing`.

        Raises:
            RecordsError: they are of several lengths.
        """
        query = (
            select(VECTORS.c.item_id, VECTORS.c.data)
            .join(ITEMS, ITEMS.c.id == VECTORS.c.item_id)
            .where(
                ITEMS.c.kind == kind,
                ITEMS.c.environment == environment,
                ITEMS.c.status.in_(statuses),
                ITEMS.c.scope.in_(scope.readable),
                VECTORS.c.embedder == embedder,
                _whole(),
            )
            .order_by(VECTORS.c.item_id)
        )
        with self._session.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return VectorTable([], np.zeros((0, 0), dtype=np.float32))
        lengths = {len(row.data) for row in rows}
        if len(lengths) > 1:
            raise RecordsError(
                f"The embedder {embedder!r} has left vectors of {len(lengths)} lengths in "
                f"{environment!r}; embed them again with `agentlab library reindex`."
            )
        flat = np.frombuffer(b"".join(row.data for row in rows), dtype=_STORED)
        matrix = flat.reshape(len(rows), -1).astype(np.float32)
        sound = np.flatnonzero(np.isfinite(matrix).all(axis=1))
        if len(sound) < len(rows):
            matrix = matrix[sound]
        return VectorTable([rows[int(place)].item_id for place in sound], matrix)

    def missing(
        self, *, environment: str, kind: ItemKind, embedder: str, scope: Scope = SHARED
    ) -> list[str]:
        """Ids of items, retired ones apart, that this embedder has made no sound vector of.

        Of those alone that the scope may read: text of a tenant's goes to no embedder that
        somebody else named.

        Where its vectors are of several lengths none of them is sound, since none says which
        length is right.
        """
        here = (
            ITEMS.c.kind == kind,
            ITEMS.c.environment == environment,
            ITEMS.c.status != "retired",
            ITEMS.c.scope.in_(scope.readable),
        )
        wanted = select(ITEMS.c.id).where(*here).order_by(ITEMS.c.id)
        made = select(VECTORS.c.item_id).where(VECTORS.c.embedder == embedder, _whole())
        lengths = (
            select(VECTORS.c.dimension)
            .join(ITEMS, ITEMS.c.id == VECTORS.c.item_id)
            .where(*here, VECTORS.c.embedder == embedder, _whole())
            .distinct()
        )
        place = (environment, kind, embedder, scope.path)
        with self._session.read() as connection:
            if len(connection.execute(lengths).all()) > 1:
                return list(connection.scalars(wanted))
            missing = list(connection.scalars(wanted.where(ITEMS.c.id.not_in(made))))
            if place in self._proven:
                return missing
            # As it is stored: the driver must not choke on what is no sequence of bytes.
            stored = type_coerce(VECTORS.c.data, NullType()).label("data")
            rows = connection.execute(
                select(VECTORS.c.item_id, stored)
                .join(ITEMS, ITEMS.c.id == VECTORS.c.item_id)
                .where(*here, VECTORS.c.embedder == embedder)
            )
            unsound = [row.item_id for row in rows if not _is_finite(row.data)]
        if not unsound:
            self._proven.add(place)
        return sorted({*missing, *unsound})


def _whole() -> ColumnElement[bool]:
    """Whether a stored vector is as long as it says; asked without reading it."""
    return (VECTORS.c.dimension > 0) & (
        func.length(VECTORS.c.data) == _STORED.itemsize * VECTORS.c.dimension
    )


def _is_finite(data: object) -> bool:
    if not isinstance(data, bytes) or len(data) % _STORED.itemsize:
        return False
    return bool(np.isfinite(np.frombuffer(data, dtype=_STORED)).all())
