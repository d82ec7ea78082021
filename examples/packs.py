"""What sharing costs and what it lets through: 10,000 skills in packs, and a poisoned corpus.

The first part brings packs of many small skills into a new workspace, as far as approval, and
times reading, checking, searching and revoking; verification itself is timed by the second
part, and its outcome is written down here as if every gate had been passed. The second part
verifies skills that are wrong on purpose and counts how many would serve, with Wilson's 95 %
interval.

    python examples/packs.py [--skills 10000] [--each 200] [--derived 50] [--poisoned 46]
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from agentlab.config import RetrievalConfig
from agentlab.graph.importing import Verification, verify_pack
from agentlab.library import merging, shelf
from agentlab.library.packs.folder import build
from agentlab.library.packs.trust import TrustStore
from agentlab.library.revocation import revoke
from agentlab.library.skills import Found, SkillLibrary
from agentlab.records import PackRow, Records, Workspace
from agentlab.statistics import proportion
from agentlab.testing.poisoned_skills import honest_skill, poisoned_skills
from agentlab.testing.sample_packs import ENVIRONMENT, FETCH, sample_key, sample_pack, sample_skill
from agentlab.types import JsonObject, Skill, skill_id

T = TypeVar("T")

THINGS = ("parcel", "letter", "lamp", "basket", "ladder", "kettle", "rope", "bell")
PLACES = ("attic", "cellar", "garden", "harbour", "market", "tower", "mill", "yard")


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(description="Packs at scale, and a poisoned corpus.")
    parser.add_argument("--skills", type=int, default=10_000)
    parser.add_argument("--each", type=int, default=200, help="skills in a pack")
    parser.add_argument("--derived", type=int, default=50, help="skills derived from one pack")
    parser.add_argument("--poisoned", type=int, default=46, help="poisoned skills to verify")
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        if given.skills:
            measure_scale(Path(place), given.skills, given.each, given.derived)
    with TemporaryDirectory() as place:
        if given.poisoned:
            measure_poisoned(Path(place), given.poisoned)


def measure_scale(place: Path, skills: int, each: int, derived: int) -> None:
    """Import, verify the bytes, search, revoke; times and memory."""
    trust = TrustStore(place / "trusted.db")
    packs = [made(number, each) for number in range(skills // each)]
    with Records.open(Workspace.open(place / "work")) as records:
        rows = timed(
            f"import {len(packs)} packs of {each} skills",
            lambda: [bring(records, trust, files) for files in packs],
        )
        for row in rows:
            pass_gates(records, row)
        timed("merge into the library", lambda: [merging.merge(records, r.digest) for r in rows])
        timed("compare every byte", lambda: [shelf.open_pack(records, r.digest) for r in rows])
    with Records.open(Workspace.open(place / "work")) as records:
        timed("open the library (embeds all)", lambda: search(records, "fetch the lamp"))
        found = timed("open it again and search", lambda: search(records, "bell in the tower"))
        print(f"  found {len(found)}, first {found[0].skill.name if found else 'none'}")
    with Records.open(Workspace.open(place / "work")) as records:
        (first, *_) = records.packs.skills(rows[0].digest)
        for number in range(derived):
            records.items.save_skill(caller(number, first.name), status="active")
        gone = timed("revoke a pack", lambda: revoke(records, rows[:1], None, reason="measured"))
        print(f"  retired {len(gone.items)} of it and {len(gone.derived)} of {derived} derived")
        timed("undo it", lambda: merging.undo(records))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB, {skills:,} skills")


def search(records: Records, query: str) -> list[Found]:
    """The served skills that fit, imported ones among them."""
    library = SkillLibrary(records, ENVIRONMENT, toolset="default", backend="exact", foreign=True)
    with library:
        return library.retrieve(query, RetrievalConfig())


def measure_poisoned(place: Path, count: int) -> None:
    """Verify an honest skill and as many poisoned ones."""
    cases = poisoned_skills()
    step = max(1, len(cases) // count)
    bad = [case.skill for case in cases[::step]][:count]
    trust = TrustStore(place / "trusted.db")
    with Records.open(Workspace.open(place / "work")) as records:
        pack = sample_pack(name="sample/mixed", skills=(honest_skill(), *bad), notes=())
        row = bring(records, trust, build(pack, key=sample_key()))
        found = timed(
            f"verify {len(bad) + 1} skills",
            lambda: asyncio.run(verify_pack(records, row.digest, Verification())),
        )
        merging.merge(records, row.digest)
        served = {r.item.name for r in records.items.skills(status="active")}
    let_in = [skill.name for skill in bad if skill.name in served]
    rate = proportion(skill.name in served for skill in bad)
    assert rate is not None, "there are poisoned skills"
    print(f"honest skill {'serves' if honest_skill().name in served else 'is refused'}")
    print(
        f"poisoned skills that serve: {len(let_in)} of {len(bad)} "
        f"({rate.value:.3f}, {rate.low:.3f} to {rate.high:.3f}) {' '.join(let_in)}"
    )
    print(f"refused with a reason: {sum(bool(c.reason) for c in found)}")


def bring(records: Records, trust: TrustStore, files: dict[str, bytes]) -> PackRow:
    """A pack as far as approval."""
    row = shelf.receive(records, files, "example")
    shelf.approve(records, shelf.judge(records, row.digest, trust), trust)
    return records.packs.get(row.digest)


def pass_gates(records: Records, row: PackRow) -> None:
    """What verification would write down, had every gate been passed."""
    opened = shelf.open_pack(records, row.digest)
    said: JsonObject = {"passed": True, "reason": ""}
    with records.transaction() as part:
        for packed in opened.pack.skills:
            skill = shelf.imported_skill(packed, None)
            part.items.save_skill(skill, status="quarantined")
            part.items.move(skill.id, "verified", reason="as if verified")
            part.packs.check(row.digest, packed.manifest.digest, skill.id, said)
        part.packs.move(row.digest, "verified", reason="as if verified")


def made(number: int, each: int) -> dict[str, bytes]:
    """A signed pack of so many different skills."""
    skills = tuple(small_skill(number * each + place) for place in range(each))
    pack = sample_pack(name=f"sample/pack{number}", skills=skills, notes=())
    return build(pack, key=sample_key())


def small_skill(number: int) -> Skill:
    """One of many."""
    thing, place = THINGS[number % len(THINGS)], PLACES[number // len(THINGS) % len(PLACES)]
    name = f"fetch_{thing}_{place}_{number}"
    source = FETCH.replace("fetch_thing", name)
    skill = sample_skill(name, source=source)
    return skill.model_copy(update={"summary": f"Fetch the {thing} from the {place} ({number})."})


def caller(number: int, callee: str) -> Skill:
    """A skill made here that calls an imported one."""
    name = f"derived_{number}"
    source = f"def {name}(env):\n    env.skills.{callee}()\n"
    skill = small_skill(0)
    return skill.model_copy(
        update={
            "id": skill_id(skill.environment, name, 1, source),
            "name": name,
            "source": source,
            "parameters": (),
            "skills": (callee,),
            "source_attempts": (),
        }
    )


def timed(what: str, work: Callable[[], T]) -> T:
    """Do it and print how long it took."""
    began = time.perf_counter()
    result = work()
    print(f"{what:<40} {time.perf_counter() - began:8.2f} s", flush=True)
    return result


if __name__ == "__main__":
    main()
