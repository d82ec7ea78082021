"""The road from candidate to served item: gates in one order, for code and text alike.

A gate says why an item may not pass, or nothing; whatever goes wrong inside a gate is a refusal
too. The first refusal ends the walk, and every verdict that was reached is kept with its
evidence. A skill proves itself by replays, an insight by its tasks being solved again; both walk
`ORDER`. Who runs replays and searches is not decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from agentlab.errors import AgentLabError, UsageError
from agentlab.library.planted import planted
from agentlab.types import Insight, JsonObject, canonical_json

GateName = Literal[
    "static", "run", "replay", "effect", "controls", "regression", "duplicate", "use"
]
ORDER: tuple[GateName, ...] = (
    "static",
    "run",
    "replay",
    "effect",
    "controls",
    "regression",
    "duplicate",
    "use",
)
"""The gates before an item is active. `use` is the end of quarantine."""

Item = TypeVar("Item")


class Verdict(NamedTuple):
    """What one gate said."""

    gate: GateName
    reason: str | None
    """Why the item may not pass; None when it may."""

    @property
    def passed(self) -> bool:
        """Whether the item may go on."""
        return self.reason is None


class Gate(NamedTuple, Generic[Item]):
    """One gate: its name and its question, answered with a reason or None."""

    name: GateName
    ask: Callable[[Item], Awaitable[str | None]]


class Passage(NamedTuple):
    """How far an item came."""

    verdicts: tuple[Verdict, ...] = ()

    @property
    def reason(self) -> str | None:
        """Why it was refused; None where every gate so far let it pass."""
        return next((v.reason for v in self.verdicts if v.reason is not None), None)

    @property
    def stopped(self) -> GateName | None:
        """The gate that refused it."""
        return next((v.gate for v in self.verdicts if v.reason is not None), None)

    def record(self) -> list[JsonObject]:
        """The verdicts as data, for the evidence of a move."""
        return [{"gate": v.gate, "passed": v.passed, "reason": v.reason} for v in self.verdicts]


async def walk(item: Item, gates: Sequence[Gate[Item]], before: Passage | None = None) -> Passage:
    """Take an item through gates until one refuses it.

    Args:
        item: a skill, an insight, or what is known of one.
        gates: in the order of `ORDER`; not all of them need be there.
        before: what earlier gates said; an item that was refused goes no further.

    Raises:
        ValueError: the gates are not in order.
        UsageError: a gate found the configuration wrong, which no candidate is to blame for.
    """
    verdicts = list(before.verdicts) if before else []
    names = [v.gate for v in verdicts] + [gate.name for gate in gates]
    places = [ORDER.index(name) for name in names]
    if places != sorted(set(places)):
        raise ValueError(f"The gates {names} are not in the order {ORDER}.")
    if before is not None and before.reason is not None:
        return before
    for gate in gates:
        try:
            reason = await gate.ask(item)
        except UsageError:
            raise
        except AgentLabError as error:  # fail closed: no answer is a refusal
            reason = f"{gate.name}: {error}"
        verdicts.append(Verdict(gate.name, reason))
        if reason is not None:
            break
    return Passage(tuple(verdicts))


# --- insights -------------------------------------------------------------------------------

LONGEST = 2000
"""Characters of an insight's texts together."""
TRIES = 3
"""Times that a task is tried again with an insight (AlphaOPT, `library_refinement`)."""


class Resolver(Protocol):
    """Solves tasks again, with an insight offered and without it, from a fresh reset."""

    async def solve(self, insight: Insight, task_id: str, *, offered: bool, number: int) -> bool:
        """Whether attempt `number` at the task succeeded. Such attempts count in no rate."""
        ...


class InsightCase(NamedTuple):
    """An insight on its road."""

    insight: Insight
    tasks: tuple[str, ...]
    """Tasks of its kind that it was not derived from; its own come from the insight."""
    solved: tuple[str, ...] = ()
    """Tasks that its parents helped to solve and must go on helping with."""
    library: tuple[Insight, ...] = ()


