"""A small good pack and keys to sign it, for tests of whatever reads, shows or keeps packs.

The keys are made from their numbers and known to everybody: nothing that they sign is vouched
for by anybody.
"""

from __future__ import annotations

import hashlib

from agentlab.library.packs.contents import Pack, pack_skill
from agentlab.library.packs.keys import SigningKey
from agentlab.library.packs.manifest import Evidence, PackManifest, Provenance
from agentlab.types import Clause, Insight, Parameter, Skill, skill_id

ENVIRONMENT = "sample-post"
CREATED = "2026-01-02T03:04:05Z"
LICENCE = "MIT"
LICENCE_TEXT = "Permission is granted, free of charge, to any person, without warranty.\n"

FETCH = '''def fetch_thing(env, *, thing: object):
    """Go to a thing and take it.

    Precondition: nothing is carried.
    Effect: the thing is carried.
    """
    env.go_to(target=thing)
    env.pick_up(target=thing)
'''
FETCH_EFFECT = """def check(initial, final, *, thing):
    return final["carrying"] == thing["name"]
"""
BRING = '''def bring_thing(env, *, thing: object, count: int):
    """Fetch a thing and put it down.

    Precondition: nothing is carried.
    Effect: the thing has been moved.
    """
    env.skills.fetch_thing(thing=thing)
    for _ in range(count):
        env.put_down()
'''
BRING_EFFECT = """def check(initial, final, *, thing, count):
    return initial["places"][thing["name"]] != final["places"][thing["name"]]
"""


def sample_key(number: int = 0) -> SigningKey:
    """The key of that number, always the same one."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = hashlib.sha256(f"sample key {number}".encode()).digest()
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))


def sample_skill(name: str = "fetch_thing", *, version: int = 1, source: str = FETCH) -> Skill:
    """A skill of one parameter that takes a thing."""
    return Skill(
        id=skill_id(ENVIRONMENT, name, version, source),
        name=name,
        version=version,
        environment=ENVIRONMENT,
        source=source,
        parameters=(Parameter(name="thing", type="thing", requires={"weight": 0.5}),),
        achieves=Clause(predicate="carried", arguments={"thing": "thing"}),
        summary="Fetch a thing: go there, take it.",
        precondition={"carrying": None},
        effect_source=FETCH_EFFECT,
        effect=("the thing is carried",),
        tools=("go_to", "pick_up"),
        tests=(
            {"task": "task-1", "arguments": {"thing": {"name": "crème brûlée"}}},
            {"task": "task-2", "arguments": {"thing": {"name": "box"}}, "seed": 7},
        ),
        source_tasks=("task-1", "task-2"),
        source_attempts=("attempt-1",),
    )


def sample_caller(*, version: int = 1) -> Skill:
    """A skill of two parameters that calls the other one."""
    return Skill(
        id=skill_id(ENVIRONMENT, "bring_thing", version, BRING),
        name="bring_thing",
        version=version,
        environment=ENVIRONMENT,
        source=BRING,
        parameters=(
            Parameter(name="thing", type="thing"),
            Parameter(name="count", type="integer", from_clause=False),
        ),
        summary="Bring a thing.",
        effect_source=BRING_EFFECT,
        tools=("put_down",),
        skills=("fetch_thing",),
        parent="skill-0",
    )


def sample_insight(number: int = 1, *, advice: str = "Look before you walk.") -> Insight:
    """An insight of that number."""
    return Insight(
        id=f"insight-{number}",
        environment=ENVIRONMENT,
        condition="the way is long",
        advice=advice,
    )


def sample_pack(
    *,
    name: str = "sample/post",
    version: str = "1.0.0",
    skills: tuple[Skill, ...] | None = None,
    notes: tuple[Insight, ...] | None = None,
    readme: str | None = "# Samples\n\nTwo skills and an insight.\n",
    revokes: tuple[str, ...] = (),
) -> Pack:
    """A pack of two skills, one insight and a licence; its skills have the pack's version."""
    chosen = (sample_skill(), sample_caller()) if skills is None else skills
    return Pack(
        manifest=PackManifest(
            id=name,
            version=version,
            summary="Samples.",
            authors=("Nobody",),
            created=CREATED,
            revokes=revokes,
        ),
        skills=tuple(
            pack_skill(
                skill,
                pack=name,
                version=version,
                licence=LICENCE,
                authors=("Nobody",),
                created=CREATED,
                evidence=Evidence(
                    environment=skill.environment, passes=9, n=10, effect=0.25, interval=(0.1, 0.4)
                ),
                provenance=Provenance(runs=("run-1",), agentlab="0"),
                references={"notes.md": f"# More on {skill.name}\n"},
            )
            for skill in chosen
        ),
        notes=(sample_insight(),) if notes is None else notes,
        licence_texts={LICENCE: LICENCE_TEXT},
        readme=readme,
    )
