"""ACE: a playbook that grows by small changes, with a count of help and harm for each bullet.

After Agentic Context Engineering (ace-agent/ace, `playbook_utils.py`, `bulletpoint_analyzer.py`).
A reflector tags each bullet that an attempt was shown as helpful, harmful or neutral; a curator
answers with delta operations; bullets whose cosine is .90 or more become one and their counts are
summed. The whole is never written anew. The release carries out ADD alone and never reads its
counters; here ADD, UPDATE, MERGE and DELETE are carried out and problematic and unused bullets are
proposed for removal.

A bullet is an insight: its section is the first word of the taxonomy, its counts are the numbers
of tasks in its outcomes (helpful is `positive`, harmful `negative`, neutral `irrelevant`), so that
they travel with it and need no table. A task counts once under a tag, however often it was tried.

We differ: a bullet is retrieved like any insight, and not the whole playbook shown; a DELETE that
the counts speak against is not carried out, because what a model reads of an attempt could have
asked for it; one task is not enough to call a bullet problematic, nor one to call it unused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from agentlab.curators.advice import (
    Words,
    cosines,
    merged,
    note,
    noted,
    shown,
    sound,
    words_of,
    written,
)
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

SECTIONS = ("strategies", "tools", "checks", "pitfalls", "others")
OTHERS = "others"
SAME = 0.9
"""Cosine from which two bullets are one."""
OPERATIONS = 12
"""Operations that one reply may hold."""
MOST = 80
"""Bullets that the curator is shown, those with the most evidence."""
Standing = Literal["high-performing", "problematic", "unused", "undecided"]


class Tag(Frozen):
    """What a bullet did in an attempt."""

    bullet: int
    tag: Literal["helpful", "harmful", "neutral"]


class Reflection(Frozen):
    """What an attempt says of the bullets that it was shown, and what it teaches."""

    tags: tuple[Tag, ...] = Field(default=(), max_length=64)
    lesson: str = Field(max_length=1200)


class Operation(Frozen):
    """One change of the playbook."""

    operation: Literal["ADD", "UPDATE", "MERGE", "DELETE"]
    section: str = Field(default="", max_length=60)
    bullets: tuple[int, ...] = Field(default=(), max_length=32)
    attempts: tuple[int, ...] = Field(default=(), max_length=32)
    words: Words | None = None
    reason: str = Field(default="", max_length=300)


class Delta(Frozen):
    """Changes of the playbook, in order."""

    operations: tuple[Operation, ...] = Field(max_length=OPERATIONS)


class _Reflect(Frozen):
    attempt: str
    bullets: tuple[str, ...]


class _Curate(Frozen):
    sections: str
    bullets: tuple[str, ...]
    lessons: tuple[str, ...]
    most: int


class _Same(Frozen):
    bullets: tuple[str, ...]


REFLECT = Prompt("agentlab.curators", "ace_reflect", _Reflect)
CURATE = Prompt("agentlab.curators", "ace_curate", _Curate)
SAME_WORDS = Prompt("agentlab.curators", "ace_merge", _Same)


class Counts(NamedTuple):
    """Tasks in which a bullet helped, and in which it harmed."""

    helpful: int
    harmful: int


def counts(bullet: Insight) -> Counts:
    """The counts of a bullet."""
    return Counts(len(bullet.outcomes.positive), len(bullet.outcomes.negative))


def standing(found: Counts) -> Standing:
    """What the counts say: helpful > 5 and harmful < 2; harmful ≥ helpful and > 0; both 0."""
    if found.helpful > 5 and found.harmful < 2:
        return "high-performing"
    if found.harmful >= found.helpful and found.harmful > 0:
        return "problematic"
    return "unused" if found == (0, 0) else "undecided"


def section_of(name: str) -> str:
    """The section of that name, `others` where there is none."""
    name = name.strip().casefold()
    return name if name in SECTIONS else OTHERS


def tagged(bullet: Insight, tag: str, task: str) -> Insight:
    """The bullet with one more task under a tag."""
    match tag:
        case "helpful":
            return noted(bullet, positive=[task])
        case "harmful":
            return noted(bullet, negative=[task])
        case _:
            return noted(bullet, irrelevant=[task])


class AceCurator:
    """Implements `protocols.InsightCurator`. See the module.

    Args:
        reflections: attempts of a round that are reflected on, those that were shown bullets and
            those that failed first.
        harmed: tasks that a problematic bullet must have harmed before its removal is proposed.
        idle: tasks in which an unused bullet must have been shown before its removal is proposed.
        sampling: how replies are drawn; the seed is derived from the context's.
    """

    def __init__(
        self,
        *,
        reflections: int = 24,
        harmed: int = 2,
        idle: int = 5,
        sampling: Sampling | None = None,
    ) -> None:
        self._reflections = reflections
        self._harmed = harmed
        self._idle = idle
        self._sampling = sampling or Sampling(max_tokens=2048)

    async def curate(self, context: InsightContext) -> Sequence[InsightChange]:
        """Counts first, then the delta, what became one by its likeness, and removals.

        Raises:
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
        """
        attempts = self._chosen(context)
        playbook, lessons = await self._reflected(context, attempts)
        before = {insight.id: insight.outcomes for insight in context.library}
        changes = [note(b, "tagged") for b in playbook.values() if b.outcomes != before[b.id]]
        delta = _Delta(self, context, attempts, playbook)
        if lessons:
            changes.extend(await delta.ask(lessons))
        changes.extend(await delta.same())
        changes.extend(
            InsightChange(operation="remove", of=(bullet.id,), reason=why)
            for bullet in playbook.values()
            if bullet.id not in delta.changed and (why := self.speaks_against(bullet))
        )
        return changes

    def speaks_against(self, bullet: Insight) -> str:
        """Why the counts speak for the removal of a bullet; empty where they do not."""
        found = counts(bullet)
        shown_in = len(bullet.outcomes.irrelevant)
        match standing(found):
            case "problematic" if found.harmful >= self._harmed:
                return (
                    f"problematic: it helped in {found.helpful} tasks and harmed in {found.harmful}"
                )
            case "unused" if shown_in >= self._idle:
                return f"unused: of no use in any of {shown_in} tasks in which it was shown"
            case _:
                return ""

    def request(
        self, context: InsightContext, messages: tuple[Message, ...], ref: PromptRef
    ) -> ChatRequest:
        """A request with the seed of this round."""
        seed = derive_seed(context.seed, "ace") >> 32
        sampling = self._sampling.model_copy(update={"seed": seed})
        return ChatRequest(messages=messages, sampling=sampling, prompt=ref)

    def _chosen(self, context: InsightContext) -> list[PastAttempt]:
        attempts = practised(context.attempts)
        attempts.sort(key=lambda attempt: (not attempt.insights, attempt.success is True))
        return attempts[: self._reflections]

    async def _reflected(
        self, context: InsightContext, attempts: Sequence[PastAttempt]
    ) -> tuple[dict[str, Insight], dict[int, str]]:
        """The playbook with new counts, and the lesson of each attempt by its number."""
        playbook = {insight.id: insight for insight in context.library}
        lessons: dict[int, str] = {}
        for number, attempt in enumerate(attempts, start=1):
            keys = [key for key in dict.fromkeys(attempt.insights) if key in playbook]
            lines = tuple(shown(playbook[key], str(n)) for n, key in enumerate(keys, start=1))
            inputs = _Reflect(attempt=told(attempt), bullets=lines or ("none",))
            request = self.request(context, REFLECT.messages(inputs), REFLECT.ref)
            reply = await ask(context.model, request, Reflection)
            if reply is None:
                continue
            lessons[number] = f"{number} | {' '.join(reply.lesson.split())}"
            for tag in reply.tags:
                if 1 <= tag.bullet <= len(keys):
                    key = keys[tag.bullet - 1]
                    playbook[key] = tagged(playbook[key], tag.tag, attempt.task.id)
        return playbook, lessons


class _Delta:
    """One round's changes of the playbook. The first change of a bullet is the one that counts."""

    def __init__(
        self,
        curator: AceCurator,
        context: InsightContext,
        attempts: Sequence[PastAttempt],
        playbook: dict[str, Insight],
    ) -> None:
        self._curator = curator
        self._context = context
        self._attempts = attempts
        self._playbook = playbook
        self._fresh: dict[str, Insight] = {}
        self._seen: list[str] = []
        self.changed: set[str] = set()

    async def ask(self, lessons: dict[int, str]) -> list[InsightChange]:
        """What the curator's operations come to; those that make no sense are passed over."""
        bullets = sorted(self._playbook.values(), key=lambda b: (-sum(counts(b)), b.id))[:MOST]
        lines = tuple(self._line(bullet, n) for n, bullet in enumerate(bullets, start=1))
        inputs = _Curate(
            sections=", ".join(SECTIONS),
            bullets=lines or ("none yet",),
            lessons=tuple(lessons.values()),
            most=OPERATIONS,
        )
        request = self._curator.request(self._context, CURATE.messages(inputs), CURATE.ref)
        reply = await ask(self._context.model, request, Delta)
        changes: list[InsightChange] = []
        for operation in reply.operations if reply else ():
            changes.extend(self._carried_out(operation, bullets, lessons))
        return changes

    def _line(self, bullet: Insight, number: int) -> str:
        found = counts(bullet)
        section = section_of(bullet.taxonomy[0] if bullet.taxonomy else "")
        head = f"{number} [{section}] helpful={found.helpful} harmful={found.harmful}"
        return shown(bullet, head)

    def _carried_out(
        self, operation: Operation, bullets: Sequence[Insight], lessons: dict[int, str]
    ) -> list[InsightChange]:
        places = [n for n in dict.fromkeys(operation.bullets) if 1 <= n <= len(bullets)]
        named = [bullets[n - 1] for n in places if bullets[n - 1].id not in self.changed]
        tasks = [self._attempts[n - 1].task.id for n in operation.attempts if n in lessons]
        # Whatever a delta names, all of these were before its author's eyes.
        self._seen = [self._attempts[n - 1].task.id for n in sorted(lessons)]
        match operation.operation:
            case "ADD":
                return self._add(operation, tasks)
            case "UPDATE":
                return self._update(operation, named, tasks)
            case "MERGE":
                return self._merge(operation, named)
            case "DELETE":
                return self._delete(operation, named)

    def _add(self, operation: Operation, tasks: Sequence[str]) -> list[InsightChange]:
        if operation.words is None or not tasks:
            return []
        bullet = written(
            self._context.environment,
            operation.words,
            source_tasks=[*tasks, *self._seen],
            taught_by=tasks,
            taxonomy=[section_of(operation.section)],
        )
        if not sound(bullet) or bullet.id in self._fresh:
            return []
        self._fresh[bullet.id] = bullet
        return [InsightChange(operation="add", insight=bullet, reason=operation.reason)]

    def _update(
        self, operation: Operation, named: Sequence[Insight], tasks: Sequence[str]
    ) -> list[InsightChange]:
        if operation.words is None or len(named) != 1:
            return []
        (old,) = named
        bullet = written(
            self._context.environment,
            operation.words,
            source_tasks=[*old.source_tasks, *tasks, *self._seen],
            taught_by=[*old.must_solve, *tasks],
            taxonomy=[section_of(operation.section)] if operation.section else old.taxonomy,
            outcomes=old.outcomes,
            parents=[old],
        )
        if not sound(bullet):
            return []
        self.changed.add(old.id)
        why = operation.reason
        return [InsightChange(operation="revise", insight=bullet, of=(old.id,), reason=why)]

    def _merge(self, operation: Operation, named: Sequence[Insight]) -> list[InsightChange]:
        if operation.words is None or len(named) < 2:
            return []
        section = [section_of(operation.section)] if operation.section else ()
        return self._merged(operation.words, named, section, self._seen)

    def _delete(self, operation: Operation, named: Sequence[Insight]) -> list[InsightChange]:
        changes: list[InsightChange] = []
        for bullet in named:
            why = self._curator.speaks_against(bullet)
            if why:
                self.changed.add(bullet.id)
                changes.append(InsightChange(operation="remove", of=(bullet.id,), reason=why))
        return changes

    async def same(self) -> list[InsightChange]:
        """Bullets that are nearly the same, merged; untouched ones and new ones alike."""
        known = (*self._playbook.values(), *self._fresh.values())
        rows = [bullet for bullet in known if bullet.id not in self.changed]
        texts = [bullet.document for bullet in rows]
        changes: list[InsightChange] = []
        for group in groups(cosines(self._context.embedder, texts, texts).tolist()):
            members = [rows[place] for place in group]
            lines = tuple(shown(bullet) for bullet in members)
            request = self._curator.request(
                self._context, SAME_WORDS.messages(_Same(bullets=lines)), SAME_WORDS.ref
            )
            words = await ask(self._context.model, request, Words)
            # Without new words the member with the best counts speaks for all of them.
            best = max(members, key=lambda b: counts(b).helpful - counts(b).harmful)
            changes.extend(self._merged(words or words_of(best), members, ()))
        return changes

    def _merged(
        self,
        words: Words,
        members: Sequence[Insight],
        section: Sequence[str],
        beside: Sequence[str] = (),
    ) -> list[InsightChange]:
        change = merged(self._context.environment, words, members, taxonomy=section, beside=beside)
        if change.insight is None or not sound(change.insight):
            return []
        self.changed.update(change.of)
        return [change]


def groups(similarities: Sequence[Sequence[float]]) -> list[list[int]]:
    """Places of what is nearly the same, for two or more; the first of each group decides.

    Each place joins the first group whose first member it resembles at `SAME` or more, so that
    a chain of small differences does not become one group.
    """
    found: list[list[int]] = []
    for place, row in enumerate(similarities):
        home = next((group for group in found if row[group[0]] >= SAME), None)
        if home is None:
            found.append([place])
        else:
            home.append(place)
    return [group for group in found if len(group) > 1]
