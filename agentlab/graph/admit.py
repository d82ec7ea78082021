"""The admission node: candidates become served skills or are refused, served ones retire.

The rules are in `library.admission` and `library.retirement`; here they are given what they
judge. Every trial is a shadow attempt on record, and the verdicts of a round, with the events
that tell of them, are one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agentlab.errors import RunInUseError
from agentlab.events import Event
from agentlab.graph import advice
from agentlab.graph.approving import ascend, stand
from agentlab.graph.gates import judge
from agentlab.graph.moves import carry_out
from agentlab.graph.nodes import ADMIT_SEQUENCE
from agentlab.graph.practice import Practice, RunState, RunUpdate
from agentlab.graph.provenance import Provenance
from agentlab.graph.selection import past_draws
from agentlab.graph.trials import AdmissionRound, Move, allowance
from agentlab.library import retirement
from agentlab.records import ItemRow, Transaction
from agentlab.types import JsonObject, Skill, Usage


async def admit(state: RunState, practice: Practice) -> RunUpdate:
    """Judge the candidates, then the served skills."""
    run_id, round_ = practice.run_id, state["round"]
    records = practice.records
    if records.nodes.done(run_id, round_, "admit") is not None:
        return {}
    practice.library.refresh()
    last = round_ + 1 >= practice.config.rounds
    served = {skill.name: skill for skill in practice.active()}
    grammar = practice.vocabulary
    provenance = Provenance(practice, grammar.spec if grammar is not None else None)
    current = AdmissionRound(
        practice, provenance, round_, last, served, *allowance(practice, round_)
    )
    stand(current)
    rows = _candidates(practice)
    candidates = [row.item for row in rows]
    if practice.config.admission.enabled:
        await judge(current, rows)
    else:
        for skill in candidates:
            ascend(current, skill, "admitted unchecked")
    _retire(current)
    advice_moves = await advice.admit(current)
    events: list[Event] = []

    def work(part: Transaction) -> JsonObject:
        events.extend(carry_out(part, current, ADMIT_SEQUENCE))
        events.extend(
            advice.carry_out(part, practice, round_, advice_moves, ADMIT_SEQUENCE + len(events))
        )
        current.replay_usage += Usage(tokens=practice.embedded())
        part.budgets.reserve(run_id, round_, current.replay_usage, purpose="replays")
        part.budgets.settle(run_id, round_, current.replay_usage, purpose="replays")
        part.events.append(events)
        practice.charge_model(part, round_, "admit")
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
        scope=practice.scope,
    )
    # What another scope made waits for a run of that scope.
    rows = [row for row in rows if row.scope == practice.scope.path]
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


def _retire(current: AdmissionRound) -> None:
    """Retire served skills by their measured effect, callers with their callee."""
    practice = current.practice
    if not practice.config.admission.enabled:
        return
    draws = past_draws(practice)
    relevant = past_draws(practice, relevant=True)
    service = _service(practice)
    gone = {move.skill.id for move in current.moves if move.path[-1] == "retired"}
    # Not what stands in the round, where a version that waits is before the one that serves.
    for skill in practice.active():
        if skill.id in gone:
            continue
        own = draws.get(skill.id, [])
        here = service.get(skill.id, _Service())
        rounds = _rounds_served(current, skill)
        evidence_ = retirement.Evidence(
            item_id=skill.id,
            draws=tuple(own),
            rounds=rounds,
            attempts=rounds * practice.config.attempts,
            retrieved=here.retrieved,
            offered=here.offered,
            used=here.used,
            templates_offered=len(here.templates_offered),
            templates_used=len(here.templates_used),
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
            for item in [skill, *(current.served[name] for name in found.callers)]:
                if item.id in gone:
                    continue
                gone.add(item.id)
                current.moves.append(Move(item, ("retired",), reason, found.numbers))
                if current.served.get(item.name) is item:
                    del current.served[item.name]


@dataclass
class _Service:
    """What became of a skill in the practice attempts of this run."""

    retrieved: int = 0
    offered: int = 0
    used: int = 0
    templates_offered: set[str] = field(default_factory=lambda: set())
    templates_used: set[str] = field(default_factory=lambda: set())


def _service(practice: Practice) -> dict[str, _Service]:
    found: dict[str, _Service] = {}
    for draw in practice.records.draws.all(
        environment=practice.environment_name, run_id=practice.run_id, scope=practice.scope
    ):
        if draw.kind == "practice":
            item = found.setdefault(draw.item_id, _Service())
            item.retrieved += 1
            item.offered += not draw.withheld
            if not draw.withheld:
                item.templates_offered.add(draw.template)
    for row in practice.records.attempts.all(practice.run_id, kind="practice"):
        for skill_id in row.skills_used:
            item = found.setdefault(skill_id, _Service())
            item.used += 1
            item.templates_used.add(row.template)
    return found


def _rounds_served(current: AdmissionRound, skill: Skill) -> int:
    """Rounds of this run in which it was served; from the first one, where it was before."""
    practice = current.practice
    history = practice.records.items.history(skill.id)
    since = [m.round for m in history if m.after == "active" and m.run_id == practice.run_id]
    return current.round - (since[-1] or 0) if since else current.round + 1
