"""Packs to files and back, without loss: exported, read and exported again, not a byte differs.

`build` is a function of the values alone. `read` believes nothing: it checks the closed list of
files, every digest and signature, and last builds what it understood once more and compares,
so that no file can say anything that its manifest does not.
"""

from __future__ import annotations

import ast
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from agentlab.errors import UsageError
from agentlab.library.packs import limits, signing
from agentlab.library.packs.canonical import (
    decode,
    decode_lines,
    decode_model,
    encode_lines,
    encode_model,
    sha256,
)
from agentlab.library.packs.contents import (
    Pack,
    PackedSkill,
    decode_cases,
    encode_cases,
    licence_ids,
    restore_skill,
)
from agentlab.library.packs.keys import SigningKey
from agentlab.library.packs.manifest import (
    Evidence,
    FileEntry,
    PackManifest,
    SkillEntry,
    SkillManifest,
    file_entry,
)
from agentlab.library.packs.page import body_of, render
from agentlab.library.packs.refusal import refuse
from agentlab.types import Insight, Skill

Files = dict[str, bytes]

MAX_CODE = 100_000
"""Bytes of a skill's code; what parses it here has limits of its own."""


class Opened(NamedTuple):
    """A pack that was read and is what it says, which does not make it safe."""

    pack: Pack
    digest: str
    """Of `pack.json`."""
    signers: signing.Signers | None
    """None for an unsigned pack."""


def build(pack: Pack, *, key: SigningKey | None = None) -> Files:
    """Every file of a pack, by path.

    With a key, the skills and the pack are signed by it; without one, the signatures that the
    pack came with are kept wherever what they sign is unchanged.

    Raises:
        UsageError: a value is nothing that the format can hold.
        PackRefusedError: a file breaks a limit that an importer would refuse it for.
    """
    try:
        files = _build(pack, key)
    except ValueError as error:
        raise UsageError(f"The pack {pack.manifest.id!r} cannot be written: {error}.") from None
    limits.check_files(files)
    return files


def read(files: Mapping[str, bytes]) -> Opened:
    """The pack that the files are.

    Raises:
        PackRefusedError: names the first file that is missing, extra, changed or wrong.
        MissingExtraError: it is signed, and `cryptography` is not installed.
    """
    limits.check_files(files)
    if limits.PACK not in files:
        raise refuse(limits.PACK, "missing-file", "is not there; this is no agentlab pack")
    manifest = decode_model(PackManifest, limits.PACK, decode(limits.PACK, files[limits.PACK]))
    outside = {limits.PACK, limits.PACK_ENVELOPE}
    _check_closed("", manifest.files, {p: d for p, d in files.items() if p not in outside}, outside)
    signers = None
    if (envelope := files.get(limits.PACK_ENVELOPE)) is not None:
        signers = signing.check(limits.PACK_ENVELOPE, envelope, manifest)
    skills = tuple(_read_skills(manifest, files, signers))
    pack = Pack(
        manifest=manifest,
        skills=skills,
        notes=_read_notes(files.get(limits.NOTES, b"")),
        licence_texts=_licence_texts(skills, files),
        readme=_text(files[limits.README]) if limits.README in files else None,
        envelopes={path: data for path, data in files.items() if path.endswith(".dsse.json")},
    )
    _check_rebuilt(pack, files)
    return Opened(pack, manifest.digest, signers)


