"""Packs to files and back: nothing lost, nothing added, the same bytes each time."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agentlab.errors import PackRefusedError, UsageError
from agentlab.library.packs.archive import read_archive, write_archive
from agentlab.library.packs.canonical import encode
from agentlab.library.packs.contents import Pack, PackedSkill, pack_skill
from agentlab.library.packs.folder import build, read, write_folder
from agentlab.library.packs.intake import open_source
from agentlab.library.packs.manifest import Evidence, PackManifest, SkillManifest
from agentlab.testing.hostile_packs import relisted
from agentlab.testing.sample_packs import (
    CREATED,
    sample_caller,
    sample_insight,
    sample_key,
    sample_pack,
    sample_skill,
)
from agentlab.types import Parameter, Skill

TEXT = st.text(
    st.sampled_from("aZ 0-_:#'\"\\{}[]&*!|>%@`<\n\té☃漢/"), max_size=40
)  # what YAML, Markdown and JSON would each take for something of theirs


def test_export_import_export_gives_the_same_bytes() -> None:
    files = build(sample_pack(), key=sample_key())
    opened = read(files)
    # By whoever imported it, without the author's key.
    assert build(opened.pack) == files
    # By its author, from the values.
    assert build(opened.pack, key=sample_key()) == files
    assert write_archive(build(opened.pack)) == write_archive(files)


def test_skills_insights_and_evidence_come_back_whole() -> None:
    pack = sample_pack()
    found = read(build(pack)).pack
    assert [s.skill for s in found.skills] == [sample_caller(), sample_skill()]
    assert found.notes == (sample_insight(),)
    assert found.skills[0].evidence.effect == 0.25
    assert found.licence_texts == pack.licence_texts
    assert found.readme == pack.readme
    assert found.skills[1].references == {"notes.md": "# More on fetch_thing\n"}


def test_every_field_of_a_skill_travels() -> None:
    # A field that a skill gets one day must not be lost on the way without anybody noticing.
    skill = sample_skill()
    (found,) = read(build(sample_pack(skills=(skill,)))).pack.skills
    assert found.skill is not None
    assert found.skill.model_dump() == skill.model_dump()
    assert found.skill.document == skill.document


@settings(max_examples=60)
@given(summary=TEXT, note=TEXT, body=st.none() | TEXT, effect=st.lists(TEXT, max_size=2))
def test_any_text_survives(summary: str, note: str, body: str | None, effect: list[str]) -> None:
    skill = sample_skill().model_copy(update={"summary": summary, "effect": tuple(effect)})
    pack = sample_pack(skills=(skill,), notes=(sample_insight(advice=note),))
    packed = pack.skills[0].model_copy(update={"body": body})
    files = build(pack.model_copy(update={"skills": (packed,)}))
    found = read(files).pack
    assert found.skills[0].skill == skill
    assert found.notes[0].advice == note
    assert build(found) == files


def test_digests_are_of_files() -> None:
    files = build(sample_pack())
    opened = read(files)
    assert opened.digest == hashlib.sha256(files["pack.json"]).hexdigest()
    path = "skills/fetch-thing/.agentlab/manifest.json"
    entry = next(e for e in opened.pack.manifest.skills if e.folder == "fetch-thing")
    assert entry.manifest == hashlib.sha256(files[path]).hexdigest()
    assert entry.manifest == opened.pack.skills[1].manifest.digest


def test_the_order_in_which_skills_are_given_is_nothing() -> None:
    one = sample_pack(skills=(sample_skill(), sample_caller()))
    other = sample_pack(skills=(sample_caller(), sample_skill()))
    assert build(one) == build(other)


def test_grants_follow_from_the_skill() -> None:
    packed = sample_pack().skills[0].manifest
    assert [(g.environment, g.tool) for g in packed.needs.tools] == [
        ("sample-post", "go_to"),
        ("sample-post", "pick_up"),
    ]
    assert sample_pack().skills[1].manifest.calls == ("fetch_thing",)


def test_text_alone_is_a_skill_too() -> None:
    manifest = SkillManifest(
        id="sample/post.manners",
        version="1.0.0",
        kind="text-only",
        entry=None,
        effect=None,
        summary="How to knock.",
        inputs={},
        outputs={},
        files={},
        created=CREATED,
        skill=None,
    )
    packed = PackedSkill(manifest=manifest, skill=None, evidence=Evidence(), body="\nKnock.\n")
    pack = sample_pack()
    files = build(pack.model_copy(update={"skills": (*pack.skills, packed)}), key=sample_key())
    found = read(files).pack
    assert [s.manifest.kind for s in found.skills].count("text-only") == 1
    assert found.skills[2].body == "\nKnock.\n"
    assert build(found) == files


def test_an_empty_pack_is_a_pack() -> None:
    files = build(Pack(manifest=PackManifest(id="a/b", version="0.0.1", created=CREATED)))
    assert list(files) == ["pack.json"]
    assert build(read(files).pack) == files


def test_a_signature_is_dropped_with_what_it_signed() -> None:
    opened = read(build(sample_pack(), key=sample_key()))
    edited = opened.pack.model_copy(update={"readme": "# Other\n"})
    files = build(edited)
    assert "pack.dsse.json" not in files
    # Of the skills nothing changed, and their author's signatures stay.
    assert "skills/fetch-thing/.agentlab/manifest.dsse.json" in files
    assert read(files).signers is None


def test_archives_are_the_same_everywhere() -> None:
    files = build(sample_pack())
    data = write_archive(files)
    assert data == write_archive(dict(reversed(files.items())))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == sorted(files)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o100644}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_archives_of_other_programs_are_read(tmp_path: Path) -> None:
    files = build(sample_pack(), key=sample_key())
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("skills")
        for name, data in files.items():
            archive.writestr(name, data)
    assert read_archive(path.read_bytes()) == files
    assert open_source(str(path)).kind == "zip"


def test_folders_and_archives_hold_the_same(tmp_path: Path) -> None:
    files = build(sample_pack(), key=sample_key())
    write_folder(tmp_path / "pack", files)
    (tmp_path / "pack.zip").write_bytes(write_archive(files))
    assert open_source(tmp_path / "pack").files == files
    assert open_source(tmp_path / "pack.zip").files == files


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "pack").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="already"):
        write_folder(tmp_path / "pack", {"README.md": b""})
    with pytest.raises(UsageError, match="cannot be made"):
        write_folder(tmp_path / "no" / "pack", {"README.md": b""})
    with pytest.raises(PackRefusedError):
        write_folder(tmp_path / "other", {"../evil": b""})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pack"]


def test_a_source_that_is_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(PackRefusedError, match="No such file"):
        open_source(tmp_path / "missing.zip")


SOURCE = "def a(env):\n    pass\n"


NOTHING: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "étage"}, "no ASCII name"),
        ({"name": "_"}, "no ASCII name"),
        ({"tools": ("two\nlines",)}, "tool"),
        ({"tests": ({"task": "t"},)}, "no plain arguments"),
        ({"tests": ({"arguments": NOTHING, "check": "x"},)}, "no plain arguments"),
        ({"precondition": {"a": float("nan")}}, "cannot be"),
        ({"parameters": (Parameter(name="a", type="e\u0301"),)}, "normal form C"),
    ],
)
def test_what_the_format_cannot_hold_is_said(change: dict[str, Any], says: str) -> None:
    skill = sample_skill().model_copy(update=change)
    with pytest.raises(UsageError, match=says):
        build(sample_pack(skills=(skill,)))


def test_hidden_text_is_not_exported_either() -> None:
    skill = sample_skill().model_copy(update={"source": "# \u200b\n" + SOURCE})
    with pytest.raises(PackRefusedError, match="unseen character"):
        build(sample_pack(skills=(skill,)))


def test_a_pack_holds_one_version_of_a_skill() -> None:
    with pytest.raises(UsageError, match="share the folder"):
        build(sample_pack(skills=(sample_skill(), sample_skill(version=2))))


def test_a_licence_needs_its_text() -> None:
    with pytest.raises(UsageError, match="text of the licence 'MIT'"):
        build(sample_pack().model_copy(update={"licence_texts": {}}))


def test_a_skill_of_another_pack_is_not_taken_in() -> None:
    foreign = pack_skill(sample_skill(), pack="victim/post", created=CREATED)
    with pytest.raises(UsageError, match="belongs to another pack"):
        build(sample_pack().model_copy(update={"skills": (foreign,)}))


@pytest.mark.parametrize(
    ("pack", "version", "licence"),
    [("a/b", "1", None), ("a/b", "1.0.0", "No/thing"), ("a", "1.0.0", None), ("A/b", None, None)],
)
def test_bad_options_are_said(pack: str, version: str | None, licence: str | None) -> None:
    with pytest.raises(UsageError, match="cannot be packed"):
        pack_skill(sample_skill(), pack=pack, created=CREATED, version=version, licence=licence)


def test_versions_follow_the_skill_unless_said() -> None:
    skill: Skill = sample_skill(version=3)
    assert pack_skill(skill, pack="a/b", created=CREATED).manifest.version == "3.0.0"
    assert (
        pack_skill(skill, pack="a/b", created=CREATED, version="0.2.1").manifest.version == "0.2.1"
    )


def places(value: JsonValue, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where something stands in a JSON value."""
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


