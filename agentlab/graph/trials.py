"""Trials: a candidate searched with, and without, on practice tasks.

Each is a shadow attempt on record that counts in no success rate. The budget of a round's
trials is fixed before the first of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentlab.graph.attempts import finished_event, run_attempt
from agentlab.graph.practice import LEAST_STEPS, Practice
from agentlab.graph.provenance import Provenance
from agentlab.library.admission import Regression, Trial, evidence
from agentlab.library.road import Passage
from agentlab.library.skills import closure, origins
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    JsonObject,
    Limits,
    Offer,
    Replay,
    Skill,
    Status,
    Task,
    Usage,
    attempt_id,
    derive_id,
    derive_seed,
)

TRIVIAL = 2
"""Tool calls up to which a task proves nothing."""
SHADOW_SLOTS = 1_000_000
"""Slots of shadow attempts begin here, apart from those of the round."""


@dataclass
class Move:
    """A change of status that the round has decided on."""

    skill: Skill
    path: tuple[Status, ...]
    reason: str
    evidence: JsonObject = field(default_factory=lambda: {})
    supersedes: tuple[str, ...] | None = None
    """Ids of what goes once a person approves it; None where it waits for nobody."""


@dataclass
class Case:
    """A candidate on its road, and what was found out about it."""

    skill: Skill
    passage: Passage = field(default_factory=Passage)
    fault: str | None = None
    """Why it did not run at all."""
    blameless: bool = False
    """Whether that was no fault of its code: the environment was not there, say."""
    replays: tuple[Replay, ...] = ()
    regressions: tuple[Regression, ...] = ()
    rival: Skill | None = None
    """The served skill that does the same."""
    trials: tuple[Trial, ...] = ()

    def evidence(self) -> JsonObject:
        """What the verdicts rest on, for the record."""
        found = evidence(self.replays, self.trials)
        found["gates"] = list(self.passage.record())
        if self.regressions:
            found["regressions"] = [dict(task._asdict()) for task in self.regressions]
        if self.rival is not None:
            found["rival"] = self.rival.id
        return found


@dataclass
class AdmissionRound:
    """The admission of one round, as it proceeds."""

    practice: Practice
    provenance: Provenance
    round: int
    last: bool
    """Whether no round follows: what is undecided then is refused."""
    served: dict[str, Skill]
    """Active skills by name, candidates admitted in this round included; and what passed every
    gate and waits for a person, before what it is to replace."""
    attempts_left: int | None = None
    """Shadow attempts that the budget still pays for; None where it has no limit."""
    steps_left: int | None = None
    next_slot: int = SHADOW_SLOTS
    baseline: dict[tuple[str, frozenset[str]], AttemptOutcome] = field(default_factory=lambda: {})
    awaiting: dict[str, tuple[str, ...]] = field(default_factory=lambda: {})
    """Ids of those of them that wait for a person, and ids of what each is to replace."""
    moves: list[Move] = field(default_factory=lambda: [])
    honed: list[Skill] = field(default_factory=lambda: [])
    """New versions that a curator made of candidates which failed in this round."""
    calls: Counter[str] | None = None
    """See `tried_calls`."""
    replay_usage: Usage = field(default_factory=Usage)


def allowance(practice: Practice, round_: int) -> tuple[int | None, int | None]:
    """Attempts and steps for this admission, the same whether or not a part of it ran before."""
    left = practice.left()
    done = practice.records.attempts.all(practice.run_id, round_, kind="shadow")
    return (
        None if left.attempts is None else left.attempts + len(done),
        None if left.steps is None else left.steps + sum(row.steps for row in done),
    )


def affordable(current: AdmissionRound) -> int | None:
    """Tasks that can be tried with and without a candidate; None where there is no limit."""
    pairs = [
        left // (2 * each)
        for left, each in ((current.attempts_left, 1), (current.steps_left, LEAST_STEPS))
        if left is not None
    ]
    return max(0, min(pairs)) if pairs else None


async def trials_of(current: AdmissionRound, skill: Skill) -> list[Trial]:
    """The candidate's trials, as many as the budget pays for."""
    tasks = _trial_tasks(current, skill)[: affordable(current)]
    steps = None
    if current.steps_left is not None and tasks:
        steps = current.steps_left // (2 * len(tasks))
    without = await search(current, tasks, None, steps)
    with_it = await search(current, tasks, skill, steps)
    budget = current.practice.config.admission.trial_tool_calls
    trials: list[Trial] = []
    judged = current.practice.judge_refusal()
    for task, before, after in zip(tasks, without, with_it, strict=True):
        if before.success is None or after.success is None:
            continue
        if "judge" in (before.score.source, after.score.source) and judged is not None:
            continue  # nobody knows how far that judge is to be believed
        trials.append(
            Trial(
                task.id,
                before.success,
                after.success,
                before.usage.tool_calls if before.success else budget,
                after.usage.tool_calls if after.success else budget,
                skill.id in after.skills_used,
            )
        )
    return trials


