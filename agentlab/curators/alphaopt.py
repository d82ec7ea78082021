"""AlphaOPT: insights from failures, with a condition that is mended before the advice is.

After AlphaOPT (Minw913/AlphaOPT, `library_diagnosis.py`, `library_refinement.py`). A failure
gives one insight: condition, advice, example, taxonomy. Diagnosis labels what the insights did in
each attempt, and where one misled or was missed, five refined conditions are scored with a real
retrieval and the best is proposed, if it is above the baseline. Near insights are merged, with all
source tasks. Whatever is proposed is only a candidate: admission solves its source tasks again, up
to three times each, and every source task of a merged one.

We differ: labels that contradict the outcome are dropped (advice that was shown in a solved
attempt cannot have misled there); a refined condition must also beat what the present one gets
now; one merged insight is proposed and not ever smaller subsets of it; only tasks of the attempts
at hand can be asked about in retrieval, since their wording is needed. The advice is rewritten
only where no condition is better and it misled at least as often as it helped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from agentlab.config import RetrievalConfig
from agentlab.curators.advice import (
    ADVICE,
    Condition,
    Words,
    cosines,
    merged,
    nearest,
    note,
    noted,
    shown,
    sound,
    words_of,
    written,
)
from agentlab.curators.conditions import Conditions, Labels, labels_of
from agentlab.curators.telling import practised, told
from agentlab.models.prompts import Prompt
from agentlab.models.structured import ask
from agentlab.protocols import InsightContext
from agentlab.types import (
    ChatRequest,
    Frozen,
    Insight,
    InsightChange,
    Message,
    PastAttempt,
    PromptRef,
    Sampling,
    derive_seed,
)

VARIANTS = 5
"""Refined conditions that are asked for."""
LabelName = Literal["positive", "negative", "unretrieved", "irrelevant"]
ALLOWED: Mapping[tuple[bool, bool], frozenset[LabelName]] = {
    (True, True): frozenset({"positive", "irrelevant"}),
    (False, True): frozenset({"negative", "irrelevant"}),
    (False, False): frozenset({"unretrieved"}),
    (True, False): frozenset(),
}
"""Labels that fit, by whether the attempt was solved and whether the insight was shown."""


class Extraction(Frozen):
    """What a failure teaches."""

    insight: Words | None
    taxonomy: tuple[Annotated[str, Field(max_length=60)], ...] = Field(default=(), max_length=3)


class Label(Frozen):
    """What one insight did in an attempt."""

    insight: int
    label: LabelName


class Diagnosis(Frozen):
    """What the insights did in an attempt."""

    labels: tuple[Label, ...] = Field(max_length=64)


class Merging(Frozen):
    """Which insights say the same as a new one, and what all of them say."""

    members: tuple[int, ...] = Field(max_length=16)
    insight: Words | None


class Refinement(Frozen):
    """Conditions to choose from."""

    conditions: tuple[Condition, ...] = Field(min_length=1, max_length=VARIANTS)


class Rewriting(Frozen):
    """Another advice."""

    advice: Annotated[str, Field(min_length=1, max_length=ADVICE)] | None


class _Extract(Frozen):
    failed: str
    solved: str
    known: tuple[str, ...]


class _Diagnose(Frozen):
    attempt: str
    insights: tuple[str, ...]


class _Merge(Frozen):
    fresh: str
    others: tuple[str, ...]


class _Conditions(Frozen):
    count: int
    insight: str
    helped: tuple[str, ...]
    misled: tuple[str, ...]
    missed: tuple[str, ...]


class _Advice(Frozen):
    insight: str
    helped: tuple[str, ...]
    misled: tuple[str, ...]


EXTRACT = Prompt("agentlab.curators", "alphaopt_extract", _Extract)
DIAGNOSE = Prompt("agentlab.curators", "alphaopt_diagnose", _Diagnose)
MERGE = Prompt("agentlab.curators", "alphaopt_merge", _Merge)
CONDITIONS = Prompt("agentlab.curators", "alphaopt_conditions", _Conditions)
REWRITE = Prompt("agentlab.curators", "alphaopt_advice", _Advice)


class _Pass(NamedTuple):
    """One round's work: what it is made from."""

    context: InsightContext
    attempts: Sequence[PastAttempt]
    sampling: Sampling


