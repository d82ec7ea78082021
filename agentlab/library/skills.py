"""The served skills of one environment: what may be offered, found by an instruction.

The records say what is active; this keeps their vectors complete, an index in step, and a
retriever over both. It is read at `select` and frozen for the round. It works without LangGraph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from agentlab.config import IndexName, RetrievalConfig
from agentlab.embeddings import open_embedder
from agentlab.library.index.collection import collection_name
from agentlab.library.retrieval import Retriever
from agentlab.library.served import IndexStatus, ServedIndex
from agentlab.library.truth import ActiveItems
from agentlab.protocols import CountsTokens
from agentlab.records import Records
from agentlab.types import Skill


class Found(NamedTuple):
    """A skill that fits an instruction."""

    skill: Skill
    score: float
    """Fused retrieval score."""


class SkillLibrary:
    """Active skills of an environment, searchable. Close it when done.

    Args:
        records: where the skills are.
        environment: the environment's name.
        toolset: only skills over these tools are offered.
        embedder: by name, see `embeddings`.
        backend: which index proposes; `exact` keeps nothing on disk.
        foreign: whether code that was not learnt here can run, as it can in a box; else skills
            of that kind, and those that call one, are left out: a runtime would refuse them and
            with them each attempt that they are offered to.
    """

    def __init__(
        self,
        records: Records,
        environment: str,
        *,
        toolset: str,
        embedder: str = "lexical",
        backend: IndexName = "chroma",
        foreign: bool = False,
    ) -> None:
        self._records = records
        self._takes_foreign = foreign
        self._environment = environment
        self._toolset = toolset
        self._embedder = open_embedder(embedder)
        self._truth = ActiveItems(records, environment, "skill", self._embedder)
        name = collection_name(environment, "skill")
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
        self._skills: dict[str, Skill] = {}
        self._foreign: list[str] = []
        self._derived: dict[str, list[str]] = {}
        """Task to the skills that may not be offered for it."""
        self._retriever = Retriever({}, self._index, self._embedder)
        self._version = -1
        self.refresh()

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

    @property
    def skills(self) -> Mapping[str, Skill]:
        """The active skills by id, as of the last `refresh`."""
        return self._skills

    @property
    def version(self) -> int:
        """The library version that is served; grows whenever the active set changes."""
        return self._version

    @property
    def status(self) -> IndexStatus:
        """How the index stands."""
        return self._index.status

    def refresh(self) -> None:
        """Serve what is active now."""
        self._truth.complete()
        version = self._records.items.library_version(self._environment)
        if version == self._version:
            return
        rows = self._records.items.skills(environment=self._environment, status="active")
        known = {row.item.name: row.item for row in rows if row.item.toolset == self._toolset}
        self._skills = {skill.id: skill for skill in known.values() if self._runs(skill, known)}
        # The index serves every toolset; without this the others would take the first places.
        self._foreign = [row.item.id for row in rows if row.item.id not in self._skills]
        by_name = {skill.name: skill for skill in self._skills.values()}
        self._derived = {}
        for skill in self._skills.values():
            for source in sorted(origins(skill, by_name)):
                self._derived.setdefault(source, []).append(skill.id)
        self._index.sync()
        documents = {skill.id: skill.document for skill in self._skills.values()}
        self._retriever = Retriever(documents, self._index, self._embedder)
        self._version = version

    def _runs(self, skill: Skill, known: Mapping[str, Skill]) -> bool:
        """Whether a runtime would take the skill and all that it calls."""
        called = closure([skill], known)
        return self._takes_foreign or all(each.origin == "search" for each in called)

    def retrieve(
        self, query: str, config: RetrievalConfig, *, task_id: str | None = None
    ) -> list[Found]:
        """The skills to offer for an instruction, best first; none is an answer.

        Args:
            query: the instruction, without metadata.
            config: how many, how similar, how long.
            task_id: skills derived from this task are left out, and those that call one, for
                what is offered brings along what it calls.
        """
        derived = self._derived.get(task_id, ()) if task_id is not None else ()
        found = self._retriever.search(
            query,
            k=config.k,
            floor=config.floor,
            tokens=config.tokens,
            exclude=[*derived, *self._foreign],
        )
        return [Found(self._skills[item.id], item.score) for item in found]

    def alike(self, skill: Skill, others: Sequence[Skill], *, floor: float) -> list[Skill]:
        """Those of `others` whose documents are as similar as `floor` or more, best first.

        Args:
            skill: any skill, served or not.
            others: what to compare it with; those of other environments are strangers.
            floor: cosine by this library's embedder, in [-1, 1].
        """
        if not others:
            return []
        rows = self._embedder.embed([skill.document, *(other.document for other in others)])
        near = [
            (-float(value), other.name, other)
            for value, other in zip(rows[1:] @ rows[0], others, strict=True)
            if value >= floor
        ]
        return [other for _, _, other in sorted(near, key=lambda item: item[:2])]

    def with_callees(self, skills: Sequence[Skill]) -> tuple[Skill, ...]:
        """These skills and every active skill that they call, directly or through others."""
        by_name = {skill.name: skill for skill in self._skills.values()}
        return closure(skills, by_name)

    def calls(self) -> dict[str, tuple[str, ...]]:
        """Every active skill's name to the names that it calls."""
        return {skill.name: skill.skills for skill in self._skills.values()}

    def reindex(self) -> IndexStatus:
        """Rebuild the index from the records.

        Raises:
            IndexFaultError: another process uses it, or it cannot be rebuilt.
        """
        return self._index.reindex()

    def complete(self) -> int:
        """Embed what this embedder has not embedded yet; how many skills that were."""
        return self._truth.complete()

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


def closure(skills: Iterable[Skill], by_name: Mapping[str, Skill]) -> tuple[Skill, ...]:
    """The skills and all that they call, each once, in the order first met."""
    found: dict[str, Skill] = {}
    ahead = list(skills)
    while ahead:
        skill = ahead.pop(0)
        if skill.name not in found:
            found[skill.name] = skill
            ahead.extend(by_name[name] for name in skill.skills if name in by_name)
    return tuple(found.values())


def origins(skill: Skill, by_name: Mapping[str, Skill]) -> frozenset[str]:
    """The tasks that the skill, or one that it calls, was derived from."""
    return frozenset(task for each in closure([skill], by_name) for task in each.source_tasks)
