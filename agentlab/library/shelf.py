"""Packs on record: received, quarantined, checked, approved; and read again as they came.

The files of a pack lie content-addressed among the blobs, on nobody's search path, and are read
and compared with their digest whenever something of the pack is opened: a byte that changed
sends it back to quarantine. Nothing here runs code of a pack, and nothing here activates any;
verification is `graph.importing`, serving `library.merging`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

from agentlab.errors import PackRefusedError, RecordsError, UnknownNameError, UsageError
from agentlab.library.packs import folder, intake
from agentlab.library.packs.archive import read_archive, write_archive
from agentlab.library.packs.canonical import sha256
from agentlab.library.packs.contents import PackedSkill
from agentlab.library.packs.folder import Opened
from agentlab.library.packs.limits import PACK_ENVELOPE, check_files
from agentlab.library.packs.manifest import Needs
from agentlab.library.packs.page import folder_name
from agentlab.library.packs.refusal import refuse
from agentlab.library.packs.trust import Standing, TrustStore
from agentlab.library.packs.verdict import Held, Tombstones, Verdict, decide, revoked_by
from agentlab.library.revocation import retire_derived
from agentlab.records import PackRow, PackSkillRow, PackState, Records
from agentlab.types import Insight, JsonObject, Skill, derive_id
from agentlab.types.insight import Outcomes
from agentlab.version import PACKAGE

SHIPPED = "agentlab"
"""Owner of the packs that come with agentlab: `agentlab/babyai`."""
FOREIGN = "foreign"
"""Trust of an insight that came in a pack: quoted data, never an instruction."""
RETURNED = "returned to quarantine: "
"""How the reason begins of an item whose pack no longer is what was approved."""
WAITING: tuple[PackState, ...] = ("received", "quarantined", "checked")
OUT: tuple[PackState, ...] = ("received", "rejected")
"""States in which a pack's skills are not held: they take no name and no version."""


class Judged(NamedTuple):
    """A pack whose licence, signature and key policy were looked at."""

    row: PackRow
    opened: Opened
    standing: Standing
    verdicts: dict[str, Verdict]
    """By manifest digest."""


def open_files(source: str, *, ref: str | None = None) -> dict[str, bytes]:
    """The files of a pack by path, address or, for one that ships with agentlab, by name.

    Raises:
        PackRefusedError: it breaks a limit, or is not there.
        UnknownNameError: it names one that does not ship; suggests near ones.
    """
    if not Path(source).exists() and source.startswith(f"{SHIPPED}/"):
        shipped = {f"{SHIPPED}/{name}": place for name, place in shipped_packs().items()}
        if source not in shipped:
            raise UnknownNameError("shipped pack", source, shipped)
        return _own_files(shipped[source])
    return intake.open_source(source, ref=ref).files


def shipped_packs() -> dict[str, Path]:
    """The packs that ship with agentlab by name, from a wheel or from a checkout."""
    for place in (PACKAGE / "skills", PACKAGE.parent / "skills"):
        found = {p.parent.name: p.parent for p in sorted(place.glob("*/pack.json"))}
        if found:
            return found
    return {}


def receive(records: Records, files: Mapping[str, bytes], source: str) -> PackRow:
    """Read a pack with every limit and keep it in quarantine; the very same is kept once.

    Raises:
        PackRefusedError: it is no pack, not what its manifest says, or here by another key.
    """
    opened = folder.read(files)
    key = opened.signers.author if opened.signers else None
    known = _known(records, opened.digest)
    if known is not None and known.key != key:
        held = f"by key {known.key[:16]}" if known.key else "unsigned"
        raise refuse(PACK_ENVELOPE, "changed-key", f"is of a pack that is here already, {held}")
    archive = write_archive(files)
    if known is not None:
        _put_back(records, known, archive)
    else:
        manifest = opened.pack.manifest
        row = PackRow(
            digest=opened.digest,
            name=manifest.id,
            version=manifest.version,
            key=key,
            state="received",
            reason="read within every limit",
            source=source,
            archive=records.blobs.put(archive),
            created_at=manifest.created,
        )
        records.packs.receive(row, [_skill_row(opened, packed) for packed in opened.pack.skills])
    row = records.packs.get(opened.digest)
    if row.state in ("received", "rejected"):
        reason = "kept by digest, on no search path"
        records.packs.move(row.digest, "quarantined", reason=reason)
    return records.packs.get(opened.digest)