def write_folder(path: str | Path, files: Mapping[str, bytes]) -> None:
    """Write a pack's files into a new folder, whole or not at all.

    Raises:
        UsageError: there is something at the path already, or it cannot be written.
    """
    target = Path(path)
    if os.path.lexists(target):
        raise UsageError(f"There is something at {str(target)!r} already; name another folder.")
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise UsageError(f"The folder {str(target)!r} cannot be made: {error.strerror}.") from None
    try:
        for name in sorted(files):
            limits.check_path(name)
            place = partial / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(files[name])
            place.chmod(0o644)
        partial.chmod(0o755)
        partial.rename(target)
    except OSError as error:
        raise UsageError(f"The folder {str(target)!r} cannot be made: {error.strerror}.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _build(pack: Pack, key: SigningKey | None) -> Files:
    files: Files = {}
    entries: list[SkillEntry] = []
    for packed in sorted(pack.skills, key=lambda s: s.manifest.folder):
        folder = packed.manifest.folder
        inside, manifest = _build_skill(packed)
        place = f"skills/{folder}/"
        if f"{place}{limits.MANIFEST}" in files:
            raise ValueError(f"two skills would share the folder {folder!r}")
        if manifest.id != f"{pack.manifest.id}.{folder}":
            raise ValueError(f"the skill {manifest.id!r} belongs to another pack")
        files |= {f"{place}{path}": data for path, data in inside.items()}
        envelope = _envelope(pack, f"{place}{limits.MANIFEST_ENVELOPE}", manifest, key)
        files |= envelope
        entries.append(
            SkillEntry(
                folder=folder, id=manifest.id, version=manifest.version, manifest=manifest.digest
            )
        )
    licences = {s.manifest.licence for s in pack.skills if s.manifest.licence is not None}
    for name in sorted({name for licence in licences for name in licence_ids(licence)}):
        if name not in pack.licence_texts:
            raise ValueError(f"the text of the licence {name!r} is missing")
    files |= {f"LICENSES/{n}.txt": t.encode() for n, t in pack.licence_texts.items()}
    if pack.notes:
        notes = [note.model_dump(mode="json") for note in pack.notes]
        files[limits.NOTES] = encode_lines(notes)
    if pack.readme is not None:
        files[limits.README] = pack.readme.encode()
    manifest = pack.manifest.model_copy(
        update={
            "skills": tuple(entries),
            "files": {path: file_entry(files[path]) for path in sorted(files)},
            "notes": len(pack.notes),
            "licences": tuple(sorted(licences)),
        }
    )
    files[limits.PACK] = encode_model(manifest)
    return files | _envelope(pack, limits.PACK_ENVELOPE, manifest, key)


def _build_skill(packed: PackedSkill) -> tuple[Files, SkillManifest]:
    """The files inside a skill's folder, its envelope apart, and the manifest among them."""
    manifest = packed.manifest
    files: Files = {
        limits.SKILL_DOCUMENT: render(manifest, packed.body).encode(),
        limits.EVIDENCE: encode_model(packed.evidence),
    }
    if packed.skill is not None:
        files[limits.CODE] = packed.skill.source.encode()
        files[limits.EFFECT] = packed.skill.effect_source.encode()
        files[limits.CASES] = encode_cases(packed.skill)
    files |= {f"references/{name}": text.encode() for name, text in packed.references.items()}
    listed = {path: file_entry(files[path]) for path in sorted(files)}
    manifest = manifest.model_copy(update={"files": listed})
    files[limits.MANIFEST] = encode_model(manifest)
    return files, manifest


def _envelope(
    pack: Pack, path: str, manifest: PackManifest | SkillManifest, key: SigningKey | None
) -> Files:
    if key is not None:
        return {path: signing.sign(manifest, key)}
    kept = pack.envelopes.get(path)
    return {} if kept is None or not signing.is_about(path, kept, manifest) else {path: kept}


def _check_closed(
    place: str, listed: Mapping[str, FileEntry], files: Mapping[str, bytes], outside: set[str]
) -> None:
    """Refuse any difference between a closed list and the files that it should describe."""
    for path in sorted(listed.keys() | files.keys()):
        shown = f"{place}{path}"
        if path in outside:
            raise refuse(shown, "manifest", "is listed, and cannot hold a digest of itself")
        if path not in files:
            raise refuse(shown, "missing-file", "is in the manifest and not there")
        if path not in listed:
            raise refuse(shown, "extra-file", "is there and not in the manifest")
        if file_entry(files[path]) != listed[path]:
            raise refuse(shown, "changed-file", "is not the one that its manifest describes")


def _read_skills(
    pack: PackManifest, files: Mapping[str, bytes], signers: signing.Signers | None
) -> list[PackedSkill]:
    inside: dict[str, Files] = {}
    for path, data in files.items():
        if path.startswith("skills/"):
            _, folder, name = path.split("/", 2)
            inside.setdefault(folder, {})[name] = data
    folders = [entry.folder for entry in pack.skills]
    if folders != sorted(inside):
        raise refuse(limits.PACK, "manifest", "lists other skills than there are folders")
    found: list[PackedSkill] = []
    for entry in pack.skills:
        if entry.id != f"{pack.id}.{entry.folder}":
            raise refuse(limits.PACK, "name", f"lists {entry.id!a} under another's name")
        packed = _read_skill(entry, inside[entry.folder])
        path = f"skills/{entry.folder}/{limits.MANIFEST_ENVELOPE}"
        if (envelope := files.get(path)) is not None:
            author = signing.check(path, envelope, packed.manifest).author
            if signers is not None and author != signers.author:
                raise refuse(path, "signature", "is by another author than the pack's")
        found.append(packed)
    return found


def _read_skill(entry: SkillEntry, files: Files) -> PackedSkill:
    place = f"skills/{entry.folder}/"
    shown = f"{place}{limits.MANIFEST}"
    if limits.MANIFEST not in files:
        raise refuse(shown, "missing-file", "is not there; every skill needs one")
    data = files[limits.MANIFEST]
    manifest = decode_model(SkillManifest, shown, decode(shown, data))
    if (manifest.id, manifest.version, sha256(data)) != (entry.id, entry.version, entry.manifest):
        raise refuse(shown, "manifest", "is not the one that pack.json lists")
    outside = {limits.MANIFEST, limits.MANIFEST_ENVELOPE}
    _check_closed(
        place, manifest.files, {p: d for p, d in files.items() if p not in outside}, outside
    )
    for name in (limits.SKILL_DOCUMENT, limits.EVIDENCE):
        if name not in files:
            raise refuse(f"{place}{name}", "missing-file", "is not there; every skill needs one")
    try:
        body = body_of(manifest, _text(files[limits.SKILL_DOCUMENT]))
    except ValueError as error:
        raise refuse(f"{place}{limits.SKILL_DOCUMENT}", "manifest", f"is wrong: {error}") from None
    evidence = f"{place}{limits.EVIDENCE}"
    return PackedSkill(
        manifest=manifest,
        skill=_read_code(place, manifest, files),
        evidence=decode_model(Evidence, evidence, decode(evidence, files[limits.EVIDENCE])),
        body=body,
        references={
            path.removeprefix("references/"): _text(data)
            for path, data in files.items()
            if path.startswith("references/")
        },
    )


def _read_code(place: str, manifest: SkillManifest, files: Files) -> Skill | None:
    needed = (limits.CODE, limits.EFFECT, limits.CASES)
    if manifest.kind == "text-only":
        for name in needed:
            if name in files:
                raise refuse(f"{place}{name}", "extra-file", "belongs to no skill of text alone")
        if manifest.skill is not None or manifest.entry or manifest.needs.tools or manifest.calls:
            raise refuse(
                f"{place}{limits.MANIFEST}", "manifest", "calls code text alone, or asks for tools"
            )
        return None
    for name in needed:
        if name not in files:
            raise refuse(f"{place}{name}", "missing-file", "is not there; every function needs one")
    for name in (limits.CODE, limits.EFFECT):
        _check_code(f"{place}{name}", files[name])
    return restore_skill(
        f"{place}{limits.MANIFEST}",
        manifest,
        source=_text(files[limits.CODE]),
        effect_source=_text(files[limits.EFFECT]),
        tests=decode_cases(f"{place}{limits.CASES}", files[limits.CASES]),
    )


def _check_code(path: str, data: bytes) -> None:
    """Refuse code that is no single function; parsing runs nothing of it."""
    if len(data) > MAX_CODE:
        raise refuse(path, "too-large", f"has more than {MAX_CODE // 1000} kB of code")
    try:
        body = ast.parse(_text(data)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refuse(path, "code", "is not Python that parses") from None
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise refuse(path, "code", "is not exactly one function")


def _read_notes(data: bytes) -> tuple[Insight, ...]:
    return tuple(
        decode_model(Insight, f"{limits.NOTES}:{number}", value)
        for number, value in enumerate(decode_lines(limits.NOTES, data) if data else [], 1)
    )


def _licence_texts(skills: tuple[PackedSkill, ...], files: Mapping[str, bytes]) -> dict[str, str]:
    texts = {
        path.removeprefix("LICENSES/").removesuffix(".txt"): _text(data)
        for path, data in files.items()
        if path.startswith("LICENSES/")
    }
    for packed in skills:
        for name in licence_ids(packed.manifest.licence or ""):
            if name not in texts:
                path = f"LICENSES/{name}.txt"
                raise refuse(path, "missing-file", "is the licence of a skill and not there")
    return texts


def _check_rebuilt(pack: Pack, files: Mapping[str, bytes]) -> None:
    try:
        again = _build(pack, None)
    except (UsageError, ValueError) as error:
        raise refuse(limits.PACK, "manifest", f"describes what cannot be: {error}") from None
    for path in sorted(again.keys() | files.keys()):
        if again.get(path) != files.get(path):
            raise refuse(path, "manifest", "says something else than what follows from the rest")


def _text(data: bytes) -> str:
    return data.decode("utf-8")
