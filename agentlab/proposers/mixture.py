"""Several proposers in one, each asked for as much as its earlier proposals have earned.

The shares follow DUMP (Wang et al. 2025, arXiv 2504.09710), a UCB rule over sources:

    U(d) = L(d) + sqrt(2 · ln(N + 1) / (n(d) + 1)),    P = softmax(U / 0.1)

There L is a mean absolute advantage; here it is the admitted, learnable yield: the share of a
proposer's last 300 proposals, of which enough is known, that were admitted and teach something.
Each proposer keeps a floor, as in Exp3 (Auer et al. 2002): P' = (1 - K · floor) · P + floor. All
of it is computed anew from the records, so that a resumed run asks whom it would have asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import cast

from agentlab.errors import UsageError
from agentlab.proposers.archive import NEGATIVE
from agentlab.proposers.learnability import learnable
from agentlab.protocols import ProposalContext, Proposer
from agentlab.types import PastProposal, Task, Template, derive_seed, derive_uniform

NAME = "mixture"
WINDOW = 300
TEMPERATURE = 0.1
FLOOR = 0.05
"""Least share of each proposer, where there are not more than twenty."""


def proposal_yield(past: PastProposal, templates: Mapping[str, Template]) -> bool | None:
    """Whether a proposal was admitted and is learnable; None while that is not known.

    A template with four outcomes or more says whether its tasks are learnable; with fewer, a
    solved task counts as a yield and one that was not solved yet as unknown.
    """
    if past.fate in NEGATIVE:
        return False
    known = templates.get(past.task.template)
    verdict = learnable(known.successes, known.attempts) if known is not None else None
    if verdict is not None:
        return verdict
    return True if past.fate == "solved" else None


def yields(
    names: Sequence[str], archive: Sequence[PastProposal], templates: Sequence[Template]
) -> dict[str, list[bool]]:
    """The known yields of each proposer, oldest first, by the source of its tasks."""
    by_name = {template.name: template for template in templates}
    found: dict[str, list[bool]] = {name: [] for name in names}
    for past in archive:
        verdict = proposal_yield(past, by_name)
        if verdict is not None and past.task.source in found:
            found[past.task.source].append(verdict)
    return found


def ucb_shares(means: Sequence[float], counts: Sequence[int]) -> list[float]:
    """DUMP's shares from mean yields in [0, 1] and numbers of proposals; they sum to 1."""
    total = sum(counts)
    bounds = [
        mean + math.sqrt(2.0 * math.log(total + 1) / (count + 1))
        for mean, count in zip(means, counts, strict=True)
    ]
    highest = max(bounds)
    weights = [math.exp((bound - highest) / TEMPERATURE) for bound in bounds]
    return [weight / sum(weights) for weight in weights]


def with_floor(shares: Sequence[float], floor: float = FLOOR) -> list[float]:
    """The shares, none below the floor (or below an equal part, where that is less)."""
    least = min(floor, 1.0 / len(shares))
    return [(1.0 - least * len(shares)) * share + least for share in shares]


def allotted(shares: Sequence[float], count: int, draw: float) -> list[int]:
    """How many of `count` each share gets: systematic sampling with one draw in [0, 1).

    Each gets its expectation rounded down or up, and on average just that: a small share is
    not starved where the count is small.
    """
    ends = [end * count for end in accumulate(shares)]
    ends[-1] = float(count)  # shares sum to 1 but for rounding
    taken = [max(0, math.ceil(end - draw)) for end in ends]
    return [now - before for now, before in zip(taken, [0, *taken], strict=False)]


class MixtureProposer:
    """Asks several proposers; what one leaves open is given to the others once.

    Args:
        proposers: by the source that they write on their tasks; asked in this order.
        floor: least share of each.

    Raises:
        UsageError: there are no proposers, or the floor is no share.
    """

    def __init__(self, proposers: Mapping[str, Proposer], *, floor: float = FLOOR) -> None:
        if not proposers:
            raise UsageError("A mixture needs proposers; write such as 'mixture:context+grammar'.")
        if not 0.0 <= floor <= 1.0:
            raise UsageError(f"The floor of a mixture is a share from 0 to 1, not {floor}.")
        self.proposers = dict(proposers)
        self._floor = floor

    @property
    def needs_model(self) -> bool:
        """Whether one of them asks a chat model."""
        return any(getattr(each, "needs_model", False) for each in self.proposers.values())

    @property
    def needs_grammar(self) -> bool:
        """Whether one of them composes tasks from a grammar."""
        return any(getattr(each, "needs_grammar", False) for each in self.proposers.values())

    @property
    def dropped(self) -> Counter[str]:
        """What came to nothing, as `<proposer>: <kind of reason>`."""
        found = Counter[str]()
        for name, proposer in self.proposers.items():
            inner: object = getattr(proposer, "dropped", None)
            if isinstance(inner, Counter):
                counted = cast("Counter[str]", inner)
                found.update({f"{name}: {reason}": n for reason, n in counted.items()})
        return found

    def shares(self, context: ProposalContext) -> dict[str, float]:
        """Each proposer's share of the next proposals; they sum to 1."""
        names = list(self.proposers)
        found = yields(names, context.archive, context.templates)
        recent = [found[name][-WINDOW:] for name in names]
        means = [sum(each) / len(each) if each else 0.0 for each in recent]
        shares = ucb_shares(means, [len(found[name]) for name in names])
        return dict(zip(names, with_floor(shares, self._floor), strict=True))

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        """At most `context.count` tasks, each once. See `protocols.Proposer`.

        Raises:
            AgentLabError: what a proposer raised.
        """
        names = list(self.proposers)
        shares = list(self.shares(context).values())
        draw = derive_uniform(context.seed, context.round, NAME)
        tasks: dict[str, Task] = {}
        full: list[str] = []
        asked = dict(zip(names, allotted(shares, context.count, draw), strict=True))
        for name in names:
            made = await self._ask(name, asked[name], context, "first")
            tasks.update({task.id: task for task in made if task.id not in tasks})
            if asked[name] == 0 or len(made) >= asked[name]:
                full.append(name)
        # Those that gave all that they were asked for may have more; the best of them first.
        full.sort(key=lambda name: (-shares[names.index(name)], names.index(name)))
        for name in full:
            left = context.count - len(tasks)
            if left <= 0:
                break
            made = await self._ask(name, left, context, "more")
            tasks.update({task.id: task for task in made if task.id not in tasks})
        return list(tasks.values())[: context.count]

    async def _ask(
        self, name: str, count: int, context: ProposalContext, turn: str
    ) -> Sequence[Task]:
        if count <= 0:
            return ()
        seed = derive_seed(context.seed, NAME, name, turn)
        part = replace(context, count=count, seed=seed)
        return (await self.proposers[name].propose(part))[:count]
