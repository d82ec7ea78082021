"""No hostile pack gets past the reading: each is refused for the reason that is meant."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agentlab.errors import PackRefusedError
from agentlab.library.packs import repository
from agentlab.library.packs.archive import read_archive, write_archive
from agentlab.library.packs.checks import report
from agentlab.library.packs.folder import Opened, build, read, write_folder
from agentlab.library.packs.intake import open_source
from agentlab.library.packs.trust import TrustStore
from agentlab.library.packs.verdict import Held, Tombstones, decide, revoked_by
from agentlab.testing.hostile_archives import HostileArchive, hostile_archives
from agentlab.testing.hostile_histories import (
    HostileHistory,
    SuspectPack,
    hostile_histories,
    suspect_packs,
)
from agentlab.testing.hostile_packs import HostilePack, hostile_packs
from agentlab.testing.sample_packs import sample_key, sample_pack
from tests.processes import until_ended

GOOD = build(sample_pack(), key=sample_key())
ARCHIVES = hostile_archives(GOOD)
PACKS = hostile_packs()
HISTORIES = hostile_histories()
SUSPECTS = suspect_packs()


def name_of(case: HostileArchive | HostilePack | HostileHistory | SuspectPack) -> str:
    return case.name


def test_the_corpus_is_large_and_without_repetition() -> None:
    names = [case.name for case in (*ARCHIVES, *PACKS, *HISTORIES)]
    assert len(names) == len(set(names))
    assert len(names) >= 250
    assert len({case.reason for case in (*ARCHIVES, *PACKS, *HISTORIES)}) >= 25
    assert len({tuple(sorted(case.files.items())) for case in PACKS}) == len(PACKS)
    assert all(case.files != GOOD for case in PACKS)


def test_the_pack_that_they_are_made_from_is_good(tmp_path: Path) -> None:
    path = tmp_path / "good.zip"
    path.write_bytes(write_archive(GOOD))
    assert read(open_source(path).files).pack == read(GOOD).pack


@pytest.mark.parametrize("case", ARCHIVES, ids=name_of)
def test_archives_are_refused(case: HostileArchive, tmp_path: Path) -> None:
    path = tmp_path / "pack.zip"
    path.write_bytes(case.data)
    with pytest.raises(PackRefusedError) as refusal:
        read(open_source(path).files)
    assert refusal.value.reason == case.reason
    assert str(refusal.value).isascii()
    # Nothing was unpacked, neither beside the archive nor anywhere above it.
    assert os.listdir(tmp_path) == ["pack.zip"]


@pytest.mark.parametrize("case", PACKS, ids=name_of)
def test_packs_are_refused(case: HostilePack) -> None:
    with pytest.raises(PackRefusedError) as refusal:
        read(case.files)
    assert (refusal.value.reason, refusal.value.file) == (case.reason, case.file)
    assert str(refusal.value).isascii()


@pytest.mark.parametrize("case", [c for c in PACKS if "name" not in c.name][::7], ids=name_of)
def test_packs_are_refused_from_a_zip_alike(case: HostilePack) -> None:
    with pytest.raises(PackRefusedError) as refusal:
        read(read_archive(write_archive(case.files)))
    assert refusal.value.reason == case.reason


def held(opened: Opened) -> list[Held]:
    author = opened.signers.author if opened.signers else None
    return [
        Held(
            id=packed.manifest.id,
            name=packed.skill.name if packed.skill else packed.manifest.folder,
            environment=packed.skill.environment if packed.skill else "",
            version=packed.manifest.version,
            digest=packed.manifest.digest,
            key=author,
            needs=packed.manifest.needs,
            source=opened.digest,
        )
        for packed in opened.pack.skills
    ]


@pytest.mark.parametrize("case", HISTORIES, ids=name_of)
def test_histories_are_refused(case: HostileHistory, tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.db")
    first, then = read(case.first), read(case.then)
    assert first.signers is not None
    name = first.pack.manifest.id
    assert store.standing(name, first.signers.author) == "first"
    store.pin(name, first.signers.author, first.signers.public, version="0.0.0")
    if case.reason == "changed-key":
        with pytest.raises(PackRefusedError) as refusal:
            store.standing(name, then.signers.author if then.signers else None)
        assert refusal.value.reason == "changed-key"
        return
    assert then.signers is not None
    assert store.standing(name, then.signers.author) == "known"
    revokes = first.pack.manifest.revokes
    here = held(first)
    if revokes:
        old = held(then)
        assert revoked_by(old, revokes, author=first.signers.author)
        here = []
    gone = Tombstones(digests=frozenset(revokes))
    verdicts = [decide(here, item, tombstones=gone) for item in held(then)]
    assert verdicts[-1].action == "refuse"
    assert verdicts[-1].code == case.reason
    assert not any(verdict.action == "new" for verdict in verdicts)


@pytest.mark.parametrize("case", SUSPECTS, ids=name_of)
def test_suspect_text_is_pointed_at(case: SuspectPack) -> None:
    read(case.files)
    findings = report(case.files)
    assert case.kind in {finding.kind for finding in findings}
    assert all(finding.excerpt.isascii() for finding in findings)


def test_the_report_finds_nothing_in_the_good_pack() -> None:
    assert report(GOOD) == []


def linked(path: Path) -> None:
    (path / "README.md").unlink()
    (path / "README.md").symlink_to("/etc/passwd")


def linked_inside(path: Path) -> None:
    (path / "README.md").unlink()
    (path / "README.md").symlink_to(path / "pack.json")


def linked_folder(path: Path) -> None:
    (path / "memory").rename(path.parent / "memory")
    (path / "memory").symlink_to(path.parent / "memory")


def hard_linked(path: Path) -> None:
    (path.parent / "other").write_bytes((path / "README.md").read_bytes())
    (path / "README.md").unlink()
    os.link(path.parent / "other", path / "README.md")


def piped(path: Path) -> None:
    (path / "README.md").unlink()
    os.mkfifo(path / "README.md")


def executable(path: Path) -> None:
    (path / "README.md").chmod(0o755)


def checked_out(path: Path) -> None:
    (path / ".git").mkdir()
    (path / ".git" / "config").write_text("[core]\n")


def swollen(path: Path) -> None:
    os.truncate(path / "README.md", 30_000_000)


def crowded(path: Path) -> None:
    for number in range(2_001):
        (path / "memory" / f"{number}.txt").touch()


def deep(path: Path) -> None:
    (path / "a/b/c/d/e/f/g/h/i/j").mkdir(parents=True)


def ill_named(path: Path) -> None:
    Path(os.fsdecode(os.fsencode(path) + b"/\xff.md")).touch()


def extra(path: Path) -> None:
    (path / "LICENSES" / "Extra.txt").touch()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (linked, "link"),
        (linked_inside, "link"),
        (linked_folder, "link"),
        (hard_linked, "link"),
        (piped, "special-file"),
        (executable, "mode"),
        (checked_out, "path"),
        (swollen, "too-large"),
        (crowded, "too-many-files"),
        (deep, "path"),
        (ill_named, "encoding"),
        (extra, "extra-file"),
    ],
)
def test_folders_are_refused(change: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "pack"
    write_folder(path, GOOD)
    assert read(open_source(path).files).digest
    change(path)
    with pytest.raises(PackRefusedError) as refusal:
        read(open_source(path).files)
    assert refusal.value.reason == reason


def git(path: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments],
        cwd=path,
        check=True,
        capture_output=True,
        timeout=60,
    )


def committed(path: Path) -> str:
    write_folder(path, GOOD)
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--message=one")
    return f"file://{path}"


def test_a_repository_is_read_without_a_checkout(tmp_path: Path) -> None:
    address = committed(tmp_path / "pack")
    git(tmp_path / "pack", "tag", "v1")
    found = open_source(address)
    assert found.kind == "git"
    assert found.files == GOOD
    assert open_source(address, ref="v1").files == GOOD


def test_attributes_and_filters_of_a_repository_have_no_effect(tmp_path: Path) -> None:
    address = committed(tmp_path / "pack")
    attributes = tmp_path / "pack" / ".gitattributes"
    attributes.write_text("* text eol=crlf filter=lfs\n")
    git(tmp_path / "pack", "add", ".gitattributes")
    git(tmp_path / "pack", "commit", "--quiet", "--message=two")
    with pytest.raises(PackRefusedError) as refusal:
        open_source(address)
    assert (refusal.value.reason, refusal.value.file) == ("layout", ".gitattributes")


@pytest.mark.parametrize("kind", ["link", "mode", "special-file"])
def test_repositories_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "pack"
    address = committed(path)
    if kind == "link":
        linked(path)
    elif kind == "mode":
        executable(path)
    else:
        head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=path, text=True).strip()
        git(path, "update-index", "--add", "--cacheinfo", f"160000,{head},vendor")
    if kind != "special-file":
        git(path, "add", "--all")
    git(path, "commit", "--quiet", "--message=two")
    with pytest.raises(PackRefusedError) as refusal:
        open_source(address)
    assert refusal.value.reason == kind


@pytest.mark.parametrize(
    "address",
    [
        "ext::sh -c touch% hacked",
        "fd::17",
        "ssh://host.example/pack",
        "git://host.example/pack",
        "http://host.example/pack",
        "git@host.example:pack",
        "https://user:word@host.example/pack",
        "https://host.example/pack?x=$(touch hacked)",
        "https://host.example/pack\nhacked",
        "file://host.example/pack",
        "file:///nowhere/at/all",
        "ftp://host.example/pack.zip",
        "--upload-pack=touch hacked",
    ],
)
def test_other_addresses_are_refused(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PackRefusedError) as refusal:
        open_source(address)
    assert refusal.value.reason == "source"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ref", ["--upload-pack=x", "-x", "a..b", "", "a b", "a\nb"])
def test_refs_cannot_be_options(ref: str, tmp_path: Path) -> None:
    with pytest.raises(PackRefusedError) as refusal:
        open_source(f"file://{tmp_path}", ref=ref)
    assert refusal.value.reason == "source"


def test_hooks_and_the_users_configuration_do_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = committed(tmp_path / "pack")
    mark = tmp_path / "ran"
    hooks = tmp_path / "home" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    config = f'[core]\n hooksPath = {hooks}\n[url "file:///nowhere"]\n insteadOf = {address}\n'
    (tmp_path / "home" / ".gitconfig").write_text(config)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert open_source(address).files == GOOD
    assert not mark.exists()


def test_a_file_changed_after_it_was_read_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pack"
    write_folder(path, GOOD)
    found = open_source(path)
    (path / "skills/fetch-thing/scripts/skill.py").write_text("import os\n")
    assert read(found.files).pack == read(GOOD).pack


def test_a_pack_is_written_whole_and_with_plain_modes(tmp_path: Path) -> None:
    write_folder(tmp_path / "pack", GOOD)
    modes = {
        stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "pack").rglob("*")
        if path.is_file()
    }
    assert modes == {0o644}
    assert os.listdir(tmp_path) == ["pack"]
    assert json.loads((tmp_path / "pack/pack.json").read_text())["id"] == "sample/post"


def test_a_repository_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(tmp_path / "pack")
    programs = tmp_path / "bin"
    programs.mkdir()
    # A git whose child would outlive it.
    (programs / "git").write_text(f"#!/bin/sh\nsleep 300 & echo $! > {tmp_path}/child\nwait\n")
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(repository, "FETCH_SECONDS", 2.0)
    with pytest.raises(PackRefusedError, match="took git over 2 s"):
        open_source(f"file://{tmp_path}/pack")
    until_ended(int((tmp_path / "child").read_text()))
