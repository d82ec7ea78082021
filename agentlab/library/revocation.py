"""Revoking: a pack or a skill of one goes, and with it everything that was derived from it.

Derived is what descends from a revoked item by version, by calling it, or by attempts that used
it, at any distance, and what another pack says was made from it. All of it is retired in one
transaction, which can be undone as a whole; nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from agentlab.library.packs.verdict import derived_from
from agentlab.records import PackRow, PackSkillRow, Records, Transaction
from agentlab.types import JsonObject

REVOKED = "revoked: "
"""How the reason of an item begins that was revoked, or derived from one that was."""


class Revoked(NamedTuple):
    """What a revocation took out of service."""

    items: tuple[str, ...]
    """Items of what was revoked."""
    derived: tuple[str, ...]
    """Items that were derived from those."""
    packs: tuple[str, ...]
    """Digests of the packs that were revoked as a whole."""


def revoke(
    records: Records, packs: Iterable[PackRow], skill: str | None, *, reason: str
) -> Revoked:
    """Revoke packs, or of these packs one skill alone.

    Args:
        records: the workspace.
        packs: all versions that are meant.
        skill: `owner/name.folder`, or None for the packs as a whole.
        reason: for the record and for whoever asks later.
    """
    chosen = list(packs)
    with records.transaction() as part:
        rows = [
            row
            for pack in chosen
            for row in part.packs.skills(pack.digest)
            if skill is None or row.skill == skill
        ]
        manifests = {row.manifest for row in rows}
        whole = [pack.digest for pack in chosen] if skill is None else []
        buried = part.packs.bury({*manifests, *whole}, reason)
        moves, items, derived = _retire(part, rows, reason)
        states: JsonObject = {}
        for pack in chosen:
            state = part.packs.get(pack.digest).state
            if skill is None and state != "revoked":
                states[pack.digest] = state
                part.packs.move(pack.digest, "revoked", reason=reason)
        body: JsonObject = {"moves": list(moves), "buried": list(buried), "states": states}
        part.packs.note_change("revoke", chosen[-1].digest, body)
    return Revoked(items, derived, tuple(states))


def retire_derived(part: Transaction, manifests: Collection[str], *, reason: str) -> None:
    """Retire the skills of these manifests and all that was derived from them, and bury them."""
    wanted = set(manifests)
    part.packs.bury(wanted, reason)
    _retire(part, [row for row in part.packs.skills() if row.manifest in wanted], reason)


def _retire(
    part: Transaction, rows: Collection[PackSkillRow], reason: str
) -> tuple[list[JsonObject], tuple[str, ...], tuple[str, ...]]:
    """Retire the items of these skills and what descends from them; the moves, for undoing."""
    own = {row.item_id for row in rows if row.item_id is not None}
    above = part.packs.descent()
    ancestors = {row.manifest for row in rows}
    for row in part.packs.skills():
        if row.item_id is not None and row.parents:
            above[row.item_id] = (*above.get(row.item_id, ()), *row.parents)
    derived = set(derived_from(above, {*own, *ancestors})) - own
    moves: list[JsonObject] = []
    statuses = part.packs.statuses({*own, *derived})
    for item, status in sorted(statuses.items()):
        if status == "retired":
            continue
        what = reason if item in own else f"derived from what was revoked: {reason}"
        part.items.move(item, "retired", reason=REVOKED + what)
        moves.append({"item": item, "before": status, "after": "retired"})
    kept = set(statuses)
    return moves, tuple(sorted(own & kept)), tuple(sorted(derived & kept))
