"""Insights as curators write them: words, ids, outcomes, and how near two of them are.

What a model wrote becomes an insight here and nowhere else, so that every curator bounds and
refuses alike. An insight's id is made of its words and version: a `revise` of an insight by one of
the same id (`note`) changes nothing that is said, only the task ids in its outcomes, which are the
counts that ACE and ExpeL keep in fields of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentlab.library.planted import planted
from agentlab.library.road import static_insight
from agentlab.protocols import Embedder
from agentlab.types import Frozen, Insight, InsightChange, derive_id
from agentlab.types.insight import Outcomes

log = logging.getLogger(__name__)

CONDITION, UNLESS, ADVICE, EXAMPLE = 300, 200, 900, 400
"""Characters that a model may write into each text; together less than admission allows."""
DECIMALS = 9
"""Cosines are rounded to this, so that no machine's last bits decide an order."""

Condition = Annotated[str, Field(min_length=1, max_length=CONDITION)]


class Words(Frozen):
    """What an insight says, as a model is asked for it."""

    condition: Condition
    """When it applies."""
    negative_condition: str = Field(default="", max_length=UNLESS)
    """When it does not, although it seems to."""
    advice: str = Field(min_length=1, max_length=ADVICE)
    """What to do then, and why."""
    example: str = Field(default="", max_length=EXAMPLE)


def words_of(insight: Insight) -> Words:
    """What an insight says; texts that are too long for `Words` are kept as they are."""
    return Words.model_construct(
        condition=insight.condition,
        negative_condition=insight.negative_condition,
        advice=insight.advice,
        example=insight.example,
    )


def written(
    environment: str,
    words: Words,
    *,
    source_tasks: Iterable[str],
    taught_by: Iterable[str] = (),
    taxonomy: Sequence[str] = (),
    outcomes: Outcomes | None = None,
    parents: Sequence[Insight] = (),
) -> Insight:
    """An insight in these words: the first version, or the next one of its parents.

    Args:
        environment: where it was learnt.
        words: what it says.
        source_tasks: every task whose attempts its author was shown.
        taught_by: those that it says something of; none is all of them.
        taxonomy: from the general to the particular.
        outcomes: what is known of it already.
        parents: what it revises (one) or merges; the first becomes its `parent`.
    """
    version = 1 + max((parent.version for parent in parents), default=0)
    taught = tuple(dict.fromkeys(taught_by))
    sources = tuple(dict.fromkeys((*source_tasks, *taught)))
    texts = (words.condition, words.negative_condition, words.advice, words.example)
    texts = tuple(text.replace("\t", " ").strip() for text in texts)
    return Insight(
        id=derive_id("insight", environment, version, *texts, *sources),
        version=version,
        environment=environment,
        condition=texts[0],
        negative_condition=texts[1],
        advice=texts[2],
        example=texts[3],
        taxonomy=tuple(taxonomy),
        outcomes=outcomes or Outcomes(),
        source_tasks=sources,
        taught_by=taught if set(taught) != set(sources) else (),
        parent=parents[0].id if parents else None,
    )


def refusal(insight: Insight) -> str | None:
    """Why it is not worth proposing, or None; admission looks again."""
    what = planted(
        insight.condition,
        insight.negative_condition,
        insight.advice,
        insight.example,
        *insight.taxonomy,
    )
    return static_insight(insight) or (f"static: it holds {what}" if what else None)


def sound(insight: Insight) -> bool:
    """Whether it may be proposed; says in the log why one may not."""
    reason = refusal(insight)
    if reason is not None:
        log.info("An insight is dropped: %s", reason)
    return reason is None


def noted(
    insight: Insight,
    *,
    positive: Iterable[str] = (),
    negative: Iterable[str] = (),
    unretrieved: Iterable[str] = (),
    irrelevant: Iterable[str] = (),
) -> Insight:
    """The same insight with these tasks among its outcomes; a task counts once under a label."""
    more = Outcomes(
        positive=tuple(positive),
        negative=tuple(negative),
        unretrieved=tuple(unretrieved),
        irrelevant=tuple(irrelevant),
    )
    return insight.model_copy(update={"outcomes": together([insight.outcomes, more])})


def together(outcomes: Iterable[Outcomes]) -> Outcomes:
    """The outcomes of several, each task once under a label, in order."""
    rows = list(outcomes)
    return Outcomes(
        **{
            label: tuple(dict.fromkeys(task for row in rows for task in getattr(row, label)))
            for label in Outcomes.model_fields
        }
    )


def note(insight: Insight, why: str) -> InsightChange:
    """A change that keeps its id and words: only its outcomes are new."""
    return InsightChange(operation="revise", insight=insight, of=(insight.id,), reason=why)


def merged(
    environment: str,
    words: Words,
    members: Sequence[Insight],
    *,
    taxonomy: Sequence[str] = (),
    beside: Iterable[str] = (),
) -> InsightChange:
    """One insight in place of several, with the tasks and outcomes of all of them.

    Args:
        environment: where they were learnt.
        words: what it says.
        members: in whose place it stands.
        taxonomy: from the general to the particular; by default the first member's.
        beside: further tasks whose attempts the author of the words was shown.
    """
    insight = written(
        environment,
        words,
        source_tasks=[*(task for member in members for task in member.source_tasks), *beside],
        taught_by=[task for member in members for task in member.must_solve],
        taxonomy=taxonomy or members[0].taxonomy,
        outcomes=together([member.outcomes for member in members]),
        parents=members,
    )
    ids = tuple(member.id for member in members)
    return InsightChange(operation="merge", insight=insight, of=ids, reason="they say the same")


def shown(insight: Insight, *more: str) -> str:
    """An insight on one line, for a prompt."""
    parts = [*more, f"when: {insight.condition}"]
    if insight.negative_condition:
        parts.append(f"but not when: {insight.negative_condition}")
    parts.append(f"do: {insight.advice}")
    if insight.example:
        parts.append(f"for example: {insight.example}")
    return " | ".join(" ".join(part.split()) for part in parts)


def cosines(
    embedder: Embedder, queries: Sequence[str], texts: Sequence[str]
) -> NDArray[np.float64]:
    """Cosine of each query with each text, shape `(len(queries), len(texts))`, in [-1, 1]."""
    if not queries or not texts:
        return np.zeros((len(queries), len(texts)))
    left = embedder.embed(list(queries)).astype(np.float64)
    right = embedder.embed(list(texts)).astype(np.float64)
    return np.clip((left @ right.T).round(DECIMALS), -1.0, 1.0)


def nearest(similarities: Sequence[float], k: int, floor: float = -1.0) -> list[int]:
    """Places of the k largest values from `floor` on, largest first, ties by place."""
    places = [place for place, value in enumerate(similarities) if value >= floor]
    return sorted(places, key=lambda place: (-similarities[place], place))[:k]
