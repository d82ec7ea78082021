"""The admission node: candidates become served skills or are refused, served ones retire.

The rules are in `library.admission` and `library.retirement`; here they are given what they
judge. Every trial is a shadow attempt on record, and the verdicts of a round, with the events
that tell of them, are one transaction.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentlab.events import Event, SkillMoved
from agentlab.graph import jobs
from agentlab.graph.attempts import finished_event, run_attempt
from agentlab.graph.nodes import ADMIT_SEQUENCE, LEAST_STEPS, past_draws
from agentlab.graph.practice import Practice, RunState, RunUpdate
from agentlab.graph.workers import WorkerFault
from agentlab.library import retirement
from agentlab.library.admission import (
    REJECTED,
    Trial,
    evidence,
    exact_duplicate,
    judge_replays,
    judge_trials,
    near_duplicate,
    static_check,
)
from agentlab.library.skills import closure
from agentlab.records import ItemRow, Transaction
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

LEAST_TRIALS = 6
"""Practice tasks without which use is not judged, but in the last round."""
PATIENCE = 2
"""Rounds that a candidate may stay in quarantine before it must have proved useful."""
SHADOW_SLOTS = 1_000_000
"""Slots of shadow attempts begin here, apart from those of the round."""
ASCENT: tuple[Status, ...] = ("quarantined", "verified", "active")


@dataclass
class _Move:
    """A change of status that the round has decided on."""

    skill: Skill
    path: tuple[Status, ...]
    reason: str
    evidence: JsonObject = field(default_factory=lambda: {})


@dataclass
class _Round:
    """The admission of one round, as it proceeds."""

    practice: Practice
    round: int
    last: bool
    """Whether no round follows: what is undecided then is refused."""
    served: dict[str, Skill]
    """Active skills by name, candidates admitted in this round included."""
    attempts_left: int | None = None
    """Shadow attempts that the budget still pays for; None where it has no limit."""
    steps_left: int | None = None
    next_slot: int = SHADOW_SLOTS
    baseline: dict[tuple[str, frozenset[str]], AttemptOutcome] = field(default_factory=lambda: {})
    moves: list[_Move] = field(default_factory=lambda: [])
    replay_usage: Usage = field(default_factory=Usage)


async def admit(state: RunState, practice: Practice) -> RunUpdate:
    """Judge the candidates, then the served skills."""
    run_id, round_ = practice.run_id, state["round"]
    records = practice.records
    if records.nodes.done(run_id, round_, "admit") is not None:
        return {}
    practice.library.refresh()
    last = round_ + 1 >= practice.config.rounds
    served = {skill.name: skill for skill in practice.active()}
    current = _Round(practice, round_, last, served, *_allowance(practice, round_))
    rows = _candidates(practice)
    candidates = [row.item for row in rows]
    if practice.config.admission.enabled:
        await _judge(current, rows)
    else:
        current.moves.extend(_Move(skill, ASCENT, "admitted unchecked") for skill in candidates)
    _retire(current)
    events: list[Event] = []

    def work(part: Transaction) -> JsonObject:
        for move in current.moves:
            events.extend(_carry_out(part, current, move, len(events)))
        part.budgets.reserve(run_id, round_, current.replay_usage, purpose="replays")
        part.budgets.settle(run_id, round_, current.replay_usage, purpose="replays")
        part.events.append(events)
        return {"moves": len(events)}

    records.once(run_id, round_, "admit", work)
    practice.tell(events)
    return {}


def _allowance(practice: Practice, round_: int) -> tuple[int | None, int | None]:
    """Attempts and steps for this admission, the same whether or not a part of it ran before."""
    left = practice.left()
    done = practice.records.attempts.all(practice.run_id, round_, kind="shadow")
    return (
        None if left.attempts is None else left.attempts + len(done),
        None if left.steps is None else left.steps + sum(row.steps for row in done),
    )


def _affordable(current: _Round) -> int | None:
    """Tasks that can be tried with and without a candidate; None where there is no limit."""
    pairs = [
        left // (2 * each)
        for left, each in ((current.attempts_left, 1), (current.steps_left, LEAST_STEPS))
        if left is not None
    ]
    return max(0, min(pairs)) if pairs else None


def _candidates(practice: Practice) -> list[ItemRow[Skill]]:
    """New candidates and those in quarantine, the shortest first."""
    rows = practice.records.items.skills(
        environment=practice.environment_name,
        toolset=practice.toolset,
        status=("candidate", "quarantined"),
    )
    order = {row.item.id: number for number, row in enumerate(rows)}
    rows = [row for row in rows if row.run_id == practice.run_id]
    return sorted(rows, key=lambda row: (row.item.source.count("env."), order[row.item.id]))


def _carry_out(part: Transaction, current: _Round, move: _Move, told: int) -> list[Event]:
    practice = current.practice
    before = part.items.skill(move.skill.id).status
    events: list[Event] = []
    for status in move.path:
        moved = part.items.move(
            move.skill.id,
            status,
            reason=move.reason,
            evidence=move.evidence if status == move.path[-1] else {},
            run_id=practice.run_id,
            round_=current.round,
        )
        if moved:
            events.append(
                SkillMoved(
                    run_id=practice.run_id,
                    round=current.round,
                    sequence=ADMIT_SEQUENCE + told + len(events),
                    skill_id=move.skill.id,
                    name=move.skill.name,
                    before=before,
                    after=status,
                    reason=move.reason,
                )
            )
        before = status
    return events


async def _judge(current: _Round, rows: Sequence[ItemRow[Skill]]) -> None:
    practice = current.practice
    candidates = [row.item for row in rows]
    replayed = {row.item.id for row in rows if row.status == "quarantined"}
    born = {row.item.id: row.round or 0 for row in rows}
    tools = {tool.name for tool in practice.environment.tools}
    passed: list[tuple[Skill, tuple[Replay, ...]]] = []
    pending: list[Skill] = []
    names = {*current.served, *(skill.name for skill in candidates)}
    for skill in candidates:
        reason = static_check(skill, tools, names)
        # What does not parse has no fingerprint either.
        twin = None if reason else exact_duplicate(skill, list(current.served.values()))
        if twin is not None:
            reason = f"duplicate: the same as {twin.name!r}"
        if reason is not None:
            _refuse(current, skill, reason)
        elif skill.id in replayed:
            passed.append((skill, ()))
        else:
            pending.append(skill)
    if _affordable(current) == 0:
        return
    results = await asyncio.gather(*(_replay(current, skill, candidates) for skill in pending))
    for skill, replays in zip(pending, results, strict=True):
        reason = judge_replays(replays, practice.config.admission.replays)
        current.replay_usage += Usage(
            tool_calls=sum(r.tool_calls for r in replays), steps=sum(r.steps for r in replays)
        )
        if current.steps_left is not None:
            current.steps_left -= sum(r.steps for r in replays)
        if reason is not None:
            _refuse(current, skill, reason, replays)
        else:
            passed.append((skill, replays))
    order = {skill.id: place for place, skill in enumerate(candidates)}
    for skill, replays in sorted(passed, key=lambda item: order[item[0].id]):
        practice.go_on()
        if _affordable(current) == 0 or practice.out_of_time():
            return
        await _try_out(current, skill, replays, born[skill.id])


def _refuse(
    current: _Round,
    skill: Skill,
    reason: str,
    replays: Sequence[Replay] = (),
    trials: Sequence[Trial] = (),
) -> None:
    current.moves.append(_Move(skill, ("retired",), REJECTED + reason, evidence(replays, trials)))


async def _replay(current: _Round, skill: Skill, candidates: Sequence[Skill]) -> tuple[Replay, ...]:
    practice = current.practice
    by_name = {**{c.name: c for c in candidates}, **current.served}
    request = jobs.ReplayRequest(
        skill=skill,
        callees=closure([skill], by_name)[1:],
        environment=practice.environment_ref,
        setups=(_home(practice, skill),),
        count=practice.config.admission.replays,
        seed=derive_seed(practice.config.seed, current.round, "replay"),
    )
    result = await practice.pool.run(jobs.replay, request, seconds=practice.config.attempt_seconds)
    if isinstance(result, WorkerFault):
        return (
            Replay(
                task_id="",
                arguments={},
                completed=False,
                used=True,
                effect=False,
                error=result.error,
            ),
        )
    return result


def _home(practice: Practice, skill: Skill) -> str:
    """The easiest start-state family in which it was seen to work."""
    counts: Counter[str] = Counter()
    for task_id in skill.source_tasks:
        task = practice.records.tasks.get(task_id)
        counts[task.template.partition(": ")[0]] += 1
    setups = practice.grammar.spec.setups
    return next((setup for setup in setups if counts[setup]), setups[0])


async def _try_out(current: _Round, skill: Skill, replays: Sequence[Replay], born: int) -> None:
    """Prove it on practice tasks, with and without, then admit, replace or refuse it."""
    if missing := [name for name in skill.skills if name not in current.served]:
        _refuse(current, skill, f"calls: {missing[0]!r} is not served", replays)
        return
    trials = await _trials(current, skill)
    if len(trials) < LEAST_TRIALS and not current.last:
        current.moves.append(_Move(skill, ("quarantined",), "too few practice tasks to prove it"))
        return
    reason = judge_trials(trials)
    if reason is not None and current.round - born < PATIENCE and not current.last:
        current.moves.append(_Move(skill, ("quarantined",), reason, evidence(replays, trials)))
        return
    if reason is not None:
        _refuse(current, skill, reason, replays, trials)
        return
    rival = near_duplicate(skill, list(current.served.values()))
    if rival is not None:
        _refuse(current, skill, f"duplicate: {rival.name!r} promises the same", replays, trials)
        return
    current.served[skill.name] = skill
    current.moves.append(_Move(skill, ASCENT, "admitted", evidence(replays, trials)))


async def _trials(current: _Round, skill: Skill) -> list[Trial]:
    tasks = _trial_tasks(current, skill)[: _affordable(current)]
    steps = None
    if current.steps_left is not None and tasks:
        steps = current.steps_left // (2 * len(tasks))
    without = await _search(current, tasks, None, steps)
    with_it = await _search(current, tasks, skill, steps)
    budget = current.practice.config.admission.trial_tool_calls
    trials: list[Trial] = []
    for task, before, after in zip(tasks, without, with_it, strict=True):
        if before.success is None or after.success is None:
            continue
        trials.append(
            Trial(
                task.id,
                before.success,
                after.success,
                before.usage.tool_calls if before.success else budget,
                after.usage.tool_calls if after.success else budget,
            )
        )
    return trials


def _trial_tasks(current: _Round, skill: Skill) -> list[Task]:
    """Practice tasks that state its clause and were not trivial, in an order drawn by lot.

    A quarter at most are tasks that took more calls than a trial may make.
    """
    practice = current.practice
    budget = practice.config.admission.trial_tool_calls
    if skill.achieves is None:
        return []
    calls: Counter[str] = Counter()
    for row in practice.records.attempts.all(practice.run_id, kind="practice"):
        calls[row.task_id] = max(calls[row.task_id], row.tool_calls)
    tasks = [
        task
        for task in practice.records.tasks.all(practice.run_id)
        if calls[task.id] > 2
        and task.id not in skill.source_tasks
        and task.mission is not None
        and any(c.predicate == skill.achieves.predicate for c in task.mission.clauses)
    ]
    tasks.sort(key=lambda task: derive_seed(practice.config.seed, "trial", task.id))
    count = practice.config.admission.trials
    within = [task for task in tasks if calls[task.id] <= budget]
    beyond = [task for task in tasks if calls[task.id] > budget]
    spare = max(count // 4, count - len(within))
    return [*within[: count - min(spare, len(beyond))], *beyond[:spare]]


async def _search(
    current: _Round, tasks: Sequence[Task], candidate: Skill | None, steps: int | None
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
    done = await asyncio.gather(*(_record(current.practice, spec) for spec in specs))
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


def _shadow(current: _Round, task: Task, candidate: Skill | None, steps: int | None) -> AttemptSpec:
    """A flagged attempt that counts in no rate: nothing is withheld, nothing retrieved."""
    practice = current.practice
    slot = current.next_slot
    current.next_slot += 1
    offered = [s for s in current.served.values() if task.id not in s.source_tasks]
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
        executor=practice.config.model,
        limits=Limits(
            tool_calls=practice.config.admission.trial_tool_calls,
            steps=steps,
            seconds=practice.config.attempt_seconds,
        ),
        skills=closure(offered, by_name),
        offers=tuple(
            Offer(item_id=s.id, name=s.name, probability=0.0, withheld=False) for s in offered
        ),
    )


async def _record(practice: Practice, spec: AttemptSpec) -> AttemptOutcome:
    known = practice.records.trajectories.outcomes([spec.id])
    if known:
        return known[0]
    outcome = await run_attempt(spec, evaluator=practice.config.evaluator, pool=practice.pool)
    event = finished_event(spec, outcome)
    if practice.records.attempts.record(spec, outcome, [event]):
        practice.tell([event])
    return outcome


def _retire(current: _Round) -> None:
    """Retire served skills by their measured effect, callers with their callee."""
    practice = current.practice
    if not practice.config.admission.enabled:
        return
    draws = past_draws(practice)
    relevant = past_draws(practice, relevant=True)
    used = Counter[str]()
    rounds = Counter[str]()
    for row in practice.records.attempts.all(practice.run_id, kind="practice"):
        used.update(row.skills_used)
    for skill_id in practice.library.skills:
        history = practice.records.items.history(skill_id)
        since = [m.round for m in history if m.after == "active" and m.run_id == practice.run_id]
        rounds[skill_id] = current.round - (since[-1] or 0) if since else 0
    for skill in list(current.served.values()):
        if skill.id not in practice.library.skills:
            continue
        own = draws.get(skill.id, [])
        evidence_ = retirement.Evidence(
            item_id=skill.id,
            draws=tuple(own),
            rounds=rounds[skill.id],
            attempts=rounds[skill.id] * practice.config.attempts,
            retrieved=len(own),
            offered=sum(not draw.withheld for draw in own),
            used=used[skill.id],
            callers=tuple(s.name for s in current.served.values() if skill.name in s.skills),
        )
        found = retirement.judge(evidence_)
        if found.retire and found.reason == "no effect":
            # Where it was retrieved for tasks of other kinds, nothing on the whole can hide
            # much where it matters; what a mission asks for is known before the draw.
            narrow = tuple(relevant.get(skill.id, ()))
            found = retirement.judge(evidence_._replace(draws=narrow))
        if found.retire:
            reason = f"{found.reason}: {found.text}"
            gone = [skill, *(current.served[name] for name in found.callers)]
            for item in gone:
                if current.served.pop(item.name, None) is not None:
                    current.moves.append(_Move(item, ("retired",), reason, found.numbers))
