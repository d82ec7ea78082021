"""Packs that came in: their states, their skills, what was done with them and what was revoked.

One state, one row of history, one transaction, as for items. The files of a pack are a blob and
are named here by digest only. Which state may follow which is decided here, what a state means
and when a pack earns it is not. A skill of a pack is no item before it was verified here, so
that nothing which judges or serves items can meet one that nobody approved.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import Connection, delete, func, select, update

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.records.database import Session, add, now
from agentlab.records.encoding import decode_object, encode_object, plain, unreadable
from agentlab.records.tables import (
    ATTEMPTS,
    ITEMS,
    LINEAGE,
    PACK_CHANGES,
    PACK_MOVES,
    PACK_SKILLS,
    PACKS,
    TOMBSTONES,
)
from agentlab.types import JsonObject, Scope, Status

PackState = Literal[
    "received",
    "quarantined",
    "checked",
    "approved",
    "verified",
    "active",
    "rejected",
    "revoked",
]
NEXT_STATE: dict[PackState, frozenset[PackState]] = {
    "received": frozenset({"quarantined", "rejected", "revoked"}),
    "quarantined": frozenset({"checked", "rejected", "revoked"}),
    "checked": frozenset({"approved", "quarantined", "rejected", "revoked"}),
    "approved": frozenset({"verified", "quarantined", "rejected", "revoked"}),
    "verified": frozenset({"active", "approved", "quarantined", "rejected", "revoked"}),
    "active": frozenset({"approved", "verified", "quarantined", "rejected", "revoked"}),
    "rejected": frozenset({"quarantined", "revoked"}),
    "revoked": frozenset(),
}
"""No gate can be skipped on the way up. Only `undo_revocation` leads out of `revoked`."""
ChangeKind = Literal["merge", "revoke"]

_STATES: tuple[PackState, ...] = get_args(PackState)
_COLUMNS = (
    *("pack", "manifest", "skill", "name", "environment", "version", "key"),
    *("needs", "parents", "verdict", "approved", "item_id", "checked"),
)


class PackRow(NamedTuple):
    """A pack as it stands."""

    digest: str
    """Of its `pack.json`."""
    name: str
    version: str
    key: str | None
    """Key id of its author; None for an unsigned pack."""
    state: PackState
    reason: str
    source: str
    """Where the user said that it was."""
    archive: str
    """Digest of the blob of its files."""
    created_at: str


class PackSkillRow(NamedTuple):
    """A skill of a pack as it stands."""

    pack: str
    manifest: str
    """Digest of its manifest, by which this version of it is known everywhere."""
    skill: str
    """`owner/name.folder`."""
    name: str
    environment: str
    version: str
    key: str | None
    needs: JsonObject
    parents: tuple[str, ...]
    """Manifest digests of the skills that it was derived from, by its author's account."""
    verdict: JsonObject
    """What the conflict rules said."""
    approved: bool
    item_id: str | None
    """Its item, once it was verified here."""
    checked: JsonObject
    """What verification here said, with which box and version; empty before."""


class PackMove(NamedTuple):
    """One change of a pack's state."""

    pack: str
    before: PackState | None
    after: PackState
    reason: str
    evidence: JsonObject
    created_at: str


class PackChange(NamedTuple):
    """What one merge or revocation did to the library."""

    serial: int
    kind: ChangeKind
    pack: str
    body: JsonObject
    undone: bool
    created_at: str


