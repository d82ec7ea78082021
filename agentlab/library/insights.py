"""The served insights of one environment: advice that was admitted, found by an instruction.

As `skills.SkillLibrary`, for text: the records say what is active, and an index of its own
proposes. Read at `select` and frozen for the round.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from agentlab.config import IndexName, RetrievalConfig
from agentlab.embeddings import open_embedder
from agentlab.library.index.collection import collection_name
from agentlab.library.retrieval import Retriever
from agentlab.library.served import ServedIndex
from agentlab.library.truth import ActiveItems
from agentlab.protocols import CountsTokens, Embedder
from agentlab.records import Records
from agentlab.types import SHARED, Insight, Scope

LEARNT = "learnt"
"""Trust of what was admitted here; anything else is somebody else's words and is not served."""


class FoundInsight(NamedTuple):
    """An insight that fits an instruction."""

    insight: Insight
    score: float
    """Fused retrieval score."""


class InsightLibrary:
    """Active insights of an environment, searchable. Close it when done.

    Args:
        records: where the insights are.
        environment: the environment's name.
        embedder: by name, see `embeddings`.
        backend: which index proposes; `exact` keeps nothing on disk, and where there is a tenant
            nothing is kept there whatever is asked for.
        scope: in which they are served: its own and those of the scopes around it.
    """

    def __init__(
        self,
        records: Records,
        environment: str,
        *,
        embedder: str = "lexical",
        backend: IndexName = "chroma",
        scope: Scope = SHARED,
    ) -> None:
        self._records = records
        self._environment = environment
        self._scope = scope
        self._embedder = open_embedder(embedder)
        self._truth = ActiveItems(records, environment, "insight", self._embedder, scope)
        name = collection_name(environment, "insight")
        if scope != SHARED:
            backend = "exact"
        root: Path | None = records.workspace.index / name if backend == "chroma" else None
        self._index = ServedIndex(
            self._truth,
            dimension=self._embedder.dimension,
            embedder=self._embedder.name,
            root=root,
            collection=name,
            backend=backend,
        )
        self._charged = 0
        self._insights: dict[str, Insight] = {}
        self._others: list[str] = []
        self._derived: dict[str, list[str]] = {}
        self._retriever = Retriever({}, self._index, self._embedder)
        self._version = -1
        self.refresh()

    @property
    def insights(self) -> Mapping[str, Insight]:
        """The active insights by id, as of the last `refresh`."""
        return self._insights

    @property
    def embedder(self) -> Embedder:
        """What their vectors are made with."""
        return self._embedder

    @property
    def uncharged(self) -> int:
        """Tokens that embedding took since `charge` was last asked."""
        sent = self._embedder.tokens if isinstance(self._embedder, CountsTokens) else 0
        return sent - self._charged

    def charge(self) -> int:
        """What is uncharged, which it then no longer is."""
        new = self.uncharged
        self._charged += new
        return new

    def follow(self) -> None:
        """As `refresh`, where anything that is served has changed; asks one number otherwise.

        For each attempt of an agent: items that wait for admission are not looked for.
        """
        if self._records.items.library_version(self._environment) != self._version:
            self.refresh()

    def refresh(self) -> None:
        """Serve what is active now."""
        self._truth.complete()
        version = self._records.items.library_version(self._environment)
        if version == self._version:
            return
        rows = self._records.items.insights(
            environment=self._environment, status="active", scope=self._scope
        )
        self._insights = {row.item.id: row.item for row in rows if row.item.trust == LEARNT}
        self._others = [row.item.id for row in rows if row.item.id not in self._insights]
        self._derived = {}
        for insight in self._insights.values():
            for source in insight.source_tasks:
                self._derived.setdefault(source, []).append(insight.id)
        self._index.sync()
        documents = {insight.id: insight.document for insight in self._insights.values()}
        self._retriever = Retriever(documents, self._index, self._embedder)
        self._version = version

    def retrieve(
        self, query: str, config: RetrievalConfig, *, task_id: str | None = None
    ) -> list[FoundInsight]:
        """The insights to offer for an instruction, best first; none is an answer.

        Args:
            query: the instruction, without metadata.
            config: how many, how similar, how long.
            task_id: insights derived from this task are left out.
        """
        derived = self._derived.get(task_id, ()) if task_id is not None else ()
        found = self._retriever.search(
            query,
            k=config.k,
            floor=config.floor,
            tokens=config.tokens,
            exclude=[*derived, *self._others],
        )
        return [FoundInsight(self._insights[item.id], item.score) for item in found]

    def close(self) -> None:
        """Close the index. Safe to call twice."""
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
