"""Whether a proposal is new: by what it says and by what its solution does.

Words alone mislead both ways: the same thing can be asked for in other words, and two tasks that
differ in one particular read nearly alike. So a task with a solution also has a behaviour, the
facts of the state that the solution changes, and where two behaviours are known they decide.

A proposer drops nothing here. It keeps no memory between rounds (a resumed run would propose
other tasks than one that was never interrupted), so what is refused as not novel must be on
record to be shown to the next prompt: `refusals` gives the reasons to whoever admits proposals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.embeddings import open_embedder
from agentlab.protocols import Embedder, Vectors
from agentlab.types import JsonObject, PastProposal, Task, canonical_json, digest

NOT_NOVEL = "not novel"
"""How the reason begins with which such a proposal is refused."""
NEAR = 0.95
"""Cosine of two instructions from which they are taken to say the same."""
DRAWN = ("own", "grammar")
"""Sources whose tasks no model wrote: an environment's own list, and its grammar."""
CHANGES = "changes"
"""The parameter of a task in which its behaviour is kept."""
MOST_CHANGES = 64
"""Facts of a behaviour that are kept as they are; of a larger one, a digest."""
DEEPEST = 8
"""Levels of a state that are looked into; what lies deeper is compared as a whole."""
_LONGEST = 200
"""Characters of a fact that are kept as they are."""


def changed_facts(before: JsonObject, after: JsonObject) -> tuple[str, ...]:
    """What differs between two states, as sorted lines `-path value` and `+path value`.

    A list is a set of facts, as in `protocols.HasState`; an object is looked into.
    """
    gone, come = set(_facts(before)), set(_facts(after))
    lines = sorted([f"-{fact}" for fact in gone - come] + [f"+{fact}" for fact in come - gone])
    lines = [
        line if len(line) <= _LONGEST else f"{line[:_LONGEST]}… {digest(line)[:16]}"
        for line in lines
    ]
    if len(lines) <= MOST_CHANGES:
        return tuple(lines)
    return (f"{len(lines)} facts, {digest(*lines)[:32]}",)


def _facts(value: JsonValue, path: str = "", depth: int = 0) -> Iterator[str]:
    if isinstance(value, Mapping) and value and depth < DEEPEST:
        for name, inner in value.items():
            yield from _facts(inner, f"{path}/{name}", depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield f"{path}[] {canonical_json(item)}"
    else:
        yield f"{path} {canonical_json(value)}"


def behaviour(task: Task) -> frozenset[str]:
    """The facts that the task's solution changes, as far as they are on the task; else empty."""
    kept = task.parameters.get(CHANGES)
    return frozenset(str(line) for line in kept) if isinstance(kept, list) else frozenset()


class _Known(NamedTuple):
    task: Task
    vector: Vectors
    behaviour: frozenset[str]


class Novelty:
    """The tasks that there are, to which others are compared.

    Args:
        embedder: turns instructions into vectors; lexical where none is given, so that the
            same particulars in the same words are near and nothing is downloaded.
        near: cosine from which two instructions say the same.
    """

    def __init__(self, embedder: Embedder | None = None, *, near: float = NEAR) -> None:
        self._embedder = embedder or open_embedder()
        self._near = near
        self._known: list[_Known] = []

    def add(self, tasks: Sequence[Task]) -> None:
        """Know these tasks too."""
        vectors = self._embedder.embed([task.instruction for task in tasks])
        self._known += [
            _Known(task, vector, behaviour(task))
            for task, vector in zip(tasks, vectors, strict=True)
        ]

    def refusal(self, task: Task) -> str | None:
        """Why a task is not new, or None.

        It is not where a known one has the same behaviour, whatever either says; or says the
        same, unless both behaviours are known, and then they differ.
        """
        vector = self._embedder.embed([task.instruction])[0]
        own = behaviour(task)
        for known in self._known:
            if own and known.behaviour:
                if own == known.behaviour:
                    return f"{NOT_NOVEL}: its solution changes just what that of {_named(known)}"
                continue
            same = task.instruction == known.task.instruction
            if same or float(vector @ known.vector) >= self._near:
                return f"{NOT_NOVEL}: it says what {_named(known)} says"
        return None


def refusals(
    tasks: Sequence[Task],
    archive: Sequence[PastProposal],
    *,
    embedder: Embedder | None = None,
    near: float = NEAR,
) -> list[str | None]:
    """Why each proposal is not new, or None, in order; an earlier one of them counts as known.

    Earlier proposals that were invalid do not: to get one of those right is new. What the
    environment drew repeats nobody's words: the same ones in another of its worlds are another
    task, with which only what a model writes is compared.
    """
    novelty = Novelty(embedder, near=near)
    novelty.add([past.task for past in archive if past.fate not in ("invalid", "not novel")])
    found: list[str | None] = []
    for task in tasks:
        reason = None if task.source in DRAWN else novelty.refusal(task)
        if reason is None:
            novelty.add([task])
        found.append(reason)
    return found


def _named(known: _Known) -> str:
    return f"the task {known.task.id}"