class Packs:
    """The packs of a workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def receive(self, pack: PackRow, skills: Sequence[PackSkillRow]) -> bool:
        """Keep a pack that has come in; False when the very same is here."""
        with self._session.write() as connection:
            known = select(PACKS.c.serial).where(PACKS.c.digest == pack.digest)
            if connection.scalar(known) is not None:
                return False
            row = pack._asdict() | {"reason": plain(pack.reason), "source": plain(pack.source)}
            add(connection, PACKS, [row])
            add(connection, PACK_SKILLS, [_skill_values(skill) for skill in skills])
            _keep(connection, PackMove(pack.digest, None, pack.state, pack.reason, {}, now()))
            return True

    def move(
        self, digest: str, state: PackState, *, reason: str, evidence: JsonObject | None = None
    ) -> bool:
        """Give a pack another state; False when it has it already.

        Raises:
            UnknownNameError: there is no such pack.
            RecordsError: a gate would be skipped.
        """
        with self._session.write() as connection:
            before = _one(connection, digest).state
            if before == state:
                return False
            if state not in NEXT_STATE[before]:
                allowed = " or ".join(sorted(NEXT_STATE[before])) or "nothing else"
                raise RecordsError(
                    f"The pack {digest[:16]!r} cannot go from {before} to {state}; from there it "
                    f"may become {allowed}."
                )
            _set_state(connection, digest, before, state, reason, evidence)
            return True

    def undo_revocation(self, digest: str, state: PackState) -> None:
        """Put a revoked pack back to the state that it had."""
        with self._session.write() as connection:
            _set_state(connection, digest, "revoked", state, "the revocation was undone", None)

    def get(self, digest: str) -> PackRow:
        """One pack by digest.

        Raises:
            UnknownNameError: there is none.
        """
        with self._session.read() as connection:
            return _one(connection, digest)

    def all(self, name: str | None = None) -> list[PackRow]:
        """Every pack, or those of a name, in the order in which they came."""
        query = select(PACKS).order_by(PACKS.c.serial)
        if name is not None:
            query = query.where(PACKS.c.name == name)
        with self._session.read() as connection:
            return [_pack(row) for row in connection.execute(query)]

    def skills(
        self,
        pack: str | None = None,
        *,
        items: Collection[str] | None = None,
        ids: Collection[str] | None = None,
    ) -> list[PackSkillRow]:
        """Skills of one pack or of all; those of some items or of some ids alone, if given."""
        query = select(PACK_SKILLS).order_by(PACK_SKILLS.c.serial)
        if pack is not None:
            query = query.where(PACK_SKILLS.c.pack == pack)
        if items is not None:
            query = query.where(PACK_SKILLS.c.item_id.in_(items))
        if ids is not None:
            query = query.where(PACK_SKILLS.c.skill.in_(ids))
        with self._session.read() as connection:
            return [_skill(row) for row in connection.execute(query)]

    def near(self, ids: Collection[str], names: Collection[str]) -> list[PackSkillRow]:
        """What the conflict rules must see: skills of these ids, and of these function names."""
        query = select(PACK_SKILLS).order_by(PACK_SKILLS.c.serial)
        found: dict[tuple[str, str], PackSkillRow] = {}
        with self._session.read() as connection:
            for column, wanted in ((PACK_SKILLS.c.skill, ids), (PACK_SKILLS.c.name, names)):
                for row in connection.execute(query.where(column.in_(wanted))):
                    found[row.pack, row.manifest] = _skill(row)
        return list(found.values())

    def count_skills(self) -> dict[str, int]:
        """Pack digest to its number of skills."""
        query = select(PACK_SKILLS.c.pack, func.count()).group_by(PACK_SKILLS.c.pack)
        with self._session.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def decide(self, pack: str, verdicts: dict[str, JsonObject]) -> None:
        """Keep what the conflict rules said of each skill, by manifest digest."""
        self._set(pack, {key: {"verdict": encode_object(v)} for key, v in verdicts.items()})

    def approve(self, pack: str, manifests: Collection[str]) -> None:
        """Note that the grants of these skills were approved."""
        self._set(pack, {key: {"approved": True} for key in manifests})

    def check(self, pack: str, manifest: str, item_id: str | None, said: JsonObject) -> None:
        """Keep what verification here said of a skill, and its item if it passed."""
        values: dict[str, object] = {"checked": encode_object(said)}
        if item_id is not None:
            values["item_id"] = item_id
        self._set(pack, {manifest: values})

    def history(self, digest: str) -> list[PackMove]:
        """Every state that a pack had, oldest first."""
        query = select(PACK_MOVES).where(PACK_MOVES.c.pack == digest).order_by(PACK_MOVES.c.serial)
        with self._session.read() as connection:
            return [
                PackMove(
                    pack=row.pack,
                    before=None if row.before is None else _state(digest, row.before),
                    after=_state(digest, row.after),
                    reason=row.reason,
                    evidence=decode_object(row.evidence, table="pack_moves", key=row.serial),
                    created_at=row.created_at,
                )
                for row in connection.execute(query)
            ]

    def note_change(self, kind: ChangeKind, pack: str, body: JsonObject) -> None:
        """Keep what a merge or a revocation did, for `undo`."""
        row = {"kind": kind, "pack": pack, "body": encode_object(body), "undone": False}
        with self._session.write() as connection:
            add(connection, PACK_CHANGES, [row | {"created_at": now()}])

    def last_change(self) -> PackChange | None:
        """The newest change that was not undone."""
        query = select(PACK_CHANGES).where(PACK_CHANGES.c.undone.is_(False))
        with self._session.read() as connection:
            newest = query.order_by(PACK_CHANGES.c.serial.desc()).limit(1)
            row = connection.execute(newest).one_or_none()
        if row is None:
            return None
        kind: ChangeKind = "merge" if row.kind == "merge" else "revoke"
        body = decode_object(row.body, table="pack_changes", key=row.serial)
        return PackChange(row.serial, kind, row.pack, body, row.undone, row.created_at)

    def set_undone(self, serial: int) -> None:
        """Note that a change was undone."""
        with self._session.write() as connection:
            change = update(PACK_CHANGES).where(PACK_CHANGES.c.serial == serial)
            connection.execute(change.values(undone=True))

    def bury(self, digests: Collection[str], reason: str) -> list[str]:
        """Keep out what has these digests from now on; those that were not kept out before."""
        with self._session.write() as connection:
            known = set(connection.scalars(select(TOMBSTONES.c.digest)))
            new = sorted(set(digests) - known)
            at = now()
            rows = [{"digest": key, "reason": plain(reason), "created_at": at} for key in new]
            add(connection, TOMBSTONES, rows)
            return new

    def unbury(self, digests: Collection[str]) -> None:
        """Let them come in again."""
        with self._session.write() as connection:
            connection.execute(delete(TOMBSTONES).where(TOMBSTONES.c.digest.in_(digests)))

    def buried(self) -> frozenset[str]:
        """Every digest that is kept out."""
        with self._session.read() as connection:
            return frozenset(connection.scalars(select(TOMBSTONES.c.digest)))

    def statuses(self, items: Collection[str]) -> dict[str, Status]:
        """Item to its status, for those that there are; reads no item's body."""
        found: dict[str, Status] = {}
        ids = sorted(items)
        with self._session.read() as connection:
            for first in range(0, len(ids), 500):
                query = select(ITEMS.c.id, ITEMS.c.status)
                where = query.where(ITEMS.c.id.in_(ids[first : first + 500]))
                found.update({row.id: row.status for row in connection.execute(where)})
        return found

    def descent(self) -> dict[str, tuple[str, ...]]:
        """Item to the items that it comes from; reads no item's body.

        Those are the version before it, what it calls by name, and what the attempts used from
        which it was distilled. A name that something serves under means that one.
        """
        with self._session.read() as connection:
            return _descent(connection)

    def _set(self, pack: str, values: dict[str, dict[str, Any]]) -> None:
        with self._session.write() as connection:
            for manifest, change in values.items():
                where = (PACK_SKILLS.c.pack == pack) & (PACK_SKILLS.c.manifest == manifest)
                connection.execute(update(PACK_SKILLS).where(where).values(change))


