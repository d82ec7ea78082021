"""Links in a workspace: nothing that they lead to is written, emptied or deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentlab.errors import IndexFaultError, WorkspaceError
from agentlab.library.index.directory import IndexDirectory
from agentlab.library.index.lock import DirectoryLock
from agentlab.records import Records, Workspace
from agentlab.records.files import replace_text

PRECIOUS = "precious " * 20


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user's, outside every workspace."""
    path = tmp_path / "victim"
    path.write_text(PRECIOUS, encoding="utf-8")
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with one run, one index and one blob."""
    workspace = Workspace.open(tmp_path / "ws")
    with Records.open(workspace) as records:
        records.blobs.put(b"x")
    workspace.lock_run("run-1").close()
    DirectoryLock(workspace.index / "town.skill").release()
    return workspace


def link(path: Path, target: Path, *, hard: bool = False) -> None:
    path.unlink(missing_ok=True)
    if hard:
        os.link(target, path)
    else:
        path.symlink_to(target)


@pytest.mark.parametrize("hard", [False, True], ids=["symbolic", "hard"])
def test_a_lock_that_is_a_link_empties_nothing(
    workspace: Workspace, victim: Path, hard: bool
) -> None:
    link(workspace.run_directory("run-1") / "lock", victim, hard=hard)
    with pytest.raises(WorkspaceError, match="remove it and run the same command again"):
        workspace.lock_run("run-1")
    link(workspace.index / "town.skill" / "lock", victim, hard=hard)
    with pytest.raises(IndexFaultError, match="remove it and run the same command again"):
        DirectoryLock(workspace.index / "town.skill")
    assert victim.read_text(encoding="utf-8") == PRECIOUS


def test_a_lock_that_is_no_lock_file_is_left_alone(workspace: Workspace) -> None:
    lock = workspace.run_directory("run-1") / "lock"
    lock.write_text(PRECIOUS, encoding="utf-8")
    with pytest.raises(WorkspaceError, match="no lock of agentlab"):
        workspace.lock_run("run-1")
    assert lock.read_text(encoding="utf-8") == PRECIOUS
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(WorkspaceError, match="no lock of agentlab"):
        workspace.lock_run("run-1")


@pytest.mark.parametrize("part", ["records.db", "records.db-wal"])
def test_records_that_are_a_link_to_elsewhere_are_refused(
    workspace: Workspace, victim: Path, part: str
) -> None:
    link(workspace.path / part, victim)
    for create in (True, False):
        with pytest.raises(WorkspaceError, match=f"'{part}' is a link that leads out of"):
            Workspace.open(workspace.path, create=create)
    assert victim.read_text(encoding="utf-8") == PRECIOUS


@pytest.mark.parametrize("part", ["blobs", "index", "runs", "blobs/2d", "index/town.skill"])
@pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
def test_a_directory_that_is_a_link_to_elsewhere_is_refused(
    workspace: Workspace, tmp_path: Path, part: str, there: bool
) -> None:
    outside = tmp_path / "outside"
    if there:
        (outside / "chroma-9").mkdir(parents=True)
    path = workspace.path / part
    assert path.is_dir()
    path.rename(tmp_path / "aside")
    path.symlink_to(outside)
    with pytest.raises(WorkspaceError, match=f"'{part}' is a link that leads out of"):
        Workspace.open(workspace.path)
    assert outside.exists() == there
    assert not there or [each.name for each in outside.iterdir()] == ["chroma-9"]


@pytest.mark.parametrize("name", ["config.json", "versions.json", "seconds", "checkpoints.db"])
def test_a_run_with_a_file_that_is_a_link_to_elsewhere_is_refused(
    workspace: Workspace, victim: Path, name: str
) -> None:
    path = workspace.run_directory("run-1") / name
    link(path, victim)
    with pytest.raises(WorkspaceError, match=f"'runs/run-1/{name}' is a link that leads out of"):
        workspace.lock_run("run-1")
    path.unlink()
    workspace.lock_run("run-1").close()  # the refusal left no claim


@pytest.mark.parametrize("name", ["chroma-2", "stamp.json.draft"])
def test_an_index_that_holds_a_link_is_not_used(
    workspace: Workspace, tmp_path: Path, victim: Path, name: str
) -> None:
    root = workspace.index / "town.skill"
    (root / name).symlink_to(victim if name.endswith("draft") else tmp_path)
    with pytest.raises(IndexFaultError, match=r"holds a link, .*; remove it"):
        IndexDirectory(root, collection="town.skill", dimension=4, embedder="lexical")
    DirectoryLock(root).release()
    assert victim.read_text(encoding="utf-8") == PRECIOUS


def test_a_link_within_the_workspace_or_to_it_is_followed(
    workspace: Workspace, tmp_path: Path
) -> None:
    (workspace.path / "runs" / "run-1").rename(workspace.path / "moved")
    (workspace.path / "runs" / "run-1").symlink_to("../moved")
    (tmp_path / "here").symlink_to(workspace.path)
    Workspace.open(tmp_path / "here").lock_run("run-1").close()
    assert (workspace.path / "moved" / "lock").is_file()


def test_a_file_is_put_in_the_place_of_a_link(tmp_path: Path, victim: Path) -> None:
    for hard in (False, True):
        link(tmp_path / "seconds", victim, hard=hard)
        replace_text(tmp_path / "seconds", "1.5\n")
        assert (tmp_path / "seconds").read_text(encoding="utf-8") == "1.5\n"
        assert not (tmp_path / "seconds").is_symlink()
        assert victim.read_text(encoding="utf-8") == PRECIOUS
    with pytest.raises(OSError, match="directory"):
        replace_text(tmp_path, "a directory is no file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seconds", "victim"]
