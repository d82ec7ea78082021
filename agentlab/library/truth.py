"""The truth behind an index: vectors of the active items of one kind, from the records."""

from __future__ import annotations

from agentlab.library.served import Stored
from agentlab.protocols import Embedder
from agentlab.records import ItemKind, Records
from agentlab.types import SHARED, Scope


class ActiveItems:
    """Implements `served.Truth`.

    Args:
        records: where the items are.
        environment: whose.
        kind: skills or insights; each kind has an index of its own.
        embedder: makes the vectors that are missing.
        scope: whose items, with those of the scopes around it.
    """

    def __init__(
        self,
        records: Records,
        environment: str,
        kind: ItemKind,
        embedder: Embedder,
        scope: Scope = SHARED,
    ) -> None:
        self._records = records
        self._environment = environment
        self._kind: ItemKind = kind
        self._embedder = embedder
        self._scope = scope

    def read(self) -> Stored:
        """What may be served now; vectors that are missing are made first."""
        self.complete()
        table = self._records.vectors.all(
            environment=self._environment,
            kind=self._kind,
            embedder=self._embedder.name,
            scope=self._scope,
        )
        shape = (len(table.ids), self._embedder.dimension)
        return Stored(table.ids, table.matrix.reshape(shape))

    def complete(self) -> int:
        """Embed the items that have no vector by this embedder; how many there were."""
        missing = self._records.vectors.missing(
            environment=self._environment,
            kind=self._kind,
            embedder=self._embedder.name,
            scope=self._scope,
        )
        if missing:
            items = self._records.items
            documents = [
                (items.skill(key) if self._kind == "skill" else items.insight(key)).item.document
                for key in missing
            ]
            vectors = self._embedder.embed(documents)
            with self._records.transaction() as part:
                for key, vector in zip(missing, vectors, strict=True):
                    part.vectors.save(key, self._embedder.name, vector)
        return len(missing)