def _descent(connection: Connection) -> dict[str, tuple[str, ...]]:
    above: dict[str, set[str]] = {}
    home: dict[str, tuple[str, str]] = {}
    named: dict[tuple[str, str, str], list[str]] = {}
    serving: dict[tuple[str, str, str], list[str]] = {}
    columns = select(ITEMS.c.id, ITEMS.c.name, ITEMS.c.environment, ITEMS.c.status, ITEMS.c.scope)
    for row in connection.execute(columns.where(ITEMS.c.kind == "skill")):
        home[row.id] = (row.environment, row.scope)
        place = (row.environment, row.scope, row.name)
        named.setdefault(place, []).append(row.id)
        if row.status == "active":
            serving.setdefault(place, []).append(row.id)
    links = select(LINEAGE.c.item_id, LINEAGE.c.relation, LINEAGE.c.reference)
    for item, relation, reference in connection.execute(
        links.where(LINEAGE.c.relation.in_(("parent", "calls")))
    ):
        found = above.setdefault(item, set())
        if relation == "parent":
            found.add(reference)
        else:
            environment, scope = home.get(item, ("", ""))
            # Whatever it may have meant: its own scope's or that of one around it.
            for path in Scope.parse(scope).readable:
                place = (environment, path, reference)
                found.update(serving.get(place) or named.get(place, ()))
    used = (
        select(LINEAGE.c.item_id, ATTEMPTS.c.skills_used)
        .join(ATTEMPTS, ATTEMPTS.c.id == LINEAGE.c.reference)
        .where(LINEAGE.c.relation == "attempt", ATTEMPTS.c.skills_used.not_in(("[]", "")))
    )
    for item, skills in connection.execute(used):
        above.setdefault(item, set()).update(json.loads(skills))
    return {item: tuple(sorted(found - {item})) for item, found in above.items()}


