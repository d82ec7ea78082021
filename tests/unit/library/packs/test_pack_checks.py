"""The static report, the search for secrets, and what the standard's own validator says."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.errors import PackRefusedError, UsageError
from agentlab.library.packs.checks import MAX_FINDINGS, Finding, check_leaks, report
from agentlab.library.packs.folder import build, read, write_folder
from agentlab.library.packs.page import folder_name, front_matter
from agentlab.testing.hostile_packs import relisted
from agentlab.testing.sample_packs import sample_insight, sample_key, sample_pack, sample_skill


class Validator(Protocol):
    def validate(self, skill_dir: Path) -> list[str]: ...


@pytest.fixture(scope="module")
def standard() -> Validator:
    pytest.importorskip("skills_ref")
    return cast("Validator", importlib.import_module("skills_ref"))


def test_exports_are_valid_agent_skills(standard: Validator, tmp_path: Path) -> None:
    write_folder(tmp_path / "pack", build(sample_pack(), key=sample_key()))
    folders = sorted((tmp_path / "pack" / "skills").iterdir())
    assert len(folders) == 2
    for folder in folders:
        assert standard.validate(folder) == []


@settings(max_examples=80)
@given(
    st.text(st.sampled_from("aZ 0-_:#'\"\\{}[]&*!|>%@`<?,=~\n\té☃漢"), max_size=60)
    | st.sampled_from(["---", "a --- b", "- a", "null", "1e3", "yes", "&a *a", "x" * 3000])
)
def test_any_summary_gives_a_valid_agent_skill(
    standard: Validator, tmp_path_factory: pytest.TempPathFactory, summary: str
) -> None:
    skill = sample_skill().model_copy(update={"summary": summary})
    path = tmp_path_factory.mktemp("packs") / "pack"
    files = build(sample_pack(skills=(skill,)))
    assert read(files)
    write_folder(path, files)
    assert standard.validate(path / "skills" / "fetch-thing") == []


@pytest.mark.parametrize(
    "change",
    [
        (b'name: "fetch-thing"', b'name: "Fetch-Thing"'),
        (b'name: "fetch-thing"', b'name: "other"'),
        (b'name: "fetch-thing"\n', b""),
        (b"license:", b"hooks:"),
        (b"metadata:", b"metadata: ["),
        (b"---\n", b"--\n"),
    ],
)
def test_what_the_standard_refuses_is_refused_here(
    standard: Validator, tmp_path: Path, change: tuple[bytes, bytes]
) -> None:
    page = "skills/fetch-thing/SKILL.md"
    good = build(sample_pack())
    files = relisted({**good, page: good[page].replace(*change)})
    write_folder(tmp_path / "pack", files)
    assert standard.validate(tmp_path / "pack" / "skills" / "fetch-thing") != []
    with pytest.raises(PackRefusedError) as refusal:
        read(files)
    assert refusal.value.file == page


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("pick_up", "pick-up"),
        ("PickUp2", "pickup2"),
        ("_private_", "private"),
        ("a__b", "a-b"),
        ("x" * 80, "x" * 64),
    ],
)
def test_folders_are_named_after_functions(name: str, folder: str) -> None:
    assert folder_name(name) == folder


def test_the_front_matter_has_the_standard_fields_only() -> None:
    text = front_matter(sample_pack().skills[0].manifest)
    fields = [line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha()]
    assert fields == ["name", "description", "license", "metadata"]


def test_findings_say_where() -> None:
    note = sample_insight(advice="See https://evil.example/\u00e9 now.")
    (found,) = report(build(sample_pack(notes=(note,))))
    assert found == Finding("memory/notes.jsonl", 1, "address", "https://evil.example/\\xe9")


def test_findings_are_bounded() -> None:
    many = "\n".join(f"https://evil.example/{n}" for n in range(5000))
    files = {f"skills/a/references/{n}.md": many.encode() for n in range(20)}
    assert len(report(files)) == MAX_FINDINGS


@pytest.mark.parametrize(
    "text",
    [
        "AKIAABCDEFGHIJKLMNOP",
        "ghp_" + "a1" * 18,
        "sk-proj-" + "a1B2" * 8,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "https://user:word@host.example/",
        "/".join(("", "home", "somebody", "work")),
        "/".join(("", "root", ".ssh")),
    ],
)
def test_secrets_do_not_leave(text: str) -> None:
    files = build(sample_pack(notes=(sample_insight(advice=f"Use {text} here."),)))
    with pytest.raises(UsageError, match=r"memory/notes\.jsonl") as refusal:
        check_leaks(files)
    assert text not in str(refusal.value)


def test_values_of_secret_variables_do_not_leave() -> None:
    files = build(sample_pack(notes=(sample_insight(advice="Say swordfish-42."),)))
    check_leaks(files, {"PATH": "swordfish-42", "SHORT_KEY": "Say"})
    with pytest.raises(UsageError, match="secret variable") as refusal:
        check_leaks(files, {"SERVICE_TOKEN": "swordfish-42"})
    assert "swordfish" not in str(refusal.value)


def test_the_sample_pack_leaks_nothing() -> None:
    check_leaks(build(sample_pack(), key=sample_key()))