def insight_gates(resolver: Resolver, *, particular: Sequence[str] = ()) -> list[Gate[InsightCase]]:
    """The gates for text: re-solving in place of replay, the same order and the same rules.

    `replay`: every source task that it says something of is solved within `TRIES` with the
    insight. `effect`: at least two
    other tasks are solved with it. `controls`: not every one of them is solved without it as
    well. `regression`: what its parents solved is still solved. `duplicate`: no other insight
    says the same. `use` belongs to practice, by shadow attempts, as for skills.
    """

    async def static(case: InsightCase) -> str | None:
        return static_insight(case.insight, particular)

    async def solves(case: InsightCase, tasks: Sequence[str], *, offered: bool) -> list[bool]:
        return [
            await _solved(resolver, case.insight, task_id, offered=offered) for task_id in tasks
        ]

    async def replay(case: InsightCase) -> str | None:
        source = case.insight.must_solve
        good = sum(await solves(case, source, offered=True))
        if not source or good < len(source):
            return f"replay: {good} of {len(source)} source tasks are solved again with it"
        return None

    async def effect(case: InsightCase) -> str | None:
        unseen = [task for task in case.tasks if task not in case.insight.source_tasks]
        good = sum(await solves(case, unseen, offered=True))
        return None if good >= 2 else f"effect: {good} of 2 unseen tasks are solved with it"

    async def controls(case: InsightCase) -> str | None:
        unseen = [task for task in case.tasks if task not in case.insight.source_tasks]
        bare = await solves(case, unseen, offered=False)
        return "controls: everything is solved without it as well" if all(bare) else None

    async def regression(case: InsightCase) -> str | None:
        kept = await solves(case, case.solved, offered=True)
        lost = kept.count(False)
        return f"regression: {lost} of {len(kept)} tasks are lost with it" if lost else None

    async def duplicate(case: InsightCase) -> str | None:
        mine = _said(case.insight)
        twin = next((other for other in case.library if _said(other) == mine), None)
        return f"duplicate: it says the same as {twin.id!r}" if twin else None

    return [
        Gate("static", static),
        Gate("replay", replay),
        Gate("effect", effect),
        Gate("controls", controls),
        Gate("regression", regression),
        Gate("duplicate", duplicate),
    ]


async def _solved(resolver: Resolver, insight: Insight, task_id: str, *, offered: bool) -> bool:
    for number in range(TRIES):
        if await resolver.solve(insight, task_id, offered=offered, number=number):
            return True
    return False


def static_insight(insight: Insight, particular: Sequence[str] = ()) -> str | None:
    """Why the text cannot be an insight, or None.

    Args:
        insight: the text and what it came from.
        particular: words of its source tasks that are no vocabulary; its example may use them.
    """
    if not insight.condition.strip() or not insight.advice.strip():
        return "static: it has no condition or no advice"
    if not insight.source_tasks:
        return "static: it names no task that it was derived from"
    texts = (insight.condition, insight.negative_condition, insight.advice)
    every = (*texts, insight.example, insight.scope, *insight.taxonomy)
    if sum(map(len, every)) > LONGEST:
        return f"static: it is longer than {LONGEST} characters"
    if not all(c.isprintable() or c == "\n" for text in every for c in text):
        return "static: it holds characters that are not shown"
    if (found := planted(*every)) is not None:
        return f"static: it holds {found}"
    words = {word.casefold() for text in texts for word in text.split()}
    named = sorted(word for word in particular if word.casefold() in words)
    return f"static: it names {named[0]!r}, which belongs to its source tasks" if named else None


def _said(insight: Insight) -> str:
    parts = (insight.condition, insight.negative_condition, insight.advice)
    return canonical_json([" ".join(part.casefold().split()) for part in parts])