def _one(connection: Connection, digest: str) -> PackRow:
    row = connection.execute(select(PACKS).where(PACKS.c.digest == digest)).one_or_none()
    if row is None:
        raise UnknownNameError("pack", digest, connection.scalars(select(PACKS.c.name)))
    return _pack(row)


def _pack(row: Any) -> PackRow:
    return PackRow(
        digest=row.digest,
        name=row.name,
        version=row.version,
        key=row.key,
        state=_state(row.digest, row.state),
        reason=row.reason,
        source=row.source,
        archive=row.archive,
        created_at=row.created_at,
    )


def _skill(row: Any) -> PackSkillRow:
    values = {name: getattr(row, name) for name in _COLUMNS}
    for name in ("needs", "verdict", "checked"):
        values[name] = decode_object(values[name], table="pack_skills", key=row.serial)
    parents = decode_object(values["parents"], table="pack_skills", key=row.serial)
    listed = parents.get("parents")
    values["parents"] = tuple(map(str, listed)) if isinstance(listed, list) else ()
    return PackSkillRow(**values)


def _skill_values(skill: PackSkillRow) -> dict[str, object]:
    values: dict[str, object] = skill._asdict()
    return values | {
        "needs": encode_object(skill.needs),
        "parents": encode_object({"parents": list(skill.parents)}),
        "verdict": encode_object(skill.verdict),
        "checked": encode_object(skill.checked),
    }


def _set_state(
    connection: Connection,
    digest: str,
    before: PackState,
    state: PackState,
    reason: str,
    evidence: JsonObject | None,
) -> None:
    change = update(PACKS).where(PACKS.c.digest == digest)
    connection.execute(change.values(state=state, reason=plain(reason)))
    _keep(connection, PackMove(digest, before, state, reason, evidence or {}, now()))


def _keep(connection: Connection, move: PackMove) -> None:
    row = move._asdict() | {
        "reason": plain(move.reason),
        "evidence": encode_object(move.evidence),
    }
    add(connection, PACK_MOVES, [row])


def _state(digest: str, state: str) -> PackState:
    for known in _STATES:
        if state == known:
            return known
    raise unreadable("packs", digest, f"{state!r} is no state of a pack")