def judge(records: Records, digest: str, trust: TrustStore) -> Judged:
    """Key policy and conflict rules; a pack in quarantine becomes `checked` or `rejected`.

    Raises:
        PackRefusedError: another key was approved for a pack of this name, somebody says two
            things under one version, or nothing of it may come in.
        RecordsError: its files are not those that were received.
    """
    opened = open_pack(records, digest)
    row = records.packs.get(digest)
    standing = trust.standing(row.name, row.key)
    verdicts = _verdicts(records, opened)
    refused = {m: v for m, v in verdicts.items() if v.action == "refuse"}
    alarm = next((v for v in refused.values() if v.code == "equivocation"), None)
    if row.state in WAITING and (alarm or (refused and len(refused) == len(verdicts))):
        verdict = alarm or next(iter(refused.values()))
        records.packs.move(digest, "rejected", reason=verdict.reason)
        assert verdict.code, "a refusal has a code"
        raise refuse(f"{row.name} {row.version}", verdict.code, f"is refused: {verdict.reason}")
    spelt = {m: cast("JsonObject", v.model_dump(mode="json")) for m, v in verdicts.items()}
    if row.state in WAITING:
        with records.transaction() as part:
            part.packs.decide(digest, spelt)
            if row.state != "checked":
                evidence: JsonObject = {"standing": standing, "verdicts": cast("JsonObject", spelt)}
                why = f"licence, signature and key looked at: key {standing}"
                part.packs.move(digest, "checked", reason=why, evidence=evidence)
    return Judged(records.packs.get(digest), opened, standing, verdicts)


def approve(records: Records, judged: Judged, trust: TrustStore) -> None:
    """Note that a person or a policy agreed to the grants that were shown; keep the key.

    What the pack's author revokes of their own goes with it. Insights are kept as foreign.
    """
    row, opened = judged.row, judged.opened
    if row.state != "checked":
        return
    if row.key is not None and opened.signers is not None:
        trust.pin(row.name, row.key, opened.signers.public, version=row.version)
    agreed = [m for m, verdict in judged.verdicts.items() if verdict.action != "refuse"]
    revokes = _revokes(opened)
    rows = records.packs.skills() if revokes else []
    held = [_held(skill) for skill in rows if skill.approved]
    gone = revoked_by(held, revokes, author=row.key)
    with records.transaction() as part:
        part.packs.approve(row.digest, agreed)
        for note in opened.pack.notes:
            part.items.save_insight(_foreign(note, row.digest), status="quarantined")
        if gone:
            retire_derived(part, gone, reason=f"its author revoked it in {row.name} {row.version}")
        evidence: JsonObject = {"skills": list(agreed), "key": row.key, "revokes": list(revokes)}
        part.packs.move(
            row.digest, "approved", reason="diff and grants were approved", evidence=evidence
        )


def open_pack(records: Records, digest: str) -> Opened:
    """The pack as it came in, every byte compared with what was received.

    Raises:
        UnknownNameError: there is no such pack.
        PackRefusedError: its files changed; the pack is in quarantine again and serves nothing.
    """
    row = records.packs.get(digest)
    try:
        opened = folder.read(read_archive(records.blobs.get(row.archive)))
        author = opened.signers.author if opened.signers else None
        if (opened.digest, author) != (digest, row.key):
            raise RecordsError(f"The blob {row.archive!r} holds another pack.")
        _check_rows(records, opened)
    except (RecordsError, PackRefusedError) as error:
        quarantine(records, digest, str(error))
        if isinstance(error, PackRefusedError):
            raise
        file = str(records.blobs.path(row.archive))
        raise refuse(file, "changed-file", "is not the one that was received") from None
    return opened


