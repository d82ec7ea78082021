"""Packs that came in, who signed them, what each of their skills may do and what became of it.

Every word of a pack is its author's; a signature says who, never that it is safe.
"""

from __future__ import annotations

from agentlab.records import PackRow, PackSkillRow, Records
from agentlab.types import Frozen
from agentlab.view.pages.attempt import pretty


class PackLine(Frozen):
    """A pack's row."""

    pack: PackRow
    skills: int


class PacksPage(Frozen):
    """The list."""

    lines: tuple[PackLine, ...]
    keys: tuple[tuple[str, int, int], ...]
    """Key id, how many packs it signed that came in here, and how many of them were revoked."""
    buried: int
    """Digests that were revoked here and are kept out."""
    text: str


class PackSkillShown(Frozen):
    """A skill of a pack."""

    skill: PackSkillRow
    needs: str
    verdict: str
    checked: str
    status: str
    """Of its item in the library; empty where it has none."""


class PackMoveShown(Frozen):
    """One change of a pack's state."""

    before: str
    after: str
    reason: str
    evidence: str
    created: str


class PackPage(Frozen):
    """One pack."""

    pack: PackRow
    skills: tuple[PackSkillShown, ...]
    moves: tuple[PackMoveShown, ...]


def make(records: Records, *, text: str = "") -> PacksPage:
    """The packs, newest first."""
    sizes = records.packs.count_skills()
    rows = records.packs.all()
    keys = sorted({row.key for row in rows if row.key is not None})
    wanted = text.casefold()
    return PacksPage(
        lines=tuple(
            PackLine(pack=row, skills=sizes.get(row.digest, 0))
            for row in reversed(rows)
            if wanted in f"{row.name} {row.digest} {row.key} {row.source}".casefold()
        ),
        keys=tuple(
            (
                key,
                sum(row.key == key for row in rows),
                sum(row.key == key and row.state == "revoked" for row in rows),
            )
            for key in keys
        ),
        buried=len(records.packs.buried()),
        text=text,
    )


def make_pack(records: Records, digest: str) -> PackPage:
    """One pack in full.

    Raises:
        UnknownNameError: there is none of that digest.
    """
    pack = records.packs.get(digest)
    skills = records.packs.skills(digest)
    statuses = records.packs.statuses([s.item_id for s in skills if s.item_id is not None])
    return PackPage(
        pack=pack,
        skills=tuple(
            PackSkillShown(
                skill=each,
                needs=pretty(each.needs),
                verdict=pretty(each.verdict),
                checked=pretty(each.checked),
                status=statuses.get(each.item_id or "", ""),
            )
            for each in skills
        ),
        moves=tuple(
            PackMoveShown(
                before=move.before or "",
                after=move.after,
                reason=move.reason,
                evidence=pretty(move.evidence),
                created=move.created_at,
            )
            for move in records.packs.history(digest)
        ),
    )
