"""The four archives of earlier proposals, and the few of them that a prompt is shown.

OMNI-EPIC (Faldor et al. 2024, arXiv 2405.15568) keeps what was solved, what did not compile, what
was uninteresting and what was not learnt, and shows its generator the nearest solved and failed
ones. Here they are `solved`, `invalid`, `not novel` and `not learnable`, told apart by records
alone (`fate_of`); what is not decided yet is in none. Prompts are bounded: five positive and five
negative examples at most, each cut to a length that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from agentlab.embeddings import open_embedder
from agentlab.proposers.learnability import LEAST_ATTEMPTS, LOW
from agentlab.proposers.novelty import NOT_NOVEL
from agentlab.proposers.surroundings import clip
from agentlab.protocols import Embedder
from agentlab.types import PastProposal

Fate = Literal["solved", "invalid", "not novel", "not learnable"]
"""Of `PastProposal.fate`, those that an archive is kept of."""
FATES: tuple[Fate, ...] = get_args(Fate)
NEGATIVE: tuple[Fate, ...] = ("invalid", "not novel", "not learnable")
EXAMPLES = 5
"""Of each sign that a prompt is shown, as in OMNI-EPIC."""
LOOKED_AT = 400
"""Of each archive, the latest proposals among which the nearest are found."""
LONGEST = 300
"""Characters of an instruction or a reason that are shown."""
NOT_NEW = (NOT_NOVEL, "duplicate")


def fate_of(reason: str | None, outcomes: Sequence[bool]) -> Fate | None:
    """What became of a proposal.

    Args:
        reason: why it was not admitted; None when it was.
        outcomes: of the unassisted attempts at it, infrastructure failures left out.

    Returns:
        `not learnable` from four attempts on, when the success rate is at most 0.2; `solved`
        for any other that succeeded once; None while neither is known.
    """
    if reason is not None:
        return "not novel" if reason.startswith(NOT_NEW) else "invalid"
    rate = sum(outcomes) / len(outcomes) if outcomes else 0.0
    if len(outcomes) >= LEAST_ATTEMPTS and rate <= LOW:
        return "not learnable"
    return "solved" if rate else None


class Archives:
    """Earlier proposals by fate, searchable by likeness.

    Args:
        past: earlier proposals, oldest first.
        embedder: turns instructions into vectors; lexical where none is given.
    """

    def __init__(self, past: Sequence[PastProposal], embedder: Embedder | None = None) -> None:
        self._embedder = embedder or open_embedder()
        self._by_fate: dict[Fate, list[PastProposal]] = {
            fate: [each for each in past if each.fate == fate] for fate in FATES
        }

    def of(self, fate: Fate) -> Sequence[PastProposal]:
        """The proposals of one archive, oldest first."""
        return tuple(self._by_fate[fate])

    def positive(self, query: str, k: int = EXAMPLES) -> tuple[PastProposal, ...]:
        """The solved ones that are nearest to a text, nearest first."""
        return self._nearest(query, self._by_fate["solved"][-LOOKED_AT:], k)

    def negative(self, query: str, k: int = EXAMPLES) -> tuple[PastProposal, ...]:
        """The nearest of the other three, taken in turn so that each kind of mistake is seen."""
        ranked = [self._nearest(query, self._by_fate[fate][-LOOKED_AT:], k) for fate in NEGATIVE]
        turns = [each[place] for place in range(k) for each in ranked if place < len(each)]
        return tuple(turns[:k])

    def shown_solved(self, query: str) -> str:
        """The positive examples as text, one a line."""
        lines = [f"- {clip(past.task.instruction, LONGEST)}" for past in self.positive(query)]
        return "\n".join(lines) or "none yet"

    def shown_refused(self, query: str) -> str:
        """The negative examples as text, each with its archive and the reason, one a line."""
        lines = [
            f"- ({past.fate}{': ' + clip(past.reason, LONGEST) if past.reason else ''}) "
            f"{clip(past.task.instruction, LONGEST)}"
            for past in self.negative(query)
        ]
        return "\n".join(lines) or "none yet"

    def _nearest(
        self, query: str, among: Sequence[PastProposal], k: int
    ) -> tuple[PastProposal, ...]:
        # The same words proposed again and again are one example.
        distinct = list({past.task.instruction: past for past in among}.values())
        if not distinct:
            return ()
        vectors = self._embedder.embed([query, *(past.task.instruction for past in distinct)])
        near = vectors[1:] @ vectors[0]
        order = sorted(range(len(distinct)), key=lambda at: (-float(near[at]), -at))
        return tuple(distinct[at] for at in order[:k])
