"""The admission node: candidates become served skills or are refused, served ones retire.

The rules are in `library.admission` and `library.retirement`; here they are given what they
judge. Every trial is a shadow attempt on record, and the verdicts of a round, with the events
that tell of them, are one transaction.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from agentlab.errors import RunInUseError
from agentlab.events import Event, SkillMoved
from agentlab.graph import jobs
from agentlab.graph.nodes import ADMIT_SEQUENCE, past_draws
from agentlab.graph.practice import Practice, RunState, RunUpdate
from agentlab.graph.trials import AdmissionRound, Move, affordable, allowance, trials_of
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
    JsonObject,
    Replay,
    Skill,
    Status,
    Usage,
    derive_seed,
)

LEAST_TRIALS = 6
"""Practice tasks without which use is not judged, but in the last round."""
PATIENCE = 2
"""Rounds that a candidate may stay in quarantine before it must have proved useful."""
ASCENT: tuple[Status, ...] = ("quarantined", "verified", "active")


async def admit(state: RunState, practice: Practice) -> RunUpdate:
    """Judge the candidates, then the served skills."""
    run_id, round_ = practice.run_id, state["round"]
    records = practice.records
    if records.nodes.done(run_id, round_, "admit") is not None:
        return {}
    practice.library.refresh()
    last = round_ + 1 >= practice.config.rounds
    served = {skill.name: skill for skill in practice.active()}
    current = AdmissionRound(practice, round_, last, served, *allowance(practice, round_))
    rows = _candidates(practice)
    candidates = [row.item for row in rows]
    if practice.config.admission.enabled:
        await _judge(current, rows)
    else:
        current.moves.extend(Move(skill, ASCENT, "admitted unchecked") for skill in candidates)
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


def _candidates(practice: Practice) -> list[ItemRow[Skill]]:
    """New candidates and those in quarantine, the shortest first."""
    rows = practice.records.items.skills(
        environment=practice.environment_name,
        toolset=practice.toolset,
        status=("candidate", "quarantined"),
    )
    order = {row.item.id: number for number, row in enumerate(rows)}
    rows = [row for row in rows if row.run_id == practice.run_id or _left_behind(practice, row)]
    return sorted(rows, key=lambda row: (row.item.source.count("env."), order[row.item.id]))


def _left_behind(practice: Practice, row: ItemRow[Skill]) -> bool:
    """Whether nobody works on the run that made it any more, which then never judged it."""
    if row.run_id is None:
        return True
    try:
        with practice.records.workspace.lock_run(row.run_id):
            return True
    except RunInUseError:
        return False


def _carry_out(part: Transaction, current: AdmissionRound, move: Move, told: int) -> list[Event]:
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


async def _judge(current: AdmissionRound, rows: Sequence[ItemRow[Skill]]) -> None:
    practice = current.practice
    candidates = [row.item for row in rows]
    replayed = {row.item.id for row in rows if row.status == "quarantined"}
    born = {
        row.item.id: (row.round or 0) if row.run_id == practice.run_id else current.round
        for row in rows
    }
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
    if affordable(current) == 0:
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
        if affordable(current) == 0 or practice.out_of_time():
            return
        await _try_out(current, skill, replays, born[skill.id])


def _refuse(
    current: AdmissionRound,
    skill: Skill,
    reason: str,
    replays: Sequence[Replay] = (),
    trials: Sequence[Trial] = (),
) -> None:
    current.moves.append(Move(skill, ("retired",), REJECTED + reason, evidence(replays, trials)))


async def _replay(
    current: AdmissionRound, skill: Skill, candidates: Sequence[Skill]
) -> tuple[Replay, ...]:
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


async def _try_out(
    current: AdmissionRound, skill: Skill, replays: Sequence[Replay], born: int
) -> None:
    """Prove it on practice tasks, with and without, then admit, replace or refuse it."""
    if missing := [name for name in skill.skills if name not in current.served]:
        _refuse(current, skill, f"calls: {missing[0]!r} is not served", replays)
        return
    trials = await trials_of(current, skill)
    if len(trials) < LEAST_TRIALS and not current.last:
        current.moves.append(Move(skill, ("quarantined",), "too few practice tasks to prove it"))
        return
    reason = judge_trials(trials)
    if reason is not None and current.round - born < PATIENCE and not current.last:
        current.moves.append(Move(skill, ("quarantined",), reason, evidence(replays, trials)))
        return
    if reason is not None:
        _refuse(current, skill, reason, replays, trials)
        return
    rival = near_duplicate(skill, list(current.served.values()))
    if rival is not None and any(rival.name in other.skills for other in current.served.values()):
        _refuse(current, skill, f"duplicate: {rival.name!r} promises the same", replays, trials)
        return
    if rival is not None:
        # It saved calls although the rival was there to be used, and nothing needs the rival.
        del current.served[rival.name]
        current.moves.append(Move(rival, ("retired",), f"superseded: by {skill.name}"))
    current.served[skill.name] = skill
    current.moves.append(Move(skill, ASCENT, "admitted", evidence(replays, trials)))


def _retire(current: AdmissionRound) -> None:
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
                    current.moves.append(Move(item, ("retired",), reason, found.numbers))
