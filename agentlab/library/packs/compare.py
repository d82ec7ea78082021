"""What differs between two packs, or between a pack and a library, for the person who approves.

Only describes; `verdict` decides. Lines of foreign files are data: whoever prints them escapes
them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from agentlab.library.packs.contents import Pack, PackedSkill
from agentlab.library.packs.manifest import Needs, widened
from agentlab.library.packs.verdict import Held
from agentlab.types import Skill

MAX_DIFF_LINES = 400
"""Of one skill; the rest is counted, not shown."""
MAX_COMPARED = 2_000
"""Lines of code that are compared; beyond them, `fields` still says that something differs."""


class SkillChange(NamedTuple):
    """How one skill differs."""

    id: str
    kind: Literal["added", "removed", "changed"]
    before: str | None
    """Version."""
    after: str | None
    fields: tuple[str, ...]
    """What differs, by name: `code`, `effect`, `tests`, `page`, or a field of the manifest."""
    widened: tuple[str, ...]
    """Grants that it asks for beyond those before."""
    lines: tuple[str, ...]
    """Unified diff of the code and of the effect check."""


class PackDifference(NamedTuple):
    """How two packs differ. Empty where they are the same but for signatures."""

    skills: tuple[SkillChange, ...]
    notes_added: tuple[str, ...]
    """Ids of insights."""
    notes_removed: tuple[str, ...]
    licences_added: tuple[str, ...]

    @property
    def widened(self) -> bool:
        """Whether anything asks for more than before."""
        return any(change.widened for change in self.skills)

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.skills or self.notes_added or self.notes_removed or self.licences_added)


def compare(before: Pack | None, after: Pack) -> PackDifference:
    """How a pack differs from the one before it; from nothing, everything is added."""
    olds = {s.manifest.id: s for s in before.skills} if before is not None else {}
    news = {s.manifest.id: s for s in after.skills}
    changes = [
        change
        for name in sorted(olds.keys() | news.keys())
        if (change := _change(name, olds.get(name), news.get(name))) is not None
    ]
    old_notes = {note.id: note for note in before.notes} if before is not None else {}
    new_notes = {note.id: note for note in after.notes}
    old_licences = set(before.manifest.licences) if before is not None else set[str]()
    return PackDifference(
        skills=tuple(changes),
        notes_added=tuple(sorted(n for n, note in new_notes.items() if old_notes.get(n) != note)),
        notes_removed=tuple(sorted(old_notes.keys() - new_notes.keys())),
        licences_added=tuple(sorted(set(after.manifest.licences) - old_licences)),
    )


def compare_with_library(
    held: Sequence[Held], skills: Mapping[str, Skill], pack: Pack
) -> tuple[SkillChange, ...]:
    """How a pack differs from what is held here under the same ids.

    Args:
        held: what is held, one version of each id.
        skills: the skills themselves, by the digest of the manifest that they were held under.
        pack: what came in.
    """
    here = {item.id: item for item in held}
    changes: list[SkillChange] = []
    for packed in pack.skills:
        manifest = packed.manifest
        item = here.get(manifest.id)
        if item is None:
            change = _change(manifest.id, None, packed)
            if change is not None:
                changes.append(change)
        elif item.digest != manifest.digest:
            old = skills.get(item.digest)
            changes.append(
                SkillChange(
                    id=manifest.id,
                    kind="changed",
                    before=item.version,
                    after=manifest.version,
                    fields=_skill_fields(old, packed.skill),
                    widened=widened(item.needs, manifest.needs),
                    lines=_lines(old, packed.skill),
                )
            )
    return tuple(changes)


def _change(name: str, old: PackedSkill | None, new: PackedSkill | None) -> SkillChange | None:
    if old is not None and new is not None:
        fields = _fields(old, new)
        if not fields:
            return None
        kind: Literal["added", "removed", "changed"] = "changed"
    else:
        fields, kind = (), "added" if old is None else "removed"
    needs = old.manifest.needs if old is not None else Needs()
    return SkillChange(
        id=name,
        kind=kind,
        before=old.manifest.version if old is not None else None,
        after=new.manifest.version if new is not None else None,
        fields=fields,
        widened=widened(needs, new.manifest.needs) if new is not None else (),
        lines=_lines(old.skill if old else None, new.skill if new else None),
    )


def _fields(old: PackedSkill, new: PackedSkill) -> tuple[str, ...]:
    before = old.manifest.model_dump(exclude={"files", "skill"})
    after = new.manifest.model_dump(exclude={"files", "skill"})
    found = [name for name in before if before[name] != after[name]]
    found += _skill_fields(old.skill, new.skill)
    for name, one, other in (
        ("page", old.body, new.body),
        ("references", old.references, new.references),
        ("evidence", old.evidence, new.evidence),
    ):
        if one != other:
            found.append(name)
    return tuple(dict.fromkeys(found))


def _skill_fields(old: Skill | None, new: Skill | None) -> tuple[str, ...]:
    if old is None or new is None:
        return () if old is new else ("code",)
    before, after = old.model_dump(), new.model_dump()
    spoken = {"source": "code", "effect_source": "effect"}
    return tuple(spoken.get(name, name) for name in before if before[name] != after[name])


def _lines(old: Skill | None, new: Skill | None) -> tuple[str, ...]:
    lines: list[str] = []
    for name in ("source", "effect_source"):
        before: str = getattr(old, name) if old is not None else ""
        after: str = getattr(new, name) if new is not None else ""
        where = "code" if name == "source" else "effect"
        lines += difflib.unified_diff(
            before.splitlines(),
            after.splitlines(),
            f"{where} before",
            f"{where} after",
            lineterm="",
        )
    if len(lines) > MAX_DIFF_LINES:
        left = len(lines) - MAX_DIFF_LINES
        lines = [*lines[:MAX_DIFF_LINES], f"… and {left} lines more"]
    return tuple(lines)
