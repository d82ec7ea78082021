"""Trying a task more than once within one attempt: what tries share, and what they add up to.

For executors that wrap another. Each try starts from a fresh reset and may spend what the ones
before it left; together they are one attempt. A try that was begun because another failed is help
that a first try has not: the attempt is then `assisted`, and its success counts in no rate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace

from agentlab.errors import SkillFaultError
from agentlab.executors.acting import Ended, offered_skills
from agentlab.executors.metering import part_of, refusals, remaining
from agentlab.protocols import Execution, ExecutionContext, Executor
from agentlab.types import (
    AttemptSpec,
    CodeVerifier,
    Insight,
    JsonObject,
    Offer,
    Trajectory,
    Usage,
    canonical_json,
    is_judged,
)

Verdict = Callable[[ExecutionContext, Trajectory], Awaitable[bool | None]]
"""Whether a try succeeded; None where that is not known, which is neither."""


async def environments_verdict(context: ExecutionContext, trajectory: Trajectory) -> bool | None:
    """What the task's verifier says: the environment's own word, or that of its code in a box."""
    task = context.spec.task
    if is_judged(task):
        return None
    if isinstance(task.verifier, CodeVerifier):
        final = trajectory.steps[-1].state if trajectory.steps else trajectory.initial_state
        if trajectory.initial_state is None or final is None:
            return None
        asked: JsonObject = {
            "initial": trajectory.initial_state,
            "final": final,
            "answer": trajectory.answer,
        }
        code = task.verifier
        try:
            said = await context.runtime.evaluate(code.source, "verify", asked, origin=code.origin)
        except SkillFaultError:  # it may not run here, or did not end: nobody knows
            return None
        return said if isinstance(said, bool) else None
    return bool(trajectory.steps) and trajectory.steps[-1].result.succeeded


class Tries:
    """The tries of one attempt.

    Args:
        context: of the whole attempt.
        inner: the executor of each try.
    """

    def __init__(self, context: ExecutionContext, inner: Executor) -> None:
        self._context = context
        self._inner = inner
        self._spent = Usage(attempts=1)
        self._refused = 0
        self.count = 0
        """How many there were."""
        self.last: Execution | None = None
        self.first_success: Usage | None = None

    @property
    def left(self) -> bool:
        """Whether anything is left to try with."""
        return remaining(self._context.spec.limits, self._spent, refused=self._refused) is not None

    async def once(self, spec: AttemptSpec, *, share: float = 1.0) -> Execution:
        """One more try, within what is left of the attempt's limits, or a share of them."""
        left = remaining(self._context.spec.limits, self._spent, refused=self._refused)
        if left is not None:
            spec = spec.model_copy(update={"limits": part_of(left, share)})
        done = await self._inner.execute(replace(self._context, spec=spec))
        if done.first_success is not None and self.first_success is None:
            self.first_success = _added(self._spent, done.first_success)
        self._spent = _added(self._spent, done.usage)
        self._refused += refusals(tuple(step.result for step in done.trajectory.steps))
        self.count += 1
        self.last = done
        return done

    def charge(self, tokens: int, seconds: float) -> None:
        """Count what the wrapper itself asked a model."""
        self._spent = _added(self._spent, Usage(tokens=tokens, wall_seconds=seconds))

    def finish(self) -> Ended:
        """The last try, with what all of them spent."""
        last = self.last
        assert last is not None, "an attempt has at least one try"
        ended = Ended(
            last.trajectory, self._spent, self.first_success, last.assisted or self.count > 1
        )
        ended.ending = getattr(last, "ending", "episode")
        ended.reason = getattr(last, "reason", "")
        ended.tries = self.count
        return ended


def advised(spec: AttemptSpec, lessons: Sequence[str], *, first: int = 1) -> AttemptSpec:
    """The spec with what was learnt in earlier tries as advice, quoted like any other.

    Args:
        spec: of the attempt.
        lessons: oldest first.
        first: number of the first of them, as its id says it.
    """
    made = tuple(
        Insight(
            id=f"reflection-{number}",
            environment=spec.task.environment,
            condition="this same task, which was tried before and failed",
            advice=lesson,
        )
        for number, lesson in enumerate(lessons, start=first)
    )
    return spec.model_copy(update={"insights": (*spec.insights, *made)})


def offering(spec: AttemptSpec, names: Collection[str]) -> AttemptSpec:
    """The spec with these of its offered skills alone; the others stay callable by them."""
    offered = {skill.id for skill in offered_skills(spec)}
    offers = tuple(
        Offer(
            item_id=skill.id,
            name=skill.name,
            probability=0.0,
            withheld=skill.id not in offered or skill.name not in names,
        )
        for skill in spec.skills
    )
    return spec.model_copy(update={"offers": offers})


def bare(spec: AttemptSpec) -> AttemptSpec:
    """The spec without any skill or insight."""
    return spec.model_copy(update={"skills": (), "insights": (), "offers": ()})


def happened(trajectory: Trajectory, *, most: int) -> str:
    """What a try did, a call a line, in at most about so many characters.

    Where that is too little, the calls in the middle are left out, which is said.
    """
    lines = [
        f"{number}. {step.call.tool} {_short(canonical_json(step.call.arguments), 200)} -> "
        + (
            f"refused: {_short(step.result.error, 200)}"
            if step.result.error is not None
            else _short(step.result.observation.text, 300)
        )
        for number, step in enumerate(trajectory.steps, start=1)
    ] or ["(no call was made)"]
    if trajectory.answer is not None:
        lines.append(f"The answer: {_short(trajectory.answer, 1000)}")
    head = [f"At first: {_short(trajectory.initial.text, 1000)}"]
    tail: list[str] = []
    room = most - len(head[0])
    for line in reversed(lines):
        room -= len(line) + 1
        if room < 0:
            head.append(f"({len(lines) - len(tail)} earlier lines are left out here)")
            break
        tail.insert(0, line)
    return "\n".join((*head, *tail))


def _short(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text) - most} more characters)"


def _added(one: Usage, other: Usage) -> Usage:
    """Both together, as one attempt."""
    return (one + other).model_copy(update={"attempts": 1})
