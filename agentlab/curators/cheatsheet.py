"""Dynamic Cheatsheet: notes for the agent, rewritten after attempts or written for a kind of task.

After Dynamic Cheatsheet (suzgunmirac/dynamic-cheatsheet, `language_model.py`). Cumulative: the
sheet is rewritten from (task, attempt, old sheet); a reply that cannot be used leaves the old sheet
as it is. Retrieval-synthesis: a sheet from the three most similar past attempts by cosine, least
similar first.

We differ: the evaluator's outcome stands beside each attempt, because without it errors stay on the
sheet; a sheet is bounded and is an insight, so that it is admitted, measured and retired like any
other; synthesis writes for a kind of task (a template) in which something failed, ahead of its next
attempts and not within one, and a reply that cannot be used gives nothing, where the release falls
back to the raw text of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from agentlab.curators.advice import Condition, Words, cosines, nearest, sound, written
from agentlab.curators.telling import practised, told
from agentlab.models.prompts import Prompt
from agentlab.models.structured import ask
from agentlab.protocols import InsightContext
from agentlab.types import (
    ChatRequest,
    Frozen,
    Insight,
    InsightChange,
    PastAttempt,
    Sampling,
    derive_seed,
)

SHEET = 1500
"""Characters of a sheet; an insight may have 2000 in all."""
NEAREST = 3
"""Past attempts from which a sheet is synthesised."""
SOURCES = 24
"""Tasks from which a cumulative sheet may be made. Admission solves all of them again for each
version, and none may be forgotten, since the sheet is not offered for a task it was made from."""
CUMULATIVE = ("cheatsheet", "cumulative")
SYNTHESIS = ("cheatsheet", "synthesis")


class Sheet(Frozen):
    """A sheet and what it is meant for."""

    condition: Condition
    sheet: str = Field(min_length=1, max_length=SHEET)


class _Cumulative(Frozen):
    attempt: str
    sheet: str
    most: int


class _Synthesis(Frozen):
    task: str
    attempts: tuple[str, ...]
    most: int


REWRITE = Prompt("agentlab.curators", "cheatsheet_cumulative", _Cumulative)
SYNTHESISE = Prompt("agentlab.curators", "cheatsheet_synthesis", _Synthesis)


class _Draft(NamedTuple):
    """The sheet as it stands and the tasks that went into it."""

    sheet: Sheet | None
    tasks: tuple[str, ...]


def least_similar_first(similarities: Sequence[float], k: int = NEAREST) -> list[int]:
    """Places of the k most similar, the least similar of them first; ties by place."""
    return nearest(similarities, k)[::-1]


class CumulativeCheatsheet:
    """Implements `protocols.InsightCurator` with one sheet for the environment.

    Args:
        attempts: that are worked into the sheet in a round, solved tasks first.
        unsolved: whether attempts at tasks that nobody solved in the round are worked in. What the
            sheet learns there holds it up: admission asks that all its tasks be solved with it.
        sampling: how replies are drawn; the seed is derived from the context's.
    """

    def __init__(
        self, *, attempts: int = 3, unsolved: bool = False, sampling: Sampling | None = None
    ) -> None:
        self._attempts = attempts
        self._unsolved = unsolved
        self._sampling = sampling or Sampling(max_tokens=2048)

    async def curate(self, context: InsightContext) -> Sequence[InsightChange]:
        """The sheet's next version, or nothing where no reply could be used.

        Raises:
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
        """
        old = _served(context, CUMULATIVE)
        draft = _Draft(None, old.source_tasks if old else ())
        for attempt in self._chosen(context, draft.tasks):
            before = draft.sheet.sheet if draft.sheet else old.advice if old else "empty"
            inputs = _Cumulative(attempt=told(attempt), sheet=before, most=SHEET)
            request = ChatRequest(
                messages=REWRITE.messages(inputs),
                sampling=_seeded(self._sampling, context, attempt.attempt_id),
                prompt=REWRITE.ref,
            )
            reply = await ask(context.model, request, Sheet)
            if reply is not None and _sound(context, reply, attempt):
                draft = _Draft(reply, (*draft.tasks, attempt.task.id))
        if draft.sheet is None or (old is not None and draft.sheet.sheet == old.advice):
            return ()
        return _change(context, draft.sheet, draft.tasks, CUMULATIVE, old)

    def _chosen(self, context: InsightContext, tasks: Sequence[str]) -> list[PastAttempt]:
        """At most one attempt a task: those of tasks that were solved, failures among them."""
        attempts = practised(context.attempts)
        solved = {attempt.task.id for attempt in attempts if attempt.success}
        room = min(self._attempts, SOURCES - len(tasks))
        by_task: dict[str, PastAttempt] = {}
        for attempt in attempts:
            fits = self._unsolved or attempt.task.id in solved
            if fits and attempt.task.id not in tasks:
                by_task.setdefault(attempt.task.id, attempt)
        rows = sorted(by_task.values(), key=lambda attempt: attempt.task.id not in solved)
        return rows[: max(room, 0)]


class SynthesisCheatsheet:
    """Implements `protocols.InsightCurator` with a sheet for each kind of task that wants one.

    Args:
        kinds: sheets that are written in a round, for the templates that failed most.
        sampling: how replies are drawn; the seed is derived from the context's.
    """

    def __init__(self, *, kinds: int = 4, sampling: Sampling | None = None) -> None:
        self._kinds = kinds
        self._sampling = sampling or Sampling(max_tokens=2048)

    async def curate(self, context: InsightContext) -> Sequence[InsightChange]:
        """A sheet for each kind of task in which something failed; none where a reply is unusable.

        Raises:
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
        """
        attempts = practised(context.attempts)
        changes: list[InsightChange] = []
        for query in self._queries(attempts):
            past = self._past(context, attempts, query)
            if not past:
                continue
            inputs = _Synthesis(
                task=query.task.instruction,
                attempts=tuple(told(attempt) for attempt in past),
                most=SHEET,
            )
            request = ChatRequest(
                messages=SYNTHESISE.messages(inputs),
                sampling=_seeded(self._sampling, context, query.attempt_id),
                prompt=SYNTHESISE.ref,
            )
            reply = await ask(context.model, request, Sheet)
            if reply is None:
                continue
            kind = (*SYNTHESIS, query.task.template)
            tasks = [query.task.id, *(attempt.task.id for attempt in past)]
            changes.extend(_change(context, reply, tasks, kind, _served(context, kind)))
        return changes

    def _queries(self, attempts: Sequence[PastAttempt]) -> list[PastAttempt]:
        """The first failure of each template, those with the most failures first."""
        failed: dict[str, list[PastAttempt]] = {}
        for attempt in attempts:
            if attempt.success is False:
                failed.setdefault(attempt.task.template, []).append(attempt)
        rows = sorted(failed.values(), key=lambda each: -len(each))
        return [each[0] for each in rows][: self._kinds]

    def _past(
        self, context: InsightContext, attempts: Sequence[PastAttempt], query: PastAttempt
    ) -> list[PastAttempt]:
        """The most similar attempts at other tasks, least similar first; a task comes once.

        Of several attempts at a task the first that solved it stands for it.
        """
        by_task: dict[str, PastAttempt] = {}
        for attempt in sorted(attempts, key=lambda each: each.success is not True):
            if attempt.task.id != query.task.id:
                by_task.setdefault(attempt.task.id, attempt)
        rows = list(by_task.values())
        texts = [attempt.task.instruction for attempt in rows]
        values = cosines(context.embedder, [query.task.instruction], texts)[0]
        return [rows[place] for place in least_similar_first(list(values))]


def _served(context: InsightContext, taxonomy: tuple[str, ...]) -> Insight | None:
    """The newest served sheet of that kind."""
    found = [insight for insight in context.library if insight.taxonomy == taxonomy]
    return max(found, key=lambda insight: (insight.version, insight.id), default=None)


def _sound(context: InsightContext, sheet: Sheet, attempt: PastAttempt) -> bool:
    """Whether a sheet may be gone on from: nothing planted gets into the next prompt."""
    return sound(written(context.environment, _words(sheet), source_tasks=[attempt.task.id]))


def _words(sheet: Sheet) -> Words:
    return Words.model_construct(condition=sheet.condition, advice=sheet.sheet)


def _change(
    context: InsightContext,
    sheet: Sheet,
    tasks: Sequence[str],
    taxonomy: tuple[str, ...],
    old: Insight | None,
) -> Sequence[InsightChange]:
    insight = written(
        context.environment,
        _words(sheet),
        source_tasks=tasks,
        taxonomy=taxonomy,
        outcomes=old.outcomes if old else None,
        parents=[old] if old else (),
    )
    if not sound(insight):
        return ()
    if old is None:
        return (InsightChange(operation="add", insight=insight),)
    return (InsightChange(operation="revise", insight=insight, of=(old.id,), reason="rewritten"),)


def _seeded(sampling: Sampling, context: InsightContext, name: str) -> Sampling:
    return sampling.model_copy(update={"seed": derive_seed(context.seed, "sheet", name) >> 32})
