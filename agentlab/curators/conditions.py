"""Whether another condition would find an insight where it helps and nowhere else.

Variants are scored by asking the library's own retrieval over the given embedder, with the
variant in the insight's place and all other served insights beside it: no attempt is made. After
AlphaOPT (Minw913/AlphaOPT, `library_refinement.py`), where a model stands in for retrieval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agentlab.config import RetrievalConfig
from agentlab.library.index.exact import ExactIndex
from agentlab.library.retrieval import Retriever
from agentlab.protocols import Embedder
from agentlab.types import Insight
from agentlab.types.insight import Outcomes


class Labels(NamedTuple):
    """Labelled tasks whose wording is at hand: task id to instruction."""

    positive: Mapping[str, str]
    negative: Mapping[str, str]
    unretrieved: Mapping[str, str]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The ids of all of them, each once."""
        return tuple(dict.fromkeys((*self.positive, *self.negative, *self.unretrieved)))

    @property
    def total(self) -> int:
        """Labels that a condition is scored by."""
        return len(self.positive) + len(self.negative) + len(self.unretrieved)


class Scored(NamedTuple):
    """A condition and its score."""

    condition: str
    score: float


def labels_of(outcomes: Outcomes, instructions: Mapping[str, str]) -> Labels:
    """The outcomes whose tasks are at hand; the others can not be asked about."""

    def known(tasks: Sequence[str]) -> dict[str, str]:
        return {task: instructions[task] for task in tasks if task in instructions}

    return Labels(known(outcomes.positive), known(outcomes.negative), known(outcomes.unretrieved))


def baseline(labels: Labels) -> float | None:
    """What the present condition gets by its labels, positives / total; None where total is 0."""
    return len(labels.positive) / labels.total if labels.total else None


def score(labels: Labels, retrieved: frozenset[str]) -> float | None:
    """What a condition gets, in [0, 1]; None where there are no labels.

    (positives retrieved + unretrieved that now are + negatives that no longer are) / total.

    Args:
        labels: the tasks by label.
        retrieved: ids of those for which the insight is found.
    """
    if not labels.total:
        return None
    good = len(retrieved & set(labels.positive)) + len(retrieved & set(labels.unretrieved))
    return (good + len(set(labels.negative) - retrieved)) / labels.total


class Conditions:
    """Retrieval of the served insights, in which one of them can be given another condition.

    Args:
        library: what is served; the insight itself is among it.
        embedder: the library's own.
        retrieval: how many are shown to an attempt, how near, how long.
    """

    def __init__(
        self, library: Sequence[Insight], embedder: Embedder, retrieval: RetrievalConfig
    ) -> None:
        self._library = {insight.id: insight for insight in library}
        self._retrieval = retrieval
        self._retriever = Retriever({}, ExactIndex(embedder.dimension), embedder)
        self._retriever.add({key: insight.document for key, insight in self._library.items()})

    def found_for(
        self, insight: Insight, condition: str, tasks: Mapping[str, str]
    ) -> frozenset[str]:
        """Ids of the tasks, of id to instruction, for which the insight is found."""
        other = insight.model_copy(update={"condition": condition})
        self._retriever.add({insight.id: other.document})
        try:
            return frozenset(
                task
                for task, instruction in tasks.items()
                if self._finds(insight, task, instruction)
            )
        finally:
            self._retriever.add({insight.id: insight.document})

    def score(self, insight: Insight, condition: str, labels: Labels) -> float | None:
        """What a condition of the insight gets; None where there are no labels."""
        tasks = {**labels.positive, **labels.negative, **labels.unretrieved}
        return score(labels, self.found_for(insight, condition, tasks))

    def best(self, insight: Insight, conditions: Sequence[str], labels: Labels) -> Scored | None:
        """The best of the conditions if it is above the baseline, the first one on a tie.

        It must also be above what the present condition gets when it is asked the same way, for
        labels are of an earlier library: without this a worse condition could pass.
        """
        by_label, now = baseline(labels), self.score(insight, insight.condition, labels)
        if by_label is None or now is None:
            return None
        found: Scored | None = None
        for condition in conditions:
            value = self.score(insight, condition, labels)
            if value is None or value <= max(by_label, now):
                continue
            if found is None or value > found.score:
                found = Scored(condition, value)
        return found

    def _finds(self, insight: Insight, task: str, instruction: str) -> bool:
        # Nothing is offered for a task that it was derived from.
        derived = [key for key, other in self._library.items() if task in other.source_tasks]
        hits = self._retriever.search(
            instruction,
            k=self._retrieval.k,
            floor=self._retrieval.floor,
            tokens=self._retrieval.tokens,
            exclude=derived,
        )
        return any(hit.id == insight.id for hit in hits)