def pack_files(records: Records, digest: str) -> dict[str, bytes]:
    """The files of a pack, byte for byte as they came in.

    Raises:
        PackRefusedError: they changed, see `open_pack`.
    """
    open_pack(records, digest)
    return read_archive(records.blobs.get(records.packs.get(digest).archive))


def quarantine(records: Records, digest: str, why: str) -> None:
    """Send a pack back: what it brought is served no more until it was verified anew."""
    state = records.packs.get(digest).state
    with records.transaction() as part:
        for skill in part.packs.skills(digest):
            if skill.item_id is not None:
                part.items.move(skill.item_id, "retired", reason=RETURNED + why)
                part.packs.check(digest, skill.manifest, None, {})
        if state not in ("received", "rejected", "revoked"):
            part.packs.move(digest, "quarantined", reason=why)


def find_packs(records: Records, name: str) -> list[PackRow]:
    """The packs that a user means by digest, `owner/name` or `owner/name@version`.

    Raises:
        UnknownNameError: there is none; suggests near ones.
    """
    rows = records.packs.all()
    plain, _, version = name.partition("@")
    found = [row for row in rows if row.name == plain and version in ("", row.version)]
    if not found and len(name) >= 8:
        found = [row for row in rows if row.digest.startswith(name)]
    if not found:
        raise UnknownNameError("pack", name, {row.name for row in rows})
    return found


def newest_pack(records: Records, name: str) -> PackRow:
    """The pack that came last among those that a user means."""
    return find_packs(records, name)[-1]


def held_versions(records: Records, opened: Opened) -> tuple[list[Held], dict[str, Skill]]:
    """What is here under the ids of a pack's skills, for a diff: the newest of each, and its code.

    The code is that of the item it became; of one that was never verified here there is none.
    """
    ids = {packed.manifest.id for packed in opened.pack.skills}
    rows = [row for row in records.packs.skills(ids=ids) if row.pack != opened.digest]
    newest = {row.skill: row for row in rows}
    skills: dict[str, Skill] = {}
    for row in newest.values():
        if row.item_id is not None:
            skills[row.manifest] = records.items.skill(row.item_id).item
    return [_held(row) for row in newest.values()], skills


def imported_skill(packed: PackedSkill, parent: str | None) -> Skill:
    """The skill of a pack as an item of this library.

    Its id follows from its manifest, so that no other bytes can have it. Attempts are its
    author's: ids of theirs may be those of other attempts here.
    """
    assert packed.skill is not None, "text alone is no item"
    return packed.skill.model_copy(
        update={
            "id": item_id(packed.manifest.digest),
            "origin": "import",
            "source_attempts": (),
            "parent": parent,
        }
    )


def item_id(manifest: str) -> str:
    """The id of the item that a skill of this manifest digest becomes."""
    return derive_id("skill", "import", manifest)


def _verdicts(records: Records, opened: Opened) -> dict[str, Verdict]:
    incoming = {
        packed.manifest.digest: _held(_skill_row(opened, packed)) for packed in opened.pack.skills
    }
    ids = {held.id for held in incoming.values()}
    names = {held.name for held in incoming.values()}
    states = {row.digest: row.state for row in records.packs.all()}
    near = [
        _held(row)
        for row in records.packs.near(ids, names)
        if row.pack != opened.digest and (row.approved or states[row.pack] not in OUT)
    ]
    key = opened.signers.author if opened.signers else None
    gone = Tombstones(digests=records.packs.buried() | _revoked_by_key(records, key))
    local = [*near, *_learnt(records, names)]
    return {m: decide(local, held, tombstones=gone) for m, held in incoming.items()}


def _revokes(opened: Opened) -> tuple[str, ...]:
    """What a pack says that nobody should use any longer."""
    found = set(opened.pack.manifest.revokes)
    for packed in opened.pack.skills:
        found.update(packed.manifest.revokes)
    return tuple(sorted(found))


