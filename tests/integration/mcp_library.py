"""A workspace whose library is that of the shipped packs, for tests of what serves it.

The skills are put on record status by status, as admission does. That they pass its gates is shown
where packs are verified, and is not what is tested here.
"""

from __future__ import annotations

from pathlib import Path

from agentlab.library import shelf
from agentlab.library.packs.folder import read
from agentlab.records import Records, Workspace
from agentlab.types import SHARED, Scope, Skill, Status, skill_id
from agentlab.types.scope import scoped_id

ROAD: tuple[Status, ...] = ("quarantined", "verified", "active")
PACKS = Path(__file__).parents[2] / "skills"


def pack_skills(pack: str) -> list[Skill]:
    """The skills of a shipped pack."""
    opened = read(shelf.open_files(str(PACKS / pack)))
    return [packed.skill for packed in opened.pack.skills if packed.skill is not None]


def walk(records: Records, skill: Skill, *, to: Status = "active", scope: Scope = SHARED) -> None:
    """Take a skill up its road."""
    records.items.save_skill(skill, scope=scope)
    for status in ROAD[: ROAD.index(to) + 1] if to in ROAD else ():
        records.items.move(skill.id, status, reason="for a test")


def renamed(skill: Skill, name: str, *, scope: Scope = SHARED, version: int = 1) -> Skill:
    """The same skill under another name, or another's of that name."""
    source = skill.source.replace(f"def {skill.name}(", f"def {name}(", 1)
    made = scoped_id(scope, skill_id(skill.environment, name, version, source))
    change = {"id": made, "name": name, "version": version, "source": source}
    return skill.model_copy(update=change)


SLOW = '''def slow(env, *, place: dict):
    """Walk there and stay awhile."""
    env.walk(to=place)
    n = 0
    while n < 400000000:
        n += 1
'''


def slow_skill() -> Skill:
    """One of the courier's that is at work for seconds."""
    (at,) = [skill for skill in pack_skills("courier") if skill.name == "at"]
    made = skill_id(at.environment, "slow", 1, SLOW)
    return at.model_copy(update={"id": made, "name": "slow", "source": SLOW})


def make_library(place: Path, *packs: str) -> Path:
    """A workspace that serves the packs."""
    with Records.open(Workspace.open(place)) as records:
        for pack in packs:
            for skill in pack_skills(pack):
                walk(records, skill)
    return place