class AlphaOptCurator:
    """Implements `protocols.InsightCurator`. See the module.

    Args:
        failures: failed tasks of a round from which an insight is extracted, in slot order.
        diagnoses: attempts of a round that are diagnosed, failed ones first.
        near: insights that are looked at beside those that were shown, and for a merge.
        alike: cosine of two insights' documents from which a merge is considered.
        retrieval: as attempts are offered insights; conditions are scored with it.
        sampling: how replies are drawn; the seed is derived from the context's.
    """

    def __init__(
        self,
        *,
        failures: int = 8,
        diagnoses: int = 24,
        near: int = 3,
        alike: float = 0.6,
        retrieval: RetrievalConfig | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self._failures = failures
        self._diagnoses = diagnoses
        self._near = near
        self._alike = alike
        self._retrieval = retrieval or RetrievalConfig(k=4, tokens=1500)
        self._sampling = sampling or Sampling(max_tokens=2048)

    async def curate(self, context: InsightContext) -> Sequence[InsightChange]:
        """Outcomes first, then refined insights, new ones, and merges of those.

        Raises:
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
        """
        seed = derive_seed(context.seed, "alphaopt") >> 32
        sampling = self._sampling.model_copy(update={"seed": seed})
        work = _Pass(context, practised(context.attempts), sampling)
        library = await self._diagnosed(work)
        before = {insight.id: insight for insight in context.library}
        changes = [note(i, "diagnosed") for i in library if i.outcomes != before[i.id].outcomes]
        revised = await self._refined(work, library)
        changes.extend(revised)
        gone = {key for change in revised for key in change.of}
        fresh = await self._extracted(work, library)
        changes.extend(InsightChange(operation="add", insight=insight) for insight in fresh)
        kept = [insight for insight in library if insight.id not in gone]
        changes.extend(await self._merges(work, fresh, kept))
        return changes

    # --- diagnosis --------------------------------------------------------------------------

    async def _diagnosed(self, work: _Pass) -> list[Insight]:
        """The served insights with this round's labels among their outcomes."""
        library = {insight.id: insight for insight in work.context.library}
        attempts = sorted(work.attempts, key=lambda attempt: attempt.success is True)
        asked = 0
        near = self._near_tasks(work, attempts)
        for attempt, others in zip(attempts, near, strict=True):
            offered = [key for key in attempt.insights if key in library]
            more = [key for key in others if key not in offered]
            keys = offered + (more[: self._near] if attempt.success is False else [])
            if not keys or asked == self._diagnoses:
                continue
            asked += 1
            lines = tuple(
                shown(library[key], f"{number}", "shown" if key in offered else "not shown")
                for number, key in enumerate(keys, start=1)
            )
            inputs = _Diagnose(attempt=told(attempt), insights=lines)
            request = _request(work, DIAGNOSE.messages(inputs), DIAGNOSE.ref)
            found = await ask(work.context.model, request, Diagnosis)
            for label in found.labels if found else ():
                if not 1 <= label.insight <= len(keys):
                    continue
                key = keys[label.insight - 1]
                if label.label in ALLOWED[attempt.success is True, key in offered]:
                    library[key] = _labelled(library[key], label.label, attempt.task.id)
        return list(library.values())

    def _near_tasks(self, work: _Pass, attempts: Sequence[PastAttempt]) -> list[list[str]]:
        """For each attempt, the insights that may be offered for its task, the nearest first."""
        library = work.context.library
        values = cosines(
            work.context.embedder,
            [attempt.task.instruction for attempt in attempts],
            [insight.document for insight in library],
        )
        return [
            [
                library[place].id
                for place in nearest(list(row), len(library))
                if attempt.task.id not in library[place].source_tasks
            ]
            for attempt, row in zip(attempts, values, strict=True)
        ]

    # --- refinement -------------------------------------------------------------------------

    async def _refined(self, work: _Pass, library: Sequence[Insight]) -> list[InsightChange]:
        """The next versions of insights that misled or were missed."""
        instructions = {a.task.id: a.task.instruction for a in work.attempts}
        wanting = [i for i in library if i.outcomes.negative or i.outcomes.unretrieved]
        if not wanting:
            return []
        conditions = Conditions(library, work.context.embedder, self._retrieval)
        changes: list[InsightChange] = []
        for insight in wanting:
            labels = labels_of(insight.outcomes, instructions)
            if not labels.negative and not labels.unretrieved:
                continue
            words = await self._refined_words(work, insight, labels, conditions)
            if words is None:
                continue
            new, why = words
            better = written(
                work.context.environment,
                new,
                source_tasks=(*insight.source_tasks, *labels.tasks),
                taught_by=insight.must_solve,
                taxonomy=insight.taxonomy,
                outcomes=insight.outcomes,
                parents=[insight],
            )
            if sound(better):
                changes.append(
                    InsightChange(operation="revise", insight=better, of=(insight.id,), reason=why)
                )
        return changes

    async def _refined_words(
        self, work: _Pass, insight: Insight, labels: Labels, conditions: Conditions
    ) -> tuple[Words, str] | None:
        """A better condition, or failing that another advice, and the reason."""
        words = words_of(insight)
        helped, misled = tuple(labels.positive.values()), tuple(labels.negative.values())
        inputs = _Conditions(
            count=VARIANTS,
            insight=shown(insight),
            helped=helped,
            misled=misled,
            missed=tuple(labels.unretrieved.values()),
        )
        request = _request(work, CONDITIONS.messages(inputs), CONDITIONS.ref)
        reply = await ask(work.context.model, request, Refinement)
        variants = [text.strip() for text in reply.conditions] if reply else []
        best = conditions.best(insight, [v for v in variants if v != insight.condition], labels)
        if best is not None:
            why = f"its condition scores {best.score:.2f} of 1 on {labels.total} labelled tasks"
            return words.model_copy(update={"condition": best.condition}), why
        if not misled or len(misled) < len(helped):
            return None
        told_ = _Advice(insight=shown(insight), helped=helped, misled=misled)
        request = _request(work, REWRITE.messages(told_), REWRITE.ref)
        other = await ask(work.context.model, request, Rewriting)
        if other is None or other.advice is None or other.advice.strip() == insight.advice:
            return None
        why = f"it misled in {len(misled)} of {len(misled) + len(helped)} tasks"
        return words.model_copy(update={"advice": other.advice}), why

    # --- extraction and merging -------------------------------------------------------------

    async def _extracted(self, work: _Pass, library: Sequence[Insight]) -> list[Insight]:
        """An insight from each failed task that no served one was derived from."""
        taught = {task for insight in library for task in insight.source_tasks}
        failed: dict[str, PastAttempt] = {}
        solved: dict[str, PastAttempt] = {}
        for attempt in work.attempts:
            (solved if attempt.success else failed).setdefault(attempt.task.id, attempt)
        chosen = [attempt for key, attempt in failed.items() if key not in taught]
        found: dict[str, Insight] = {}
        for attempt in chosen[: self._failures]:
            similar = self._similar(work, attempt.task.instruction, [*library, *found.values()])
            contrast = solved.get(attempt.task.id)
            inputs = _Extract(
                failed=told(attempt),
                solved=told(contrast) if contrast else "none",
                known=tuple(shown(insight) for insight in similar) or ("none",),
            )
            request = _request(work, EXTRACT.messages(inputs), EXTRACT.ref)
            reply = await ask(work.context.model, request, Extraction)
            if reply is None or reply.insight is None:
                continue
            insight = written(
                work.context.environment,
                reply.insight,
                source_tasks=[attempt.task.id],
                taxonomy=reply.taxonomy,
            )
            if sound(insight):
                found[insight.id] = insight
        return list(found.values())

    def _similar(self, work: _Pass, text: str, insights: Sequence[Insight]) -> list[Insight]:
        values = cosines(work.context.embedder, [text], [i.document for i in insights])
        return [insights[place] for place in nearest(list(values[0]), self._near)]

    async def _merges(
        self, work: _Pass, fresh: Sequence[Insight], kept: Sequence[Insight]
    ) -> list[InsightChange]:
        """New insights merged with what is near them; nothing is merged twice in a round."""
        pool = [*kept, *fresh]
        texts = [insight.document for insight in pool]
        changes: list[InsightChange] = []
        used: set[str] = set()
        for insight in fresh:
            row = cosines(work.context.embedder, [insight.document], texts)[0]
            near = [pool[place] for place in nearest(list(row), len(pool), self._alike)]
            near = [o for o in near if o.id != insight.id and o.id not in used][: self._near]
            if not near or insight.id in used:
                continue
            lines = tuple(shown(other, str(n)) for n, other in enumerate(near, start=1))
            inputs = _Merge(fresh=shown(insight), others=lines)
            request = _request(work, MERGE.messages(inputs), MERGE.ref)
            reply = await ask(work.context.model, request, Merging)
            if reply is None or reply.insight is None:
                continue
            places = [n for n in dict.fromkeys(reply.members) if 1 <= n <= len(near)]
            members = [*(near[n - 1] for n in places), insight]
            change = merged(work.context.environment, reply.insight, members)
            if len(members) > 1 and change.insight is not None and sound(change.insight):
                used.update(change.of)
                changes.append(change)
        return changes


def _labelled(insight: Insight, label: LabelName, task: str) -> Insight:
    match label:
        case "positive":
            return noted(insight, positive=[task])
        case "negative":
            return noted(insight, negative=[task])
        case "unretrieved":
            return noted(insight, unretrieved=[task])
        case "irrelevant":
            return noted(insight, irrelevant=[task])


def _request(work: _Pass, messages: tuple[Message, ...], ref: PromptRef) -> ChatRequest:
    return ChatRequest(messages=messages, sampling=work.sampling, prompt=ref)
