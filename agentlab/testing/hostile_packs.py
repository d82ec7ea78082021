"""Packs that no importer should take: what is wrong is in their files.

For whoever writes an importer or a policy: every entry says the word for which it must be
refused. Where an attacker could make the manifest agree with the change, it has been made to
agree, so that the check which refuses is the one that is meant. They are data; no code in
them is ever run from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

from agentlab.library.packs import signing
from agentlab.library.packs.canonical import encode, sha256
from agentlab.library.packs.folder import build
from agentlab.library.packs.limits import PACK, PACK_ENVELOPE
from agentlab.library.packs.manifest import PackManifest
from agentlab.library.packs.refusal import Reason
from agentlab.testing.sample_packs import sample_key, sample_pack

Files = dict[str, bytes]
Json = dict[str, Any]

SKILL = "skills/fetch-thing/"
MANIFEST = f"{SKILL}.agentlab/manifest.json"
FETCH_SUMMARY = b"Fetch a thing: go there, take it."
MANIFEST_ENVELOPE = f"{SKILL}.agentlab/manifest.dsse.json"


class HostilePack(NamedTuple):
    """The files of a pack, the word for which it must be refused, and the file to be named."""

    name: str
    reason: Reason
    files: Files
    file: str


def relisted(files: Files, *, change: Callable[[Json], None] | None = None) -> Files:
    """The files with every list and digest made to agree again, and no signature.

    Args:
        files: of a pack, changed in any way.
        change: made to `pack.json` last.
    """
    found = {path: data for path, data in files.items() if not path.endswith(".dsse.json")}
    pack = cast("Json", json.loads(found[PACK]))
    for entry in pack["skills"]:
        place = f"skills/{entry['folder']}/"
        path = f"{place}.agentlab/manifest.json"
        if path not in found:
            continue
        manifest = cast("Json", json.loads(found[path]))
        inside = sorted(p for p in found if p.startswith(place) and p != path)
        manifest["files"] = {p.removeprefix(place): _listed(found[p]) for p in inside}
        found[path] = encode(manifest)
        entry["manifest"] = sha256(found[path])
    pack["files"] = {path: _listed(found[path]) for path in sorted(found) if path != PACK}
    if change is not None:
        change(pack)
    found[PACK] = encode(pack)
    return found


def hostile_packs() -> list[HostilePack]:
    """Every pack whose files are refused by themselves."""
    good = build(sample_pack(), key=sample_key())
    return [
        *_changed_bytes(good),
        *_lists(good),
        *_texts(good),
        *_manifests(good),
        *_code(good),
        *_signatures(good),
    ]


def _listed(data: bytes) -> Json:
    return {"sha256": sha256(data), "size": len(data), "mode": "0644"}


def _changed_bytes(good: Files) -> Iterator[HostilePack]:
    """One byte changed, added and taken away in every file in turn, nothing made to agree."""
    for path in sorted(good):
        data = good[path]
        # Lists of files do not cover the two that hold them, whose spelling is fixed instead.
        wrong: Reason = "canonical" if path in (PACK, PACK_ENVELOPE) else "changed-file"
        if data:
            # A letter for a letter, so that the file stays text and JSON stays JSON.
            at = next(i for i in range(len(data) // 2, len(data)) if chr(data[i]).isalpha())
            letter = b"b" if data[at : at + 1] != b"b" else b"c"
            flipped = {**good, path: data[:at] + letter + data[at + 1 :]}
            reason: Reason = "signature" if path == PACK_ENVELOPE else wrong
            yield HostilePack(f"changed-{path}", reason, flipped, path)
            yield HostilePack(f"shortened-{path}", wrong, {**good, path: data[:-1]}, path)
        yield HostilePack(f"lengthened-{path}", wrong, {**good, path: data + b"\n"}, path)


def _lists(good: Files) -> Iterator[HostilePack]:
    for path in sorted(good):
        if path not in (PACK, PACK_ENVELOPE):
            less = {p: d for p, d in good.items() if p != path}
            yield HostilePack(f"missing-{path}", "missing-file", less, path)
    without = {p: d for p, d in good.items() if p != PACK}
    yield HostilePack("missing-pack.json", "missing-file", without, PACK)
    extra = f"{SKILL}references/more.md"
    yield HostilePack("extra-reference", "extra-file", {**good, extra: b"x\n"}, extra)
    extra = "LICENSES/Other.txt"
    yield HostilePack("extra-licence", "extra-file", {**good, extra: b"x\n"}, extra)
    extra = "skills/third/SKILL.md"
    yield HostilePack("extra-skill", "extra-file", {**good, extra: b"x\n"}, extra)
    for path in (
        "setup.py",
        "Makefile",
        ".gitattributes",
        f"{SKILL}scripts/install.sh",
        f"{SKILL}scripts/more.py",
        f"{SKILL}conftest.py",
        f"{SKILL}assets/page.html",
        f"{SKILL}.agentlab/state.json",
        "skills/README.md",
        "memory/more.jsonl",
    ):
        files = relisted({**good, path: b"x = 1\n"})
        yield HostilePack(f"misplaced-{path}", "layout", files, path)
    # Listed in the pack, and unknown to the skill, which could then be copied alone.
    inner = f"{SKILL}references/more.md"
    files = relisted({**good, inner: b"x\n"})
    files[MANIFEST] = good[MANIFEST]
    files = _listed_by_pack(files)
    yield HostilePack("extra-in-skill-only", "extra-file", files, inner)
    itself = relisted(good, change=lambda pack: pack["files"].update({PACK: _listed(b"")}))
    yield HostilePack("lists-itself", "manifest", itself, PACK)


def _listed_by_pack(files: Files) -> Files:
    """`pack.json` made to agree, the manifests of the skills left as they are."""
    pack = cast("Json", json.loads(files[PACK]))
    pack["files"] = {path: _listed(files[path]) for path in sorted(files) if path != PACK}
    for entry in pack["skills"]:
        entry["manifest"] = sha256(files[f"skills/{entry['folder']}/.agentlab/manifest.json"])
    return {**files, PACK: encode(pack)}


def _texts(good: Files) -> Iterator[HostilePack]:
    places = (f"{SKILL}SKILL.md", f"{SKILL}scripts/skill.py", "memory/notes.jsonl")
    unseen = (
        ("zero-width", "\u200b"),
        ("joiner", "\u200d"),
        ("right-to-left", "\u202e"),
        ("isolate", "\u2066"),
        ("tag", "\U000e0041"),
        ("variation", "\ufe0f"),
        ("variation-supplement", "\U000e0100"),
        ("soft-hyphen", "\u00ad"),
        ("byte-order-mark", "\ufeff"),
        ("private-use", "\ue000"),
        ("filler", "\u3164"),
        ("line-separator", "\u2028"),
        ("carriage-return", "\r"),
        ("escape", "\x1b"),
    )
    for number, (name, character) in enumerate(unseen):
        path = places[number % len(places)]
        data = good[path].decode()
        half = len(data) // 2
        files = relisted({**good, path: f"{data[:half]}{character}{data[half:]}".encode()})
        yield HostilePack(f"hidden-{name}", "hidden-text", files, path)
    binaries: tuple[tuple[str, str, bytes, Reason], ...] = (
        ("pickle", "scripts/skill.py", b"\x80\x04\x95\x05\0\0\0", "binary"),
        ("pickle-file", "scripts/model.pkl", b"cos\nsystem\n(S'id'\ntR.", "binary"),
        ("elf", "scripts/skill.py", b"\x7fELF\x02\x01", "binary"),
        ("library", "scripts/skill.so", b"x\n", "binary"),
        ("bytecode", "scripts/skill.pyc", b"\xa7\r\r\n", "binary"),
        ("windows", "references/a.txt", b"MZ\x90\0", "binary"),
        ("zero-byte", "references/a.txt", b"a\0b", "binary"),
        ("latin-1", "references/a.txt", b"caf\xe9\n", "encoding"),
        ("utf-16", "references/a.txt", b"\xff\xfea\x01", "encoding"),
        ("surrogate", "references/a.txt", b"\xed\xa0\x80", "encoding"),
        ("overlong", "references/a.txt", b"\xc0\xaf", "encoding"),
    )
    for name, place, data, reason in binaries:
        path = f"{SKILL}{place}"
        yield HostilePack(f"binary-{name}", reason, relisted({**good, path: data}), path)
    for name, folder in (
        ("cyrillic", "f\u0435tch-thing"),
        ("capital", "Copy"),
        ("underscore", "fetch_more"),
        ("two-hyphens", "fetch--thing"),
        ("full-width", "\uff46etch"),
    ):
        path = f"skills/{folder}/SKILL.md"
        yield HostilePack(f"name-{name}", "name", {**good, path: b"---\n---\n"}, path)


def _edited(good: Files, path: str, change: Callable[[Json], object]) -> Files:
    value = cast("Json", json.loads(good[path]))
    change(value)
    return relisted({**good, path: encode(value)})


def _manifests(good: Files) -> Iterator[HostilePack]:
    page = f"{SKILL}SKILL.md"
    edits: tuple[tuple[str, Reason, str, Callable[[Json], object]], ...] = (
        ("format", "manifest", MANIFEST, lambda m: m.update(format="agentlab.pack/2")),
        ("unknown-field", "manifest", MANIFEST, lambda m: m.update(postinstall="sh x")),
        ("field-missing", "manifest", MANIFEST, lambda m: m.pop("needs")),
        ("entry-elsewhere", "manifest", MANIFEST, lambda m: m.update(entry="../../x.py:run")),
        ("kind", "manifest", MANIFEST, lambda m: m.update(kind="shell")),
        ("grant-hidden", "manifest", MANIFEST, lambda m: m["needs"].update(tools=[])),
        ("tools-beyond", "manifest", MANIFEST, lambda m: m["skill"]["tools"].append("open_door")),
        ("calls-hidden", "manifest", MANIFEST, lambda m: m["skill"]["skills"].append("other")),
        ("inputs-other", "manifest", MANIFEST, lambda m: m.update(inputs={})),
        ("version-word", "manifest", MANIFEST, lambda m: m.update(version="latest")),
        ("licence-path", "manifest", MANIFEST, lambda m: m.update(licence="../LICENSE")),
        ("source-inside", "manifest", MANIFEST, lambda m: m["skill"].update(source="x")),
        ("id-of-another", "manifest", MANIFEST, lambda m: m.update(id="victim/post.fetch-thing")),
        ("function-other", "manifest", MANIFEST, lambda m: m["skill"].update(name="other")),
        (
            "evidence-unclaimed",
            "manifest",
            f"{SKILL}.agentlab/evidence.json",
            lambda m: m.update(claimed=False),
        ),
    )
    for name, reason, path, change in edits:
        yield HostilePack(f"manifest-{name}", reason, _edited(good, path, change), path)
    summary = _edited(good, MANIFEST, lambda m: m.update(summary="Harmless."))
    yield HostilePack("manifest-summary-unlike-page", "manifest", summary, page)
    paged = {**good, page: good[page].replace(FETCH_SUMMARY, b"Harmless.")}
    summary = _edited(paged, MANIFEST, lambda m: m.update(summary="Harmless."))
    yield HostilePack("manifest-summary-unlike-skill", "manifest", summary, MANIFEST)
    packs: tuple[tuple[str, Reason, Callable[[Json], object]], ...] = (
        ("format", "manifest", lambda p: p.update(format="agentlab.pack/9")),
        ("unknown-field", "manifest", lambda p: p.update(hooks={})),
        ("id-unicode", "manifest", lambda p: p.update(id="sample/p\u043est")),
        ("id-path", "manifest", lambda p: p.update(id="../post")),
        ("id-other", "name", lambda p: p.update(id="victim/post")),
        ("skill-twice", "manifest", lambda p: p["skills"].append(p["skills"][0])),
        ("skill-dropped", "manifest", lambda p: p["skills"].pop()),
        ("notes-miscounted", "manifest", lambda p: p.update(notes=0)),
        ("licence-hidden", "manifest", lambda p: p.update(licences=[])),
        ("mode", "manifest", lambda p: p["files"]["README.md"].update(mode="0755")),
        ("size-lies", "changed-file", lambda p: p["files"]["README.md"].update(size=1)),
    )
    for name, reason, change in packs:
        files = relisted(good, change=lambda p, change=change: cast("None", change(p)))
        path = "README.md" if name == "size-lies" else PACK
        yield HostilePack(f"pack-{name}", reason, files, path)
    other = _edited(good, MANIFEST, lambda m: m.update(version="9.0.0"))
    yield HostilePack("pack-lists-another-version", "manifest", other, MANIFEST)
    spellings: tuple[tuple[str, bytes], ...] = (
        ("indented", json.dumps(json.loads(good[PACK]), indent=1).encode() + b"\n"),
        ("twice", good[PACK].replace(b'"notes":1', b'"notes":1,"notes":1')),
        ("escaped", good[PACK].replace(b"Samples.", b"Samples\\u002e")),
        ("hidden-escape", good[PACK].replace(b"Samples.", b"Samples\\u200b")),
        ("surrogate", good[PACK].replace(b"Samples.", b"Samples\\ud800")),
        ("decomposed", good[PACK].replace(b"Samples.", "Se\u0301e.".encode())),
        ("not-a-number", good[PACK].replace(b'"notes":1', b'"notes":NaN')),
        ("float", good[PACK].replace(b'"notes":1', b'"notes":1e0')),
        ("deep", b"[" * 100_000 + b"]" * 100_000 + b"\n"),
        ("empty", b""),
    )
    for name, data in spellings:
        yield HostilePack(f"json-{name}", "canonical", {**good, PACK: data}, PACK)
    pages: tuple[tuple[str, bytes, bytes], ...] = (
        ("name", b'name: "fetch-thing"', b'name: "pick-lock"'),
        ("description", b"Fetch a thing: go", b"Does anything: go"),
        ("field-added", b"license:", b'allowed-tools: "Bash"\nlicense:'),
        ("cut-short", b"go there,", b"go --- there,"),
        ("id", b"sample/post.fetch-thing", b"victim/post.fetch-thing"),
    )
    for name, before, after in pages:
        files = relisted({**good, page: good[page].replace(before, after)})
        yield HostilePack(f"page-{name}", "manifest", files, page)


def _code(good: Files) -> Iterator[HostilePack]:
    code, effect = f"{SKILL}scripts/skill.py", f"{SKILL}scripts/effect.py"
    cases, notes = f"{SKILL}tests/cases.jsonl", "memory/notes.jsonl"
    edits: tuple[tuple[str, Reason, str, bytes], ...] = (
        ("unparsable", "code", code, b"def fetch_thing(env:\n"),
        ("two-functions", "code", code, good[code] + b"\n\ndef other(env):\n    pass\n"),
        ("at-import", "code", code, b"import os\n\n\n" + good[code]),
        ("nested-parentheses", "code", code, b"(" * 5_000 + b")" * 5_000 + b"\n"),
        ("too-long", "too-large", code, good[code] + b"    # x\n" * 20_000),
        ("effect-statement", "code", effect, b"print('hello')\n"),
        ("empty", "code", code, b""),
        ("case-command", "manifest", f"{cases}:1", b'{"check":"shell","in":{}}\n'),
        ("case-no-arguments", "manifest", f"{cases}:1", b'{"check":"effect"}\n'),
        (
            "case-two-arguments",
            "manifest",
            f"{cases}:1",
            b'{"arguments":{},"check":"effect","in":{}}\n',
        ),
        ("case-spelling", "canonical", f"{cases}:1", b'{"check": "effect", "in": {}}\n'),
        ("note-field", "manifest", f"{notes}:1", b'{"role":"system"}\n'),
        ("note-no-object", "manifest", f"{notes}:1", b'"obey"\n'),
        ("note-no-newline", "canonical", notes, b"{}"),
    )
    for name, reason, path, data in edits:
        changed = path.removesuffix(":1")
        yield HostilePack(f"code-{name}", reason, relisted({**good, changed: data}), path)


def _signatures(good: Files) -> Iterator[HostilePack]:
    def with_envelope(change: Callable[[Json], object], path: str = PACK_ENVELOPE) -> Files:
        value = cast("Json", json.loads(good[path]))
        change(value)
        return {**good, path: encode(value)}

    other = build(sample_pack(version="1.0.1"), key=sample_key())
    stranger = build(sample_pack(), key=sample_key(1))
    theirs = cast("Json", json.loads(stranger[PACK_ENVELOPE]))["signatures"][0]
    edits: tuple[tuple[str, Reason, Callable[[Json], object]], ...] = (
        ("type", "manifest", lambda e: e.update(payloadType="text/plain")),
        ("none", "manifest", lambda e: e.update(signatures=[])),
        ("too-many", "manifest", lambda e: e.update(signatures=e["signatures"] * 17)),
        ("twice", "signature", lambda e: e.update(signatures=e["signatures"] * 2)),
        ("key-id", "signature", lambda e: e["signatures"][0].update(keyid="0" * 64)),
        ("key", "signature", lambda e: e["signatures"][0].update(publicKey=theirs["publicKey"])),
        ("short", "signature", lambda e: e["signatures"][0].update(sig="AAAA")),
        ("value", "signature", lambda e: e["signatures"][0].update(sig=theirs["sig"])),
        ("not-base64", "signature", lambda e: e.update(payload="A")),
        ("of-another", "signature", lambda e: e["signatures"].append(theirs)),
    )
    for name, reason, change in edits:
        yield HostilePack(f"signature-{name}", reason, with_envelope(change), PACK_ENVELOPE)
    files = {**good, PACK_ENVELOPE: other[PACK_ENVELOPE]}
    yield HostilePack("signature-of-another-version", "signature", files, PACK_ENVELOPE)
    files = {**good, PACK_ENVELOPE: good[MANIFEST_ENVELOPE]}
    yield HostilePack("signature-of-a-skill", "signature", files, PACK_ENVELOPE)
    files = relisted({**good, "README.md": b"# Better samples\n"})
    files[PACK_ENVELOPE] = good[PACK_ENVELOPE]
    yield HostilePack("signature-kept-over-a-change", "signature", files, PACK_ENVELOPE)
    # Its own skills, vouched for by a stranger, inside a pack that its author did sign.
    files = {**good, MANIFEST_ENVELOPE: stranger[MANIFEST_ENVELOPE]}
    files = _listed_all(files)
    manifest = PackManifest.model_validate(json.loads(files[PACK]))
    files[PACK_ENVELOPE] = signing.sign(manifest, sample_key())
    yield HostilePack("signature-of-a-stranger-inside", "signature", files, MANIFEST_ENVELOPE)


def _listed_all(files: Files) -> Files:
    """`pack.json` made to agree with every file, signatures of skills among them."""
    pack = cast("Json", json.loads(files[PACK]))
    outside = (PACK, PACK_ENVELOPE)
    pack["files"] = {path: _listed(files[path]) for path in sorted(files) if path not in outside}
    return {**files, PACK: encode(pack)}
