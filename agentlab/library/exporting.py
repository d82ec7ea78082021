"""A pack made of the library of a workspace, or given on byte for byte as it came in.

What leaves is what serves. The same records give the same bytes: the date is that of the run
that learnt the newest skill, and no clock is read. Skills that came in keep their licence and
name where they came from; one without a licence is not passed on. Secrets are looked for last,
in the very files that are to be written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from agentlab.errors import UnknownNameError, UsageError
from agentlab.library.catalogue import measured_effect
from agentlab.library.packs import checks, folder
from agentlab.library.packs.archive import write_archive
from agentlab.library.packs.contents import Pack, PackedSkill, licence_ids, pack_skill
from agentlab.library.packs.keys import SigningKey
from agentlab.library.packs.manifest import Evidence, PackManifest, Provenance
from agentlab.library.shelf import FOREIGN, newest_pack, open_pack, pack_files
from agentlab.library.skills import closure
from agentlab.records import ItemRow, PackSkillRow, Records
from agentlab.types import JsonObject, Skill
from agentlab.version import PACKAGE, __version__


@dataclass(frozen=True)
class Export:
    """What a pack is to be.

    Attributes:
        id: `owner/name`.
        version: of the pack and of its own skills.
        environment: whose skills.
        names: which of them; all that were learnt here, otherwise.
        licence: SPDX identifier; None lets others use the skills and not pass them on.
        licence_file: text of the licence, unless it is agentlab's own.
        authors: names, without addresses.
        summary: one line.
        created: ISO 8601; else that of the run of the newest skill.
        readme: text of a README.md.
    """

    id: str
    version: str
    environment: str
    names: Sequence[str] = ()
    licence: str | None = None
    licence_file: Path | None = None
    authors: tuple[str, ...] = ()
    summary: str = ""
    created: str | None = None
    readme: str | None = None


def export(records: Records, wanted: Export, *, key: SigningKey | None = None) -> dict[str, bytes]:
    """The files of a pack of served skills, with all that they call, and of insights.

    Raises:
        UnknownNameError: there is no served skill of a name.
        UsageError: there is nothing to export, a skill may not be passed on, a text of a
            licence is missing, or a file holds what looks like a secret.
    """
    rows = _chosen(records, wanted)
    created = wanted.created or _created(records, rows)
    packed: list[PackedSkill] = []
    texts: dict[str, str] = {}
    for row in rows:
        if row.item.origin == "import":
            packed.append(_passed_on(records, row.item, wanted, texts))
        else:
            packed.append(_own(records, row, wanted, created))
    for name in licence_ids(wanted.licence or ""):
        texts.setdefault(name, licence_text(name, wanted.licence_file))
    used = {name for p in packed for name in licence_ids(p.manifest.licence or "")}
    notes = records.items.insights(environment=wanted.environment, status="active")
    pack = Pack(
        manifest=PackManifest(
            id=wanted.id,
            version=wanted.version,
            summary=wanted.summary,
            authors=wanted.authors,
            created=created,
        ),
        skills=tuple(packed),
        notes=tuple(note.item for note in notes if note.item.trust != FOREIGN),
        licence_texts={name: text for name, text in texts.items() if name in used},
        readme=wanted.readme,
    )
    made = folder.build(pack, key=key)
    checks.check_leaks(made, os.environ)
    return made


def export_held(records: Records, name: str) -> dict[str, bytes]:
    """The files of a pack that came in, byte for byte, for passing it on.

    Raises:
        UnknownNameError: there is no such pack.
        UsageError: a skill of it has no licence, or it was revoked here.
    """
    row = newest_pack(records, name)
    if row.state == "revoked":
        raise UsageError(f"The pack {row.name!r} was revoked here ({row.reason}); nobody needs it.")
    opened = open_pack(records, row.digest)
    bare = [p.manifest.id for p in opened.pack.skills if p.manifest.licence is None]
    if bare:
        raise _unlicensed(bare[0])
    return pack_files(records, row.digest)


def write(out: Path, made: Mapping[str, bytes]) -> None:
    """Write a pack as a zip file, where the name ends so, or as a new folder.

    Raises:
        UsageError: there is something at the path already, or it cannot be written.
    """
    if out.suffix != ".zip":
        folder.write_folder(out, made)
        return
    try:
        with open(out, "xb") as file:
            file.write(write_archive(made))
    except FileExistsError:
        raise UsageError(
            f"There is something at {str(out)!r} already; name another file."
        ) from None
    except OSError as error:
        raise UsageError(f"The file {str(out)!r} cannot be made: {error.strerror}.") from None


def licence_text(name: str, path: Path | None) -> str:
    """The full text of a licence; agentlab's own comes with it.

    Raises:
        UsageError: it is another one and its text is not given.
    """
    if path is not None:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"The licence file {str(path)!r} cannot be read: {error}.") from None
    if name == "Apache-2.0" and (own := _own_licence()) is not None:
        return own
    raise UsageError(f"The text of the licence {name!r} is needed: give it with --licence-file.")


def _chosen(records: Records, wanted: Export) -> list[ItemRow[Skill]]:
    active = records.items.skills(environment=wanted.environment, status="active")
    by_name = {row.item.name: row for row in active}
    for name in wanted.names:
        if name not in by_name:
            raise UnknownNameError("served skill", name, by_name)
    skills = {name: row.item for name, row in by_name.items()}
    names = wanted.names or [name for name, skill in skills.items() if skill.origin != "import"]
    if not names:
        raise UsageError(
            f"No skill learnt here serves in {wanted.environment!r}; practise first, or name "
            "skills that came in."
        )
    whole = closure([skills[name] for name in names], skills)
    return sorted((by_name[skill.name] for skill in whole), key=lambda row: row.item.name)


def _created(records: Records, rows: Sequence[ItemRow[Skill]]) -> str:
    """When the newest run began that learnt one of them."""
    runs = {row.run_id for row in rows if row.run_id is not None}
    times = [records.runs.get(run_id).created_at for run_id in runs]
    return max(times, default=max(row.created_at for row in rows))


def _own(records: Records, row: ItemRow[Skill], wanted: Export, created: str) -> PackedSkill:
    skill = row.item
    tests = tuple(_with_start(records, test) for test in skill.tests)
    parents = _parents(records, skill)
    return pack_skill(
        skill.model_copy(update={"tests": tests}),
        pack=wanted.id,
        created=created,
        version=wanted.version,
        licence=wanted.licence,
        authors=wanted.authors,
        evidence=_evidence(records, skill),
        provenance=Provenance(
            parents=parents,
            runs=() if row.run_id is None else (row.run_id,),
            agentlab=__version__,
        ),
    )


def _with_start(records: Records, test: JsonObject) -> JsonObject:
    """The test with the start state in which it passed, as far as that is on record."""
    try:
        task = records.tasks.get(str(test.get("task")))
    except UnknownNameError:
        return test
    return {**test, "setup": task.template.partition(": ")[0], "seed": task.seed}


def _parents(records: Records, skill: Skill) -> tuple[str, ...]:
    """Manifests of the imported skills that it calls or descends from."""
    above = records.packs.descent().get(skill.id, ())
    return tuple(sorted({row.manifest for row in records.packs.skills(items=above)}))


def _evidence(records: Records, skill: Skill) -> Evidence:
    """What was measured here; a claim to whoever reads it."""
    replays: list[JsonObject] = []
    for move in records.items.history(skill.id):
        found = move.evidence.get("replays")
        if isinstance(found, list):
            replays = [replay for replay in found if isinstance(replay, dict)]
    good = [r for r in replays if r.get("completed") and r.get("used") and r.get("effect")]
    measured = measured_effect(records, skill).success
    return Evidence(
        environment=skill.environment,
        passes=len(good) if replays else None,
        n=len(replays) if replays else None,
        effect=None if measured is None else round(measured.value, 6),
        interval=None
        if measured is None
        else (round(measured.interval.low, 6), round(measured.interval.high, 6)),
    )


def _passed_on(
    records: Records, skill: Skill, wanted: Export, texts: dict[str, str]
) -> PackedSkill:
    """An imported skill in a pack of one's own: its author's licence, and where it comes from."""
    row = _origin(records, skill)
    opened = open_pack(records, row.pack)
    first = next(p for p in opened.pack.skills if p.manifest.digest == row.manifest)
    if first.manifest.licence is None or first.skill is None:
        raise _unlicensed(row.skill)
    for name in licence_ids(first.manifest.licence):
        texts[name] = opened.pack.licence_texts[name]
    origin = first.manifest.provenance
    return pack_skill(
        first.skill,
        pack=wanted.id,
        created=first.manifest.created,
        version=wanted.version,
        licence=first.manifest.licence,
        authors=first.manifest.authors,
        evidence=first.evidence,
        needs=first.manifest.needs,
        provenance=origin.model_copy(update={"parents": (*origin.parents, row.manifest)}),
        references=first.references,
    )


def _origin(records: Records, skill: Skill) -> PackSkillRow:
    rows = records.packs.skills(items=[skill.id])
    if not rows:
        raise UsageError(f"The skill {skill.name!r} came in without a pack; it is not passed on.")
    return rows[0]


def _unlicensed(skill: str) -> UsageError:
    return UsageError(
        f"The skill {skill!r} came without a licence, so it may be used and not passed on; ask "
        "its author for one, or leave it out."
    )


def _own_licence() -> str | None:
    checkout = PACKAGE.parent / "LICENSE"
    if checkout.is_file():
        return checkout.read_text(encoding="utf-8")
    try:
        found = [f for f in files("agentlab-practice") or () if f.name == "LICENSE"]
    except PackageNotFoundError:
        return None
    return found[0].read_text(encoding="utf-8") if found else None