WRONG: list[JsonValue] = [
    *(None, True, 0, -1, 10**30, 1.5, "", "x", "../x", "a" * 5000, "é", "sample/post", "1.0.0"),
    *("0" * 64, [], {}, [[]], {"a": {}}, "MIT OR Other", "two\nlines"),
]


@settings(max_examples=400)
@given(st.data())
def test_any_other_value_anywhere_is_read_whole_or_refused(data: st.DataObject) -> None:
    good = build(sample_pack(), key=sample_key())
    path = data.draw(st.sampled_from([p for p in sorted(good) if p.endswith((".json", ".jsonl"))]))
    lines = [json.loads(line) for line in good[path].splitlines()]
    if not lines:
        return
    where = data.draw(st.sampled_from(list(places(lines))))
    holder: Any = lines
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = data.draw(st.sampled_from(WRONG))
    files = {**good, path: b"".join(map(encode, lines))}
    if path != "pack.json" and not path.endswith(".dsse.json") and data.draw(st.booleans()):
        try:
            files = relisted(files)
        except (TypeError, AttributeError):
            return
    try:
        opened = read(files)
    except PackRefusedError:
        return
    assert build(opened.pack) == files


@settings(max_examples=400)
@given(st.data())
def test_a_damaged_archive_is_refused_or_holds_the_same(data: st.DataObject) -> None:
    good = build(sample_pack())
    archive = bytearray(write_archive(good))
    ends = st.integers(0, len(archive) - 1) | st.integers(len(archive) - 1500, len(archive) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        archive[data.draw(ends)] = data.draw(st.integers(0, 255))
    try:
        files = read_archive(bytes(archive))
    except PackRefusedError:
        return
    try:
        read(files)
    except PackRefusedError:
        return
    assert files == good