def _revoked_by_key(records: Records, key: str | None) -> frozenset[str]:
    """What an author revoked of their own in packs that were approved here, come yet or not."""
    found: set[str] = set()
    for row in records.packs.all():
        if key is not None and row.key == key:
            for move in records.packs.history(row.digest):
                listed = move.evidence.get("revokes")
                found.update(map(str, listed) if isinstance(listed, list) else ())
    return frozenset(found)


def _learnt(records: Records, names: set[str]) -> list[Held]:
    """Skills of these names that were made here, as the conflict rules see them."""
    rows = records.items.skills(status=("active", "verified"))
    return [
        Held(
            id=f"local/learnt.{folder_name(row.item.name) or sha256(row.item.name.encode())[:16]}",
            name=row.item.name,
            environment=row.item.environment,
            version=f"{row.item.version}.0.0",
            digest=sha256(row.item.id.encode()),
        )
        for row in rows
        if row.item.origin != "import" and row.item.name in names
    ]


def _held(row: PackSkillRow) -> Held:
    return Held(
        id=row.skill,
        name=row.name,
        environment=row.environment,
        version=row.version,
        digest=row.manifest,
        key=row.key,
        needs=Needs.model_validate(row.needs),
        approved=row.approved,
        source=row.pack,
    )


def _skill_row(opened: Opened, packed: PackedSkill) -> PackSkillRow:
    manifest, skill = packed.manifest, packed.skill
    return PackSkillRow(
        pack=opened.digest,
        manifest=manifest.digest,
        skill=manifest.id,
        name=skill.name if skill else manifest.folder,
        environment=skill.environment if skill else "",
        version=manifest.version,
        key=opened.signers.author if opened.signers else None,
        needs=cast("JsonObject", manifest.needs.model_dump(mode="json")),
        parents=manifest.provenance.parents,
        verdict={},
        approved=False,
        item_id=None,
        checked={},
    )


def _check_rows(records: Records, opened: Opened) -> None:
    """What is on record of a pack's skills, and the items they became, are the pack's."""
    known = {row.manifest: row for row in records.packs.skills(opened.digest)}
    if known.keys() != {packed.manifest.digest for packed in opened.pack.skills}:
        raise RecordsError(f"The record of the pack {opened.digest[:16]!r} lists other skills.")
    for packed in opened.pack.skills:
        row = known[packed.manifest.digest]
        if row.item_id is None or row.item_id != item_id(row.manifest):
            continue
        item = records.items.skill(row.item_id).item
        if item != imported_skill(packed, item.parent):
            raise RecordsError(f"The item {row.item_id!r} is not the skill of its pack.")


def _foreign(note: Insight, pack: str) -> Insight:
    """An insight of a pack, apart from those learnt here; its author's counts stay behind."""
    return note.model_copy(
        update={
            "id": derive_id("insight", "import", pack, note.id),
            "trust": FOREIGN,
            "outcomes": Outcomes(),
            "parent": None,
        }
    )


def _known(records: Records, digest: str) -> PackRow | None:
    try:
        return records.packs.get(digest)
    except UnknownNameError:
        return None


def _put_back(records: Records, known: PackRow, archive: bytes) -> None:
    """Put the files of a pack in the place of those that were damaged, if they were."""
    if known.archive != sha256(archive):
        return
    try:
        records.blobs.get(known.archive)
    except RecordsError:
        records.blobs.path(known.archive).unlink(missing_ok=True)
        records.blobs.put(archive)


def _own_files(place: Path) -> dict[str, bytes]:
    """Files of this installation, which installers may link into it from their stores."""
    files = {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    check_files(files)
    return files


def require_unsigned_ok(judged: Judged, *, unsigned_ok: bool) -> None:
    """Stop at a pack that nobody signed, unless the user allowed it.

    Raises:
        UsageError: it is unsigned.
    """
    if judged.row.key is None and not unsigned_ok:
        raise UsageError(
            f"The pack {judged.row.name!r} is signed by nobody; ask its author for a signed one, "
            "or take it with --unsigned-ok."
        )