def _trial_tasks(current: AdmissionRound, skill: Skill) -> list[Task]:
    """Practice tasks that ask for what it does and were not trivial, in an order drawn by lot.

    A quarter at most are tasks that took more calls than a trial may make.
    """
    practice = current.practice
    budget = practice.config.admission.trial_tool_calls
    calls = tried_calls(current)
    asking = current.provenance.asking(skill, current.served)
    # What it brings along may have been derived from a task too.
    sources = origins(skill, {**current.served, skill.name: skill})
    tasks = [
        task
        for task in practice.records.tasks.all(practice.run_id)
        if calls[task.id] > TRIVIAL and task.id not in sources and asking(task)
    ]
    tasks.sort(key=lambda task: derive_seed(practice.config.seed, "trial", task.id))
    count = practice.config.admission.trials
    within = [task for task in tasks if calls[task.id] <= budget]
    beyond = [task for task in tasks if calls[task.id] > budget]
    spare = max(count // 4, count - len(within))
    return [*within[: count - min(spare, len(beyond))], *beyond[:spare]]


def tried_calls(current: AdmissionRound) -> Counter[str]:
    """Task to the tool calls that its dearest practice attempt made."""
    if current.calls is None:
        practice = current.practice
        current.calls = Counter()
        for row in practice.records.attempts.all(practice.run_id, kind="practice"):
            current.calls[row.task_id] = max(current.calls[row.task_id], row.tool_calls)
    return current.calls


async def search(
    current: AdmissionRound, tasks: Sequence[Task], candidate: Skill | None, steps: int | None
) -> list[AttemptOutcome]:
    """Search each task with the served skills and the candidate, within so many steps each."""
    base = frozenset(skill.id for skill in current.served.values())
    outcomes: list[AttemptOutcome | None] = []
    specs: list[AttemptSpec] = []
    for task in tasks:
        known = current.baseline.get((task.id, base)) if candidate is None else None
        outcomes.append(known)
        if known is None:
            specs.append(_shadow(current, task, candidate, steps))
    if specs and current.practice.seats is not None:
        # Those with the candidate are still to come where these are without it.
        ways = 2 if candidate is None else 1
        _, allotted = current.practice.seats.share(ways * len(specs))
        specs = [spec.model_copy(update={"allotted": allotted}) for spec in specs]
    done = await asyncio.gather(*(record(current.practice, spec) for spec in specs))
    if current.attempts_left is not None:
        current.attempts_left -= len(specs)
    if current.steps_left is not None:
        current.steps_left -= sum(outcome.usage.steps for outcome in done)
    fresh = iter(done)
    result = [known or next(fresh) for known in outcomes]
    if candidate is None and steps is None:
        current.baseline.update(
            {(task.id, base): outcome for task, outcome in zip(tasks, result, strict=True)}
        )
    return result


def shadow_place(current: AdmissionRound) -> int:
    """The next slot for a shadow attempt."""
    slot = current.next_slot
    current.next_slot += 1
    return slot


def _shadow(
    current: AdmissionRound, task: Task, candidate: Skill | None, steps: int | None
) -> AttemptSpec:
    """A flagged attempt that counts in no rate: nothing is withheld, nothing retrieved."""
    practice = current.practice
    slot = shadow_place(current)
    name = candidate.name if candidate else None  # its older version makes way for it
    offered = [
        skill
        for skill in current.served.values()
        if skill.name != name and task.id not in origins(skill, current.served)
    ]
    if candidate is not None:
        offered.append(candidate)
    by_name = {**current.served, **({candidate.name: candidate} if candidate else {})}
    return AttemptSpec(
        id=attempt_id(practice.run_id, current.round, slot, "shadow"),
        run_id=practice.run_id,
        round=current.round,
        slot=slot,
        kind="shadow",
        task=task,
        group_id=derive_id("group", practice.run_id, current.round, task.id, "shadow"),
        seed=derive_seed(practice.config.seed, task.id, "shadow"),
        environment=practice.environment_ref,
        executor=practice.config.acting,
        executor_options=practice.config.executor_options,
        limits=Limits(
            tool_calls=practice.config.admission.trial_tool_calls,
            steps=steps,
            seconds=practice.config.attempt_seconds,
        ),
        skills=closure(offered, by_name),
        unverified=(candidate.id,) if candidate is not None else (),
        offers=tuple(
            Offer(item_id=s.id, name=s.name, probability=0.0, withheld=False) for s in offered
        ),
        scope=practice.scope.path,
    )


async def record(practice: Practice, spec: AttemptSpec) -> AttemptOutcome:
    """Make a shadow attempt and put it on record, unless it is there already."""
    known = practice.records.trajectories.outcomes([spec.id])
    if known:
        return known[0]
    outcome = await run_attempt(
        spec, evaluator=practice.config.evaluator, pool=practice.pool, seats=practice.seats
    )
    event = finished_event(spec, outcome)
    if practice.records.attempts.record(spec, outcome, [event]):
        practice.tell([event])
    return outcome
