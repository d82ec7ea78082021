"""Skills of a pack, verified here: what an author claims counts for nothing.

An imported skill goes the road of a learnt candidate, as far as that needs no past: static
checks, its author's tests, replays from fresh resets with arguments generated here, its effect
check and negative controls, duplicates, and use on practice tasks with and without it. What it
calls comes along and is verified first. All of it runs in a box; where there is none, nothing
is run. A verdict belongs to the bytes, the box and the version of agentlab that it was reached
with, and is reached anew when one of them changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from agentlab.config import AdmissionConfig, BoxName, PracticeConfig
from agentlab.environments.registration import base_name, make_environment
from agentlab.errors import SkillRefusedError, UsageError
from agentlab.events import Progress
from agentlab.graph.import_gates import ImportGates, not_worse
from agentlab.graph.opening import cores, package_versions
from agentlab.graph.practice import Practice, toolset_name
from agentlab.graph.provenance import Provenance
from agentlab.graph.trials import AdmissionRound, Case
from agentlab.graph.workers import WorkerPool, refuse_unguarded
from agentlab.library.admission import mean_saving
from agentlab.library.packs.contents import PackedSkill
from agentlab.library.packs.folder import Opened
from agentlab.library.road import walk
from agentlab.library.shelf import imported_skill, open_pack
from agentlab.library.skills import SkillLibrary
from agentlab.protocols import Observer
from agentlab.records import PackSkillRow, Records
from agentlab.sandbox import SettledBox, settle_box
from agentlab.sandbox.runtime import INSTALL
from agentlab.types import EnvironmentRef, JsonObject, Skill, digest
from agentlab.version import __version__


@dataclass(frozen=True)
class Verification:
    """How to verify.

    Attributes:
        box: where the code runs; `auto` is the first that passes its self-test.
        admission: replays, trials and the tool calls of a trial.
        options: of the environment.
        model: the executor of the trials.
        seed: of everything that is drawn.
        concurrency: processes; 0 means one for each core.
        again: whether to redo what still holds.
    """

    box: BoxName = "auto"
    admission: AdmissionConfig = field(
        default_factory=lambda: AdmissionConfig(replays=5, trials=8, trial_tool_calls=300)
    )
    options: JsonObject = field(default_factory=lambda: {})
    model: str = "search"
    seed: int = 0
    concurrency: int = 0
    again: bool = False


class Checked(NamedTuple):
    """What verification said of one skill."""

    skill: str
    """`owner/name.folder`."""
    name: str
    passed: bool
    reason: str
    """Why not; empty where it passed."""
    again: bool
    """Whether it was found out now, or stood already."""


async def verify_pack(
    records: Records,
    pack: str,
    options: Verification | None = None,
    observers: Sequence[Observer] = (),
) -> tuple[Checked, ...]:
    """Verify every approved skill of a pack here, what is called before its callers.

    What was decided before, with these bytes, this box and this version, stands; a process that
    was killed goes on where it was.

    Raises:
        SkillRefusedError: there is no box on this machine; the text says what to install.
        PackRefusedError: the pack's files changed.
        UsageError: its environment is not there, or nobody approved the pack.
    """
    refuse_unguarded()
    row = records.packs.get(pack)
    if row.state not in ("approved", "verified", "active"):
        raise UsageError(
            f"The pack {row.name!r} is {row.state} ({row.reason}); only an approved one is "
            "verified: `agentlab packs import` shows it and asks."
        )
    chosen = options or Verification()
    box = settle_box(chosen.box)
    if not box.takes_foreign_code:
        raise SkillRefusedError(f"Imported code is run only in a box: {INSTALL}.")
    opened = open_pack(records, pack)
    rows = {row.manifest: row for row in records.packs.skills(pack) if row.approved}
    packed = [each for each in opened.pack.skills if each.manifest.digest in rows]
    if not chosen.again and all(stands(row, box) for row in rows.values()):
        known = tuple(_as_it_stands(row) for row in rows.values())
        _conclude(records, pack, known)
        return known
    found: list[Checked] = []
    for environment in sorted({e.skill.environment for e in packed if e.skill}):
        here = [each for each in packed if each.skill and each.skill.environment == environment]
        with _verifying(records, opened, environment, chosen, box, observers) as verifier:
            found += await verifier.verify(_shortest_first(here), rows)
    found += [_text_alone(records, pack, each, box) for each in packed if each.skill is None]
    _conclude(records, pack, found)
    return tuple(found)


def stands(row: PackSkillRow, box: SettledBox) -> bool:
    """Whether what was found out about a skill still holds."""
    said = row.checked
    return (said.get("manifest"), said.get("box"), said.get("agentlab")) == (
        row.manifest,
        str(box),
        __version__,
    )


@contextmanager
def _verifying(
    records: Records,
    opened: Opened,
    environment: str,
    options: Verification,
    box: SettledBox,
    observers: Sequence[Observer],
):  # pyright infers it
    """A verifier at work on one environment, its run on record and its processes started."""
    ref = EnvironmentRef(name=environment, options=options.options)
    config = PracticeConfig(
        environment=environment,
        environment_options=options.options,
        model=options.model,
        seed=options.seed,
        rounds=1,
        heldout=0,
        index="exact",
        box=options.box,
        concurrency=options.concurrency,
        admission=options.admission,
    )
    run_id = _begin(records, config, opened.digest, box)
    pool = WorkerPool(cores(config.concurrency), box=box.name)
    library = SkillLibrary(
        records,
        base_name(environment),
        toolset=toolset_name(make_environment(ref).tools),
        backend="exact",
        foreign=True,
    )
    try:
        practice = Practice(
            run_id=run_id,
            config=config,
            records=records,
            pool=pool,
            library=library,
            observers=observers,
        )
        yield _Verifier(practice, opened, box, again=options.again)
        records.runs.set_status(run_id, "finished")
    finally:
        library.close()
        pool.close()


def _begin(records: Records, config: PracticeConfig, pack: str, box: SettledBox) -> str:
    """Record the run under which the trials are kept; each verification has its own."""
    spelt = cast("JsonObject", config.model_dump(mode="json"))
    spelt |= {"command": "import", "pack": pack}
    base = f"import-{base_name(config.environment)}-{config.seed}-{digest(spelt)[:8]}"
    known = set(records.runs.ids())
    run_id, number = base, 2
    while run_id in known:
        run_id, number = f"{base}-{number}", number + 1
    records.runs.create(run_id, config=spelt, versions=package_versions(box), seed=config.seed)
    return run_id


class _Verifier:
    """The gates for imported skills of one environment."""

    def __init__(self, practice: Practice, opened: Opened, box: SettledBox, *, again: bool) -> None:
        self._practice = practice
        self._pack = opened.digest
        self._box = box
        self._again = again
        served = {skill.name: skill for skill in practice.active()}
        spec = practice.grammar.spec
        self._current = AdmissionRound(practice, Provenance(practice, spec), 0, True, served)
        self._road = ImportGates(self._current, box.name)

    async def verify(
        self, packed: Sequence[PackedSkill], rows: dict[str, PackSkillRow]
    ) -> list[Checked]:
        """Every skill, what is called first; each verdict is kept as soon as it is reached."""
        found: list[Checked] = []
        waiting = list(packed)
        while waiting:
            names = {each.skill.name for each in waiting if each.skill}
            ready = [each for each in waiting if not names & set(each.manifest.calls)]
            ready = ready or waiting  # they call each other in a ring, which no gate lets pass
            waiting = [each for each in waiting if each not in ready]
            found += await self._together(ready, rows)
            self._tell(len(packed) - len(waiting), len(packed))
        return found

    async def _together(
        self, packed: Sequence[PackedSkill], rows: dict[str, PackSkillRow]
    ) -> list[Checked]:
        """Skills that do not call each other: proved side by side, then tried in turn."""
        found: list[Checked] = []
        cases: list[tuple[Case, PackSkillRow]] = []
        for each in packed:
            row = rows[each.manifest.digest]
            skill = imported_skill(each, self._parent(row))
            if self._again or not stands(row, self._box):
                cases.append((Case(skill), row))
                continue
            found.append(_as_it_stands(row))
            if found[-1].passed:
                self._current.served.setdefault(skill.name, skill)
        proved = await asyncio.gather(*(walk(case, self._road.proving()) for case, _ in cases))
        for (case, row), passage in zip(cases, proved, strict=True):
            case.passage = passage
            found.append(await self._one(case, row))
        return found

    async def _one(self, case: Case, row: PackSkillRow) -> Checked:
        skill = case.skill
        rival = self._current.served.get(skill.name)
        if rival is not None and rival.id == skill.id:
            del self._current.served[skill.name]  # it is itself that is verified anew
            rival = None
        case.passage = await walk(case, self._road.serving(rival), case.passage)
        reason = case.passage.reason or ""
        said: JsonObject = {
            "manifest": row.manifest,
            "box": str(self._box),
            "agentlab": __version__,
            "run": self._practice.run_id,
            "passed": not reason,
            "reason": reason,
            "not_worse": not reason and rival is not None and not_worse(case.trials),
            "saving": round(mean_saving(case.trials), 4),
        }
        self._keep(skill, row, said, case)
        if not reason:
            self._current.served.setdefault(skill.name, skill)
        return Checked(row.skill, row.name, not reason, reason, True)

    def _keep(self, skill: Skill, row: PackSkillRow, said: JsonObject, case: Case) -> None:
        """The verdict and, where it passed, the item: one transaction."""
        with self._practice.records.transaction() as part:
            if not said["passed"]:
                status = part.packs.statuses([skill.id]).get(skill.id)
                if status is not None:
                    why = f"verification: {said['reason']}"
                    part.items.move(skill.id, "retired", reason=why, evidence=case.evidence())
                part.packs.check(self._pack, row.manifest, None, said)
                return
            part.items.save_skill(skill, status="quarantined", reason="imported and approved")
            status = part.packs.statuses([skill.id])[skill.id]
            if status != "active":
                part.items.move(
                    skill.id,
                    "verified",
                    reason=f"verified here in {self._box}",
                    evidence=case.evidence(),
                )
            part.packs.check(self._pack, row.manifest, skill.id, said)

    def _parent(self, row: PackSkillRow) -> str | None:
        """The item of the version that this one may replace."""
        replaces = row.verdict.get("replaces")
        for other in self._practice.records.packs.skills(ids=[row.skill]):
            if replaces is not None and other.manifest == replaces:
                return other.item_id
        return None

    def _tell(self, done: int, total: int) -> None:
        event = Progress(run_id=self._practice.run_id, phase="verifying", done=done, total=total)
        self._practice.tell([event])


def _as_it_stands(row: PackSkillRow) -> Checked:
    passed, reason = bool(row.checked.get("passed")), str(row.checked["reason"])
    return Checked(row.skill, row.name, passed, reason, again=False)


def _shortest_first(packed: Sequence[PackedSkill]) -> list[PackedSkill]:
    return sorted(packed, key=lambda p: p.skill.source.count("env.") if p.skill else 0)


def _text_alone(records: Records, pack: str, packed: PackedSkill, box: SettledBox) -> Checked:
    """Text is kept and shown as quoted data; there is nothing in it to run or to serve."""
    manifest, reason = packed.manifest, "it is text alone, which is kept and not served"
    said: JsonObject = {
        "manifest": manifest.digest,
        "box": str(box),
        "agentlab": __version__,
        "passed": False,
        "reason": reason,
    }
    records.packs.check(pack, manifest.digest, None, said)
    return Checked(manifest.id, manifest.folder, False, reason, True)


def _conclude(records: Records, pack: str, found: Sequence[Checked]) -> None:
    """Let the pack go on when a skill of it was verified; else it is rejected."""
    state = records.packs.get(pack).state
    good = sum(checked.passed for checked in found)
    evidence: JsonObject = {"passed": good, "of": len(found)}
    if state == "approved" and good:
        why = f"{good} of {len(found)} skills were verified here"
        records.packs.move(pack, "verified", reason=why, evidence=evidence)
    elif state in ("approved", "verified", "active") and not good:
        why = f"none of its {len(found)} skills was verified here"
        records.packs.move(pack, "rejected", reason=why, evidence=evidence)
