"""Merging: verified skills of a pack begin to serve, under the conflict rules; and undoing it.

A name that something else serves under stays with it. A higher version by the same author
replaces the older one only where it proved not worse here. Each merge is one transaction that
says what it changed, and `undo` takes back the newest change, merge or revocation, as a whole.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

from agentlab.errors import UsageError
from agentlab.library.packs.manifest import version_key
from agentlab.records import PackRow, PackSkillRow, PackState, Records, Transaction
from agentlab.types import JsonObject, Status

MERGED = "merged from a pack"
What = Literal["serves", "stays", "replaced", "waits", "refused"]


class MergeLine(NamedTuple):
    """What a merge did with one skill, or why it did nothing."""

    what: What
    skill: str
    """`owner/name.folder`."""
    name: str
    reason: str


class Undone(NamedTuple):
    """What undoing a change put back."""

    kind: str
    pack: PackRow
    items: int
    """Items whose status was put back."""
    left: tuple[str, ...]
    """Items that were changed since and stay as they are."""


def merge(records: Records, digest: str) -> tuple[MergeLine, ...]:
    """Serve the verified skills of a pack; a line for each skill.

    Merging twice changes nothing the second time.

    Raises:
        UsageError: the pack has not been verified here.
    """
    row = records.packs.get(digest)
    if row.state not in ("verified", "active"):
        raise UsageError(
            f"The pack {row.name!r} is {row.state}; only what was verified here can serve: "
            f"`agentlab packs import` approves it and `agentlab packs verify {row.name}` verifies."
        )
    lines: list[MergeLine] = []
    moves: list[JsonObject] = []
    with records.transaction() as part:
        rows = part.packs.skills(digest)
        statuses = part.packs.statuses({r.item_id for r in rows if r.item_id is not None})
        for skill in rows:
            lines.append(_place(part, skill, statuses, moves))
        serving = any(line.what == "serves" for line in lines)
        if serving and row.state != "active":
            part.packs.move(digest, "active", reason="its verified skills serve")
        if moves:
            states: JsonObject = {digest: row.state} if row.state != "active" else {}
            part.packs.note_change("merge", digest, {"moves": list(moves), "states": states})
    return tuple(lines)


def undo(records: Records) -> Undone:
    """Take back the newest merge or revocation.

    Raises:
        UsageError: there is nothing to undo.
    """
    with records.transaction() as part:
        change = part.packs.last_change()
        if change is None:
            raise UsageError("No merge or revocation of packs is left to undo here.")
        done, left = 0, list[str]()
        for move in reversed(_list(change.body.get("moves"))):
            item, before, after = str(move["item"]), str(move["before"]), str(move["after"])
            if part.packs.statuses([item]).get(item) != after:
                left.append(item)
                continue
            why = f"the {change.kind} was undone"
            part.items.move(item, cast("Status", before), reason=why)
            done += 1
        part.packs.unbury([str(key) for key in _texts(change.body.get("buried"))])
        states = change.body.get("states")
        for digest, state in states.items() if isinstance(states, dict) else ():
            before_state = cast("PackState", state)
            if change.kind == "revoke":
                part.packs.undo_revocation(digest, before_state)
            else:
                part.packs.move(digest, before_state, reason="the merge was undone")
        part.packs.set_undone(change.serial)
        return Undone(change.kind, part.packs.get(change.pack), done, tuple(left))


def _place(
    part: Transaction,
    skill: PackSkillRow,
    statuses: dict[str, Status],
    moves: list[JsonObject],
) -> MergeLine:
    """Decide about one skill and carry it out."""

    def line(what: What, reason: str) -> MergeLine:
        return MergeLine(what, skill.skill, skill.name, reason)

    if skill.item_id is None or not skill.checked.get("passed"):
        why = str(skill.checked.get("reason") or skill.verdict.get("reason") or "not verified here")
        return line("refused", why)
    status = statuses[skill.item_id]
    if status == "active":
        return line("serves", "it serves already")
    if status == "retired":
        return line("refused", "it was retired here")
    rivals = part.items.skills(environment=skill.environment, status="active", name=skill.name)
    for rival in rivals:
        kept = part.packs.skills(items=[rival.item.id])
        older = next((r for r in kept if _is_older(r, skill)), None)
        if older is None:
            return line("waits", f"the name {skill.name!r} stays with what serves under it")
        if not skill.checked.get("not_worse"):
            return line("waits", f"version {older.version} serves; this one did not prove as good")
    for rival in rivals:
        _move(part, rival.item.id, "active", "retired", f"superseded: by {skill.version}", moves)
    _move(part, skill.item_id, status, "active", MERGED, moves)
    replaced = f"replaces version {rivals[0].item.version}" if rivals else "verified here"
    return line("serves", replaced)


def _is_older(held: PackSkillRow, incoming: PackSkillRow) -> bool:
    """Whether they are versions of one skill by one author, and this one is the older."""
    same = held.skill == incoming.skill and held.key is not None and held.key == incoming.key
    return same and version_key(held.version) < version_key(incoming.version)


def _move(
    part: Transaction,
    item: str,
    before: Status,
    after: Status,
    reason: str,
    moves: list[JsonObject],
) -> None:
    part.items.move(item, after, reason=reason)
    moves.append({"item": item, "before": before, "after": after})


def _list(value: object) -> list[JsonObject]:
    return cast("list[JsonObject]", value) if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return cast("list[str]", value) if isinstance(value, list) else []
