"""Canaries: the served library replayed against the environment as it is now.

An interface changes and a skill that worked no longer does, while its measured effect, taken
over months, still looks fine. So every served skill is replayed from fresh starts, callees
first; one that fails is taken out of service at once and handed back to its curator; a mended
version passes the same gates, but for usefulness, which its name has shown, and takes its place.
What was taken out earlier is asked again, so that an environment which was repaired gets its
skills back. Everything a verification decides is one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import cast

from agentlab.config import BoxName, PracticeConfig
from agentlab.environments.registration import base_name
from agentlab.errors import UnknownNameError
from agentlab.events import Event
from agentlab.graph.gates import ASCENT, Gates
from agentlab.graph.moves import carry_out
from agentlab.graph.practice import Practice
from agentlab.graph.provenance import Provenance
from agentlab.graph.run import package_versions, practising
from agentlab.graph.trials import AdmissionRound, Case, Move
from agentlab.graph.watching import Watchers
from agentlab.library.admission import REJECTED
from agentlab.library.skills import closure
from agentlab.protocols import Observer
from agentlab.records import ItemRow, Records, Transaction, Workspace
from agentlab.sandbox import settle_box
from agentlab.types import EnvironmentRef, JsonObject, Skill, derive_seed, digest
from agentlab.types.report import CanaryLine, CanaryOutcome, CanaryReport

CANARY = "canary: "
"""How the reason of a skill begins that was taken out of service by a verification."""
SEEDS = 2**31


def verify_library(
    workspace: Path | str,
    environment: EnvironmentRef,
    *,
    names: Sequence[str] = (),
    restore: bool = False,
    seed: int = 0,
    box: BoxName = "auto",
    observers: Sequence[Observer] = (),
) -> CanaryReport:
    """Replay the served skills of a workspace's library, and act on what is found.

    Args:
        workspace: where the library is.
        environment: the environment as it is now; its options may differ from those of practice.
        names: only these skills, and what they call; all, where none is named.
        restore: take back named skills that were retired, if they hold.
        seed: of the start states, with the number of earlier verifications.
        box: where skill code runs.
        observers: are told what happens.

    Raises:
        UnknownNameError: the library has no skill of a given name.
        UsageError: there is no such workspace, or the environment has no grammar.
        RunInUseError: another process verifies the same library.
    """
    return asyncio.run(_verify(workspace, environment, tuple(names), restore, seed, box, observers))


async def _verify(
    workspace: Path | str,
    environment: EnvironmentRef,
    names: tuple[str, ...],
    restore: bool,
    seed: int,
    box: BoxName,
    observers: Sequence[Observer],
) -> CanaryReport:
    with Records.open(Workspace.open(workspace, create=False)) as records:
        base = f"verify-{base_name(environment.name)}-{seed}-{digest(environment.options)[:8]}"
        known = set(records.runs.ids())
        number = next(n for n in count(1) if f"{base}-{n}" not in known)
        run_id = f"{base}-{number}"
        config = PracticeConfig(
            environment=environment.name,
            environment_options=environment.options,
            seed=derive_seed(seed, "canary", number) % SEEDS,
            rounds=1,
            heldout=0,
            box=box,
        )
        spelt: JsonObject = {
            "command": "verify",
            **cast("JsonObject", config.model_dump(mode="json")),
        }
        with records.workspace.lock_run(run_id):
            versions = package_versions(settle_box(box))
            records.runs.create(run_id, config=spelt, versions=versions, seed=seed)
            watchers = Watchers(observers)
            async with practising(records, run_id, config, watchers) as practice:
                report = await _canaries(practice, names, restore)
            records.runs.set_status(run_id, "finished")
            return report


async def _canaries(practice: Practice, names: tuple[str, ...], restore: bool) -> CanaryReport:
    practice.library.refresh()
    served = {skill.name: skill for skill in practice.active()}
    provenance = Provenance(practice, practice.grammar.spec)
    current = AdmissionRound(practice, provenance, 0, True, served)
    asked = _asked(practice, served, names, restore)
    gates = Gates(current, ())
    lines: list[CanaryLine] = []
    for row in asked:
        lines.append(await _one(current, gates, row))
    events: list[Event] = []

    def work(part: Transaction) -> JsonObject:
        events.extend(carry_out(part, current, 0))
        part.budgets.reserve(practice.run_id, 0, current.replay_usage, purpose="replays")
        part.budgets.settle(practice.run_id, 0, current.replay_usage, purpose="replays")
        part.events.append(events)
        return {"moves": len(events)}

    practice.records.once(practice.run_id, 0, "verify", work)
    practice.tell(events)
    return CanaryReport(
        run_id=practice.run_id,
        environment=practice.config.environment,
        skills=tuple(lines),
        box=str(settle_box(practice.config.box)),
        replays=sum(line.replays for line in lines),
        steps=current.replay_usage.steps,
    )


def _asked(
    practice: Practice, served: dict[str, Skill], names: tuple[str, ...], restore: bool
) -> list[ItemRow[Skill]]:
    """Served skills, and those taken out by an earlier verification; callees first."""
    items = practice.records.items
    rows = items.skills(environment=practice.environment_name, toolset=practice.toolset)
    found: dict[str, ItemRow[Skill]] = {}
    ranks: dict[str, int] = {}
    for row in rows:  # newest version of a name last
        serves = row.status == "active"
        waits = row.status == "quarantined" and row.reason.startswith(CANARY)
        back = (
            restore
            and row.item.name in names
            and row.status == "retired"
            and not row.reason.startswith(REJECTED)
        )
        older = found.get(row.item.name)
        rank = 3 * serves + 2 * back + waits
        if rank and (older is None or rank >= ranks[row.item.name]):
            found[row.item.name] = row
            ranks[row.item.name] = rank
    for name in names:
        if name not in found:
            raise UnknownNameError("skill to verify", name, found)
    by_name = {name: row.item for name, row in found.items()}
    wanted = [by_name[name] for name in names or sorted(by_name)]
    return [found[skill.name] for skill in _callees_first(closure(wanted, by_name))]


def _callees_first(skills: Sequence[Skill]) -> list[Skill]:
    placed: dict[str, Skill] = {}
    by_name = {skill.name: skill for skill in skills}

    def place(skill: Skill) -> None:
        if skill.name in placed:
            return
        for name in skill.skills:
            if name in by_name and name != skill.name:
                place(by_name[name])
        placed[skill.name] = skill

    for skill in sorted(skills, key=lambda skill: skill.name):
        place(skill)
    return list(placed.values())


async def _one(current: AdmissionRound, gates: Gates, row: ItemRow[Skill]) -> CanaryLine:
    """Replay one skill, hand it back where it fails, and decide what is served."""
    skill, serves = row.item, row.status == "active"
    missing = [name for name in skill.skills if name not in current.served]
    if missing:
        return _out(current, row, f"calls: {missing[0]!r} is not served", {}, 0)
    before = len(current.moves)
    ready: list[Case] = []
    case = Case(skill)
    waiting, replays = [case], 0
    while waiting:
        tried = waiting
        waiting = await gates.examine(tried, ready)
        replays += sum(len(each.replays) for each in tried)
    # What the gates decided about the skill itself is for here to say; mended versions that
    # failed as well were rejected like any candidate.
    decided = current.moves[before:]
    current.moves[before:] = [move for move in decided if move.skill.id != skill.id]
    own = [move.evidence for move in decided if move.skill.id == skill.id]
    evidence = own[0] if own else {}
    reason = case.passage.reason or ""
    if not ready:
        return _out(current, row, reason, evidence, replays)
    good = ready[0].skill
    current.served[skill.name] = good
    if good.id != skill.id:
        if row.status != "retired":
            why = f"superseded: by version {good.version}, after a canary: {reason}"
            current.moves.append(Move(skill, ("retired",), why, evidence))
        told = "mended after a canary, and verified again"
        current.moves.append(Move(good, ASCENT, told, ready[0].evidence()))
        return _line(row, "mended", reason, replays, good.version)
    if serves:
        return _line(row, "holds", "", replays)
    path = ASCENT if row.status == "retired" else ASCENT[1:]
    current.moves.append(Move(skill, path, "verified again", ready[0].evidence()))
    return _line(row, "restored", "", replays)


def _out(
    current: AdmissionRound,
    row: ItemRow[Skill],
    reason: str,
    evidence: JsonObject,
    replays: int,
) -> CanaryLine:
    """It is not served from here on; what was out already stays out as it is."""
    if row.status != "active":
        return _line(row, "still out", reason, replays)
    current.served.pop(row.item.name, None)
    current.moves.append(Move(row.item, ("quarantined",), CANARY + reason, evidence))
    return _line(row, "demoted", reason, replays)


def _line(
    row: ItemRow[Skill],
    outcome: CanaryOutcome,
    reason: str,
    replays: int,
    version: int | None = None,
) -> CanaryLine:
    return CanaryLine(
        name=row.item.name,
        version=version or row.item.version,
        outcome=outcome,
        reason=reason,
        replays=replays,
    )
