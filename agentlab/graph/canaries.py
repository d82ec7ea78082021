"""Canaries: the served library replayed against the environment as it is now.

An interface changes and a skill that worked no longer does, while its measured effect, taken
over months, still looks fine. So every served skill is replayed from fresh starts, callees
first; one that fails there and in a second look is taken out of service at once and handed to
`mending`; a mended version passes the same gates, but for usefulness, which its name has shown,
and takes its place. What was taken out earlier is asked again, so that an environment which was
repaired gets its skills back.

A library belongs to an environment and not to its options: what it serves is what held where it
was verified last, so that one environment with two faces is verified before each is worked on.

What is decided about a skill is one transaction. One that is broken is out of service before
anything is mended; a verification that was killed leaves the rest as it was, and the next one
begins with what serves then and what waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.config import BoxName, is_chat_model, parse_config
from agentlab.environments.registration import base_name
from agentlab.errors import UnknownNameError, UsageError
from agentlab.events import Event
from agentlab.graph.approving import ASCENT, approval_in, ascend, asks
from agentlab.graph.gates import Gates
from agentlab.graph.mending import NONE, SEARCH, Look, Mending
from agentlab.graph.moves import carry_out
from agentlab.graph.opening import package_versions
from agentlab.graph.practice import Practice
from agentlab.graph.provenance import Provenance
from agentlab.graph.run import practising
from agentlab.graph.trials import AdmissionRound, Case, Move
from agentlab.graph.watching import Watchers
from agentlab.library.admission import REJECTED
from agentlab.library.skills import closure
from agentlab.protocols import Observer
from agentlab.records import ItemRow, Records, Transaction, Workspace
from agentlab.sandbox import settle_box
from agentlab.types import EnvironmentRef, JsonObject, Skill, Usage, derive_seed, digest
from agentlab.types.report import CanaryLine, CanaryOutcome, CanaryReport

CANARY = "canary: "
"""How the reason of a skill begins that was taken out of service by a verification."""
SEEDS = 2**31
SECONDS = 900.0
"""That the replays of a skill may take, or a search for other ways; a page is slow at times."""


def verify_library(
    workspace: Path | str,
    environment: EnvironmentRef,
    *,
    names: Sequence[str] = (),
    restore: bool = False,
    hone: str = SEARCH,
    seed: int = 0,
    box: BoxName = "auto",
    observers: Sequence[Observer] = (),
    config: Mapping[str, JsonValue] | None = None,
) -> CanaryReport:
    """Replay the served skills of a workspace's library, and act on what is found.

    Args:
        workspace: where the library is.
        environment: the environment as it is now; its options may differ from those of practice.
        names: only these skills, and what they call; all, where none is named.
        restore: take back named skills that were retired, if they hold.
        hone: how what is broken is mended: `search`, `none`, or a chat model's name.
        seed: of the start states, with the number of earlier verifications.
        box: where skill code runs.
        observers: are told what happens.
        config: further options of `PracticeConfig`, such as `endpoint` or `admission`.

    Raises:
        UnknownNameError: the library has no skill of a given name.
        UsageError: there is no such workspace, or the environment has no grammar.
        RunInUseError: another process verifies the same library.
    """
    if hone not in (SEARCH, NONE) and not is_chat_model(hone):
        raise UsageError(
            f"Nothing can be mended by {hone[:80]!r}; take {SEARCH!r}, {NONE!r} or a chat model "
            "such as 'openai:<model>'."
        )
    asked = _Asked(environment, tuple(names), restore, hone)
    options: JsonObject = {"box": box, **(config or {})}
    return asyncio.run(_verify(workspace, asked, seed, options, observers))


class _Asked(NamedTuple):
    """What a verification is to do."""

    environment: EnvironmentRef
    names: tuple[str, ...]
    restore: bool
    hone: str


async def _verify(
    workspace: Path | str,
    asked: _Asked,
    seed: int,
    options: Mapping[str, JsonValue],
    observers: Sequence[Observer],
) -> CanaryReport:
    environment = asked.environment
    with Records.open(Workspace.open(workspace, create=False)) as records:
        base = f"verify-{base_name(environment.name)}-{seed}-{digest(environment.options)[:8]}"
        known = set(records.runs.ids())
        number = next(n for n in count(1) if f"{base}-{n}" not in known)
        run_id = f"{base}-{number}"
        values: dict[str, object] = {
            "environment": environment.name,
            "environment_options": environment.options,
            "seed": derive_seed(seed, "canary", number) % SEEDS,
            "rounds": 1,
            "heldout": 0,
            "attempt_seconds": SECONDS,
            "admission": {"approval": approval_in(records, base_name(environment.name))},
            **options,
        }
        if is_chat_model(asked.hone):
            values |= {"model": asked.hone, "insights": "none"}
        config = parse_config(values)
        spelt: JsonObject = {
            "command": "verify",
            **cast("JsonObject", config.model_dump(mode="json")),
        }
        with records.workspace.lock_run(run_id):
            versions = package_versions(settle_box(config.box))
            records.runs.create(run_id, config=spelt, versions=versions, seed=seed)
            watchers = Watchers(observers)
            began = time.monotonic()
            try:
                async with practising(records, run_id, config, watchers) as practice:
                    report = await _canaries(practice, asked)
            except BaseException:
                records.runs.set_status(run_id, "failed")
                raise
            records.runs.set_status(run_id, "finished")
            return report.model_copy(update={"seconds": time.monotonic() - began})


async def _canaries(practice: Practice, asked: _Asked) -> CanaryReport:
    practice.library.refresh()
    served = {skill.name: skill for skill in practice.active()}
    provenance = Provenance(practice, practice.grammar.spec)
    current = AdmissionRound(practice, provenance, 0, True, served)
    verification = Verification(current, asked.hone)
    rows = _asked(practice, served, asked.names, asked.restore)
    lines = [await verification.of(row) for row in rows]
    return CanaryReport(
        run_id=practice.run_id,
        environment=practice.config.environment,
        skills=tuple(lines),
        box=str(settle_box(practice.config.box)),
        replays=sum(line.replays for line in lines),
        steps=verification.steps,
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


class Verification:
    """One verification at work: it decides about skills, callees first."""

    def __init__(self, current: AdmissionRound, hone: str) -> None:
        self._current = current
        self._hone = hone
        self._renamed: dict[str, str] = {}
        self._sequence = 0
        self._written = 0
        self.steps = 0

    async def of(self, row: ItemRow[Skill]) -> CanaryLine:
        """Replay one skill, mend it where it is broken, and decide what is served."""
        began = time.monotonic()
        line = await self._judged(row)
        self._write()
        return line.model_copy(update={"seconds": time.monotonic() - began})

    async def _judged(self, row: ItemRow[Skill]) -> CanaryLine:
        current, skill = self._current, row.item
        missing = [name for name in skill.skills if name not in current.served]
        if missing:
            self._out(row, f"calls: {missing[0]!r} is not served", {})
            return _line(row, _stays_out(row), f"calls: {missing[0]!r} is not served")
        case = Case(skill)

        def found_broken(broken: Case, look: Look | None) -> None:
            evidence = broken.evidence()
            if look is not None:
                evidence["second_look"] = {"passed": look.passed, "n": look.n}
            self._out(row, broken.passage.reason or "", evidence)

        mending = Mending(
            current, skill, how=self._hone, renamed=self._renamed, found_broken=found_broken
        )
        gates = mending.gates = Gates(current, (), mend=mending.next)
        ready: list[Case] = []
        waiting, replays = [case], 0
        while waiting:
            tried = waiting
            waiting = await gates.examine(tried, ready)
            replays += sum(len(each.replays) for each in tried)
            # What the gates decided about the skill itself is for here to say; mended versions
            # that failed as well were rejected like any candidate.
            current.moves[:] = [move for move in current.moves if move.skill.id != skill.id]
        reason, look = case.passage.reason or "", mending.look
        line = _line(row, "holds", reason, replays)
        if look is not None:
            line = line.model_copy(update={"passed": look.passed, "looked": look.n})
        if mending.kept:
            untried = case.fault is not None
            outcome = (
                "still out" if row.status != "active" else "unknown" if untried else "unsteady"
            )
            return line.model_copy(update={"outcome": outcome})
        if not ready:
            return line.model_copy(update={"outcome": _stays_out(row)})
        good = ready[0].skill
        if good.id != skill.id and asks(current.practice):
            # Nobody has seen that code, so the name stays out of service until somebody has.
            replaced = [Move(skill, ("retired",), "")] if row.status != "retired" else []
            ascend(current, good, "mended after a canary", ready[0].evidence(), replaced)
            why = f"version {good.version} mends it and waits for approval ({reason})"
            return line.model_copy(update={"outcome": _stays_out(row), "reason": why})
        current.served[skill.name] = good
        if good.id != skill.id:
            if row.status != "retired":
                why = f"superseded: by version {good.version}, after a canary: {reason}"
                current.moves.append(Move(skill, ("retired",), why, case.evidence()))
            told = "mended after a canary, and verified again"
            current.moves.append(Move(good, ASCENT, told, ready[0].evidence()))
            changes = {"version": good.version, "by": mending.by.get(good.id, "")}
            return line.model_copy(update={"outcome": "mended", **changes})
        if row.status == "active":
            return line.model_copy(update={"reason": ""})
        path = ASCENT if row.status == "retired" else ASCENT[1:]
        current.moves.append(Move(skill, path, "verified again", ready[0].evidence()))
        return line.model_copy(update={"outcome": "restored", "reason": ""})

    def _out(self, row: ItemRow[Skill], reason: str, evidence: JsonObject) -> None:
        """It is not served from here on; what was out already stays out as it is."""
        if row.status == "active":
            self._current.served.pop(row.item.name, None)
            self._current.moves.append(Move(row.item, ("quarantined",), CANARY + reason, evidence))
            self._write()

    def _write(self) -> None:
        """Put on record what was decided since the last time, in one transaction."""
        current, practice = self._current, self._current.practice
        events: list[Event] = []
        taken = current.replay_usage

        def work(part: Transaction) -> JsonObject:
            events.extend(carry_out(part, current, self._sequence))
            purpose = f"replays {self._written}"
            part.budgets.reserve(practice.run_id, 0, taken, purpose=purpose)
            part.budgets.settle(practice.run_id, 0, taken, purpose=purpose)
            practice.charge_model(part, 0, f"verify {self._written}")
            part.events.append(events)
            return {"moves": len(events)}

        practice.records.once(practice.run_id, 0, f"verify {self._written}", work)
        self._written += 1
        self._sequence += len(events)
        self.steps += taken.steps
        current.replay_usage = Usage()
        current.moves.clear()
        current.honed.clear()
        practice.tell(events)


def _stays_out(row: ItemRow[Skill]) -> CanaryOutcome:
    return "demoted" if row.status == "active" else "still out"


def _line(row: ItemRow[Skill], outcome: CanaryOutcome, reason: str, replays: int = 0) -> CanaryLine:
    skill = row.item
    return CanaryLine(
        name=skill.name, version=skill.version, outcome=outcome, reason=reason, replays=replays
    )
