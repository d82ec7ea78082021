"""One attempt in full, beside a sibling of its group where one is chosen.

Everything that a page could choke on is cut here, and said to be: steps come a part at a time, and
a long text is shown from its beginning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from agentlab.errors import UnknownNameError
from agentlab.records import AttemptRow, Records
from agentlab.records.feedback import FeedbackRow
from agentlab.types import (
    Frozen,
    Invocation,
    ModelCall,
    Offer,
    Score,
    Step,
    Task,
)

STEPS = 100
"""Shown on one page."""
LONGEST = 20_000
"""Characters of one text."""
CALLS = 100


class StepShown(Frozen):
    """One tool call."""

    number: int
    """From 1."""
    tool: str
    arguments: str
    observation: str
    error: str | None
    reward: float
    steps: int
    ended: str
    """`terminated`, `truncated` or nothing."""
    state: str
    images: tuple[str, ...]
    skill: str
    """The skill that made the call; empty where none did."""
    begins: bool
    """Whether the skill's call begins here."""
    skill_arguments: str


class CallShown(Frozen):
    """One request to a model."""

    number: int
    model: str
    role: str
    tokens: int
    usd: float
    request: str
    response: str
    redacted: bool


class AttemptShown(Frozen):
    """One side of the page."""

    row: AttemptRow
    task: Task
    score: Score
    value: str
    evidence: str
    ending: str
    reason: str
    assisted: bool
    said: tuple[FeedbackRow, ...]
    """What people said of it, oldest first, whether or not it became the score."""
    answer: str | None
    offers: tuple[Offer, ...]
    whose: dict[str, str]
    """The path of the scope of each skill that was offered, by its id and by its name."""
    first: str
    """The observation before the first step."""
    first_images: tuple[str, ...]
    first_state: str
    steps: tuple[StepShown, ...]
    total_steps: int
    calls: tuple[CallShown, ...]
    total_calls: int
    files: tuple[tuple[str, str], ...]
    """Name and digest."""
    executor: str

    @property
    def offered(self) -> list[tuple[Offer, str]]:
        """What was retrieved, each with what it is: `skill`, `insight` or `rewrite`."""
        kinds = ("insight", "rewrite")
        return [
            (each, kind if (kind := each.item_id.partition("-")[0]) in kinds else "skill")
            for each in self.offers
        ]


class AttemptPage(Frozen):
    """An attempt, and the one beside it."""

    run_id: str
    left: AttemptShown
    right: AttemptShown | None
    siblings: tuple[AttemptRow, ...]
    start: int
    """Steps before the first that is shown."""
    earlier: int | None
    """Where the part before begins; None where there is none."""
    later: int | None


def make(
    records: Records, run_id: str, attempt_id: str, *, beside: str = "", start: int = 0
) -> AttemptPage:
    """An attempt of a run.

    Raises:
        UnknownNameError: the run has no such attempt on record, or the one beside it is none of
            its group.
    """
    row = records.browsing.attempt(attempt_id)
    if row is None or row.run_id != run_id:
        raise UnknownNameError("attempt of the run", attempt_id, ())
    siblings = records.browsing.siblings(row)
    other = next((each for each in siblings if each.attempt_id == beside), None)
    if beside and other is None:
        raise UnknownNameError(
            "attempt in the same group", beside, [each.attempt_id for each in siblings]
        )
    left = _shown(records, row, start)
    right = _shown(records, other, start) if other is not None else None
    longest = max(left.total_steps, right.total_steps if right is not None else 0)
    return AttemptPage(
        run_id=run_id,
        left=left,
        right=right,
        siblings=tuple(siblings),
        start=start,
        earlier=max(0, start - STEPS) if start else None,
        later=start + STEPS if start + STEPS < longest else None,
    )


def _shown(records: Records, row: AttemptRow, start: int) -> AttemptShown:
    spec = records.browsing.spec(row.attempt_id)
    outcome = records.trajectories.outcome(row.attempt_id)
    trajectory = outcome.trajectory
    steps = trajectory.steps if trajectory else ()
    calls = trajectory.model_calls if trajectory else ()
    by = _makers(trajectory.invocations if trajectory else ())
    score = outcome.score
    return AttemptShown(
        row=row,
        task=spec.task,
        score=score.model_copy(update={"explanation": cut(score.explanation)}),
        value="unknown" if score.value is None else f"{score.value:g}",
        evidence=pretty(score.evidence),
        ending=outcome.ending,
        reason=cut(outcome.reason),
        assisted=outcome.assisted,
        said=tuple(records.feedback.of(row.attempt_id)),
        answer=cut(trajectory.answer) if trajectory and trajectory.answer is not None else None,
        offers=spec.offers,
        whose=_whose(records, spec.offers),
        first=cut(trajectory.initial.text) if trajectory else "",
        first_images=trajectory.initial.images if trajectory else (),
        first_state=pretty(trajectory.initial_state if trajectory else None),
        steps=tuple(
            _step(number, step, by.get(number))
            for number, step in enumerate(steps[start : start + STEPS], start=start)
        ),
        total_steps=len(steps),
        calls=tuple(_call(number, call) for number, call in enumerate(calls[:CALLS], start=1)),
        total_calls=len(calls),
        files=tuple(sorted(outcome.files.items())),
        executor=spec.executor,
    )


def _whose(records: Records, offers: tuple[Offer, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for offer in offers:
        try:
            path = records.items.skill(offer.item_id).scope
        except UnknownNameError:  # an insight, or an item of another workspace
            continue
        found |= {offer.item_id: path, offer.name: path}
    return found


def _makers(invocations: tuple[Invocation, ...]) -> dict[int, Invocation]:
    """The innermost skill call that each step belongs to."""
    found: dict[int, Invocation] = {}
    for each in sorted(invocations, key=lambda i: (i.first_step, -i.end_step)):
        found.update(dict.fromkeys(range(each.first_step, each.end_step), each))
    return found


def _step(number: int, step: Step, by: Invocation | None) -> StepShown:
    result = step.result
    ended = "terminated" if result.terminated else "truncated" if result.truncated else ""
    return StepShown(
        number=number + 1,
        tool=step.call.tool,
        arguments=_arguments(step.call.arguments),
        observation=cut(result.observation.text),
        error=None if result.error is None else cut(result.error),
        reward=result.reward,
        steps=result.steps,
        ended=ended,
        state=pretty(step.state),
        images=result.observation.images,
        skill=by.skill if by else "",
        begins=by is not None and by.first_step == number,
        skill_arguments=_arguments(by.arguments) if by else "",
    )


def _call(number: int, call: ModelCall) -> CallShown:
    return CallShown(
        number=number,
        model=call.model,
        role=call.role,
        tokens=call.tokens,
        usd=call.usd,
        request=pretty(call.request),
        response=pretty(call.response),
        redacted=call.redacted,
    )


def _arguments(arguments: Mapping[str, JsonValue]) -> str:
    parts = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items()]
    return cut(", ".join(parts), 2000)


def pretty(value: JsonValue | Mapping[str, JsonValue]) -> str:
    """JSON as a person reads it; nothing where there is nothing."""
    if value is None or value == {}:
        return ""
    return cut(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True))


def cut(text: str, most: int = LONGEST) -> str:
    """The text from its beginning, with a word of what was left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]}\n… {len(text) - most:,} more characters are on record."
