"""Tasks aimed at what the agent cannot do yet, from its failures and what was said of them.

ACuRL tells its generator to go by the success rate: above 70 % harder and wholly new, 30 to 70 %
a lateral variant, below 30 % a prerequisite. Socratic-Zero has a teacher rewrite (task, failed
solution) into a task that targets the failure. Both rest on a prompt; here the band is computed
(`learnability.band`) from unassisted attempts, with their number, and the prompt is told only the
one kind of task that is wanted. Which kinds of task are taken up first goes by Socratic-Zero's
utility. With fewer than four attempts of a kind, the rate of all attempts stands in and is named
as such; with fewer than four in all, nothing is known to be weak and nothing is proposed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.models.prompts import Prompt, Trusted
from agentlab.proposers.archive import Archives
from agentlab.proposers.desk import PACKAGE, Desk, Page, Work, checking, side_by_side
from agentlab.proposers.learnability import Band, Measured, band, measured, utility
from agentlab.proposers.surroundings import (
    LONGEST_PAGE,
    clip,
    described,
    look,
    shown_calls,
    shown_skills,
    shown_state,
    shown_tools,
)
from agentlab.protocols import ProposalContext
from agentlab.types import Frozen, PastAttempt, Task

NAME = "weakness"
TASKS_A_REPLY = 3
MOST_FAILURES = 4
"""Failed attempts of a kind that a prompt is shown."""
LONGEST_FEEDBACK = 800

DIRECTIONS: dict[Band, str] = {
    "harder": (
        "the agent mostly succeeds at this kind of task, so write tasks that are harder and "
        "wholly new: more steps that depend on each other, other goals, no rewording."
    ),
    "lateral": (
        "the agent succeeds now and then, so write lateral variants: as hard as the task shown, "
        "with other particulars or in another situation, where the same mistakes would show."
    ),
    "prerequisite": (
        "the agent mostly fails, so write prerequisites: the one step or ability that its "
        "failures lack, as a short task of its own."
    ),
}


class WeaknessInputs(Frozen):
    """What the prompt is told."""

    count: int
    direction: Trusted
    measured: str
    subject: str
    failures: str
    description: str
    observation: str
    state: str
    tools: str
    library: str
    solved: str
    refused: str
    checking: Trusted


PROMPT = Prompt(PACKAGE, "weakness", WeaknessInputs)


class Subject(NamedTuple):
    """A kind of task that was attempted, and what is to follow from it."""

    template: str
    measured: Measured
    band: Band
    attempts: tuple[PastAttempt, ...]

    @property
    def failures(self) -> tuple[PastAttempt, ...]:
        """Those that failed."""
        return tuple(past for past in self.attempts if past.success is False)


def subjects(context: ProposalContext) -> list[Subject]:
    """The kinds of task of the last round that have a band, those worth most first.

    A kind with failures comes before one without; then by utility at its measured success, then
    by name.
    """
    by_template: dict[str, list[PastAttempt]] = {}
    for past in context.recent:
        if past.success is not None:
            by_template.setdefault(past.task.template, []).append(past)
    found: list[Subject] = []
    for template, attempts in by_template.items():
        known = measured(template, context.templates)
        decided = band(known.successes, known.attempts)
        if decided is not None:
            found.append(Subject(template, known, decided, tuple(attempts)))
    return sorted(
        found,
        key=lambda each: (
            not each.failures,
            -utility(each.measured.successes, each.measured.attempts),
            each.template,
        ),
    )


class WeaknessProposer:
    """Asks a model for tasks of the kind that measured success calls for.

    Args:
        tasks_a_reply: how many tasks one reply is asked for.
        box: where generated verifiers run.
    """

    writes_code = True
    needs_model = True

    def __init__(self, *, tasks_a_reply: int = TASKS_A_REPLY, box: str = "auto") -> None:
        self._tasks_a_reply = tasks_a_reply
        self._box = box
        self.dropped = Counter[str]()
        """What came to nothing, by kind of reason, since this proposer was made."""

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        """At most `context.count` tasks; none before four attempts were made.

        Raises:
            UsageError: there is no model, or no start state to propose in.
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
            EnvironmentFaultError: nothing was made, and the environment raised.
        """
        archives = Archives(context.archive)
        found = subjects(context)
        if not found:
            self.dropped["too few attempts"] += 1
        left = context.count if found else 0
        works: list[Work] = []
        while left > 0:
            limit = min(left, self._tasks_a_reply)
            subject = found[len(works) % len(found)]
            works.append(_follow(context, archives, len(works), subject, limit))
            left -= limit
        return await side_by_side(context, works, source=NAME, dropped=self.dropped, box=self._box)


def _follow(
    context: ProposalContext, archives: Archives, place: int, subject: Subject, limit: int
) -> Work:
    async def work(desk: Desk) -> Sequence[Task]:
        scene = await look(desk.environment, context, NAME, place)
        shown = (*subject.failures, *subject.attempts)[0].task.instruction
        inputs = WeaknessInputs(
            count=limit,
            direction=DIRECTIONS[subject.band],
            measured=str(subject.measured),
            subject=clip(shown),
            failures=shown_failures(subject.failures),
            description=described(desk.environment, desk.context, scene.family),
            observation=clip(scene.observation.text, LONGEST_PAGE),
            state=shown_state(scene.state),
            tools=shown_tools(desk.environment.tools),
            library=shown_skills(context.library),
            solved=archives.shown_solved(shown),
            refused=archives.shown_refused(shown),
            checking=checking(scene),
        )
        update = {"derived_from": tuple(sorted({past.task.id for past in subject.failures}))}
        page = Page(scene, PROMPT.ref, PROMPT.messages(inputs), update)
        return await desk.several(page, place, limit=limit, solved=False)

    return work


def shown_failures(failures: Sequence[PastAttempt]) -> str:
    """Failed attempts: what was asked, what was done, and what the evaluator said."""
    lines = [
        f"- {clip(past.task.instruction)}\n  Done: "
        f"{shown_calls(past.trajectory.calls if past.trajectory else ())}\n  Said of it: "
        f"{clip(past.feedback, LONGEST_FEEDBACK) or 'nothing'}"
        for past in failures[:MOST_FAILURES]
    ]
    if len(failures) > MOST_FAILURES:
        lines.append(f"- … and {len(failures) - MOST_FAILURES} more, left out")
    return "\n".join(lines) or "none"
