"""The vectors of skills and insights: the only copy from which an index is rebuilt.

Each remembers the embedder that made it; vectors of two embedders never meet in one matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import delete, select

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.protocols import Vectors
from agentlab.records.database import Session, add
from agentlab.records.items import SERVED, ItemKind, bump
from agentlab.records.tables import ITEMS, VECTORS
from agentlab.types import Status

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
            if connection.scalar(select(VECTORS.c.data).where(*here)) == data:
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
    ) -> VectorTable:
        """The vectors of an environment's items of one kind, in those statuses."""
        query = (
            select(VECTORS.c.item_id, VECTORS.c.data)
            .join(ITEMS, ITEMS.c.id == VECTORS.c.item_id)
            .where(
                ITEMS.c.kind == kind,
                ITEMS.c.environment == environment,
                ITEMS.c.status.in_(statuses),
                VECTORS.c.embedder == embedder,
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
        return VectorTable([row.item_id for row in rows], matrix)

    def missing(self, *, environment: str, kind: ItemKind, embedder: str) -> list[str]:
        """Ids of items, retired ones apart, that this embedder has made no vector of."""
        made = select(VECTORS.c.item_id).where(VECTORS.c.embedder == embedder)
        query = (
            select(ITEMS.c.id)
            .where(
                ITEMS.c.kind == kind,
                ITEMS.c.environment == environment,
                ITEMS.c.status != "retired",
                ITEMS.c.id.not_in(made),
            )
            .order_by(ITEMS.c.id)
        )
        with self._session.read() as connection:
            return list(connection.scalars(query))
