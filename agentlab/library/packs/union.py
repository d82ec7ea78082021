"""Two packs made into one of a new name; the first wins, and nothing is lost without a word.

Each skill keeps its licence, its authors and its author's claims, and names the manifest that
it was taken from, so that revoking the source reaches it. The result is signed by whoever made
it and vouches for nothing that its sources did.
"""

from __future__ import annotations

from typing import NamedTuple

from agentlab.errors import UsageError
from agentlab.library.packs.contents import Pack, PackedSkill, pack_skill
from agentlab.library.packs.manifest import PackManifest


class Union(NamedTuple):
    """The pack, and what was left out of it."""

    pack: Pack
    left: tuple[str, ...]
    """One sentence for each skill or note that gave way."""


def unite(first: Pack, second: Pack, *, id: str, version: str, authors: tuple[str, ...]) -> Union:
    """Both packs in one; its date is the later of theirs.

    Raises:
        UsageError: a skill of them has no licence, or is text alone, which is not repacked.
    """
    chosen: dict[str, PackedSkill] = {}
    left: list[str] = []
    for packed in (*first.skills, *second.skills):
        skill, manifest = packed.skill, packed.manifest
        if skill is None:
            raise UsageError(f"The skill {manifest.id!r} is text alone and cannot be merged.")
        if manifest.licence is None:
            raise UsageError(
                f"The skill {manifest.id!r} has no licence, so it may not be passed on in another "
                "pack."
            )
        other = chosen.get(manifest.folder)
        if other is None:
            chosen[manifest.folder] = packed
        elif other.manifest.digest != manifest.digest:
            left.append(f"{manifest.id} gives way to {other.manifest.id}, which has its name.")
    notes = {note.id: note for note in (*second.notes, *first.notes)}
    if len(notes) < len(first.notes) + len(second.notes):
        left.append("Notes of one id in both are taken from the first.")
    pack = Pack(
        manifest=PackManifest(
            id=id,
            version=version,
            summary=f"{first.manifest.id} and {second.manifest.id}.",
            authors=authors,
            created=max(first.manifest.created, second.manifest.created),
        ),
        skills=tuple(_taken(packed, id, version) for packed in chosen.values()),
        notes=tuple(notes[key] for key in sorted(notes)),
        licence_texts={**second.licence_texts, **first.licence_texts},
    )
    return Union(pack, tuple(left))


def _taken(packed: PackedSkill, pack: str, version: str) -> PackedSkill:
    manifest = packed.manifest
    assert packed.skill is not None, "text alone was refused"
    origin = manifest.provenance
    return pack_skill(
        packed.skill,
        pack=pack,
        created=manifest.created,
        version=version,
        licence=manifest.licence,
        authors=manifest.authors,
        evidence=packed.evidence,
        needs=manifest.needs,
        provenance=origin.model_copy(update={"parents": (*origin.parents, manifest.digest)}),
        references=packed.references,
    )
