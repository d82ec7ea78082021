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
from agentlab.types import SHARED, Scope, Skill
from agentlab.types.scope import depth


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
        backend: which index proposes; `exact` keeps nothing on disk, and where there is a tenant
            nothing is kept there whatever is asked for.
        foreign: whether code that was not learnt here can run, as it can in a box; else skills
            of that kind, and those that call one, are left out: a runtime would refuse them and
            with them each attempt that they are offered to.
        scope: in which they are served: its own and those of the scopes around it. Of one name
            the nearest is offered. A skill calls what it was verified with: the nearest of that
            name as its own scope sees it.
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
        scope: Scope = SHARED,
    ) -> None:
        self._records = records
        self._takes_foreign = foreign
        self._environment = environment
        self._scope = scope
        self._toolset = toolset
        self._embedder = open_embedder(embedder)
        self._truth = ActiveItems(records, environment, "skill", self._embedder, scope)
        name = collection_name(environment, "skill")
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
        self._skills: dict[str, Skill] = {}
        self._names = Names(())
        self._calls: dict[str, tuple[str, ...]] = {}
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
        rows = self._records.items.skills(
            environment=self._environment, status="active", scope=self._scope
        )
        fit = [row for row in rows if row.item.toolset == self._toolset]
        self._names = Names((Scope.parse(row.scope), row.item) for row in fit)
        served = self._names.seen(self._scope)
        self._skills = {skill.id: skill for skill in served if self._runs(skill)}
        # The index serves every toolset; without this the others would take the first places.
        self._foreign = [row.item.id for row in rows if row.item.id not in self._skills]
        self._calls = {skill.name: skill.skills for skill in self._skills.values()}
        self._derived = {}
        for skill in self._skills.values():
            brought = self._names.closure([skill])
            for source in sorted({task for each in brought for task in each.source_tasks}):
                self._derived.setdefault(source, []).append(skill.id)
        self._index.sync()
        documents = {skill.id: skill.document for skill in self._skills.values()}
        self._retriever = Retriever(documents, self._index, self._embedder)
        self._version = version

    def _runs(self, skill: Skill) -> bool:
        """Whether a runtime would take the skill and all that it calls."""
        if self._takes_foreign:
            return True
        return all(each.origin == "search" for each in self._names.closure([skill]))

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
        skills = [Found(self._skills[item.id], item.score) for item in found]
        return skills if self._scope == SHARED else self._together(skills)

    def _together(self, found: Sequence[Found]) -> list[Found]:
        """Those that may be offered at once: in one attempt a name means one skill.

        A wider scope's skill that calls what a nearer one hides here is left out where that
        nearer one is among them.
        """
        nearest = sorted(found, key=lambda each: -self._names.depth(each.skill))
        meant: dict[str, str] = {}
        kept: set[str] = set()
        for each in nearest:
            brought = self._names.closure([each.skill])
            if all(meant.get(skill.name, skill.id) == skill.id for skill in brought):
                meant.update((skill.name, skill.id) for skill in brought)
                kept.add(each.skill.id)
        return [each for each in found if each.skill.id in kept]

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
        return self._names.closure(skills)

    def calls(self) -> Mapping[str, tuple[str, ...]]:
        """Every active skill's name to the names that it calls."""
        return self._calls

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


class Names:
    """What a name means to whom: the nearest skill that bears it, seen from the caller's scope.

    A tenant's skill of the same name as a shared one is what that tenant is offered, and what the
    shared skills call stays what they were verified with.

    Args:
        skills: each with its scope, in the order in which they were kept; of one scope and name
            the last counts.
    """

    def __init__(self, skills: Iterable[tuple[Scope, Skill]]) -> None:
        self._by_place: dict[tuple[str, str], Skill] = {}
        self._readable: dict[str, tuple[str, ...]] = {}
        """Skill to the paths that its scope reads, its own first."""
        for scope, skill in skills:
            self._by_place[scope.path, skill.name] = skill
            self._readable[skill.id] = scope.readable[::-1]

    def seen(self, scope: Scope) -> list[Skill]:
        """Every skill that the scope sees, in the order in which the names were first kept."""
        names = dict.fromkeys(name for _, name in self._by_place)
        found = (self._find(name, scope.readable[::-1]) for name in names)
        return [skill for skill in found if skill is not None]

    def depth(self, skill: Skill) -> int:
        """How near its scope is; 0 for what is shared and for what is not known."""
        return depth(self._readable.get(skill.id, ("",))[0])

    def closure(self, skills: Iterable[Skill]) -> tuple[Skill, ...]:
        """The skills and all that they call, each name once, in the order first met."""
        found: dict[str, Skill] = {}
        ahead = list(skills)
        while ahead:
            skill = ahead.pop(0)
            if skill.name not in found:
                found[skill.name] = skill
                paths = self._readable.get(skill.id, ("",))
                called = (self._find(name, paths) for name in skill.skills)
                ahead.extend(each for each in called if each is not None)
        return tuple(found.values())

    def _find(self, name: str, paths: Iterable[str]) -> Skill | None:
        for path in paths:
            skill = self._by_place.get((path, name))
            if skill is not None:
                return skill
        return None


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
