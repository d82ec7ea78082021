"""Putting a working folder back writes nothing outside of it, whatever a server made of it."""

from __future__ import annotations

import os
from pathlib import Path

from agentlab.environments.mcp.folder import Folder

START: dict[str, bytes | None] = {"d": None, "d/a.txt": b"start", "b.txt": b"b"}


def test_a_folder_that_became_a_link_is_put_back_beside_what_it_points_at(tmp_path: Path) -> None:
    precious = tmp_path / "a.txt"
    precious.write_text("PRECIOUS")
    folder = Folder()
    try:
        folder.put(START)
        inside = Path(folder.path)
        (inside / "d" / "a.txt").unlink()
        (inside / "d").rmdir()
        os.symlink(tmp_path, inside / "d")
        os.symlink(precious, inside / "link.txt")
        assert "d" not in folder.look()
        folder.put(START)
        assert precious.read_text() == "PRECIOUS"
        assert not (inside / "d").is_symlink()
        assert folder.look() == START
        assert sorted(path.name for path in inside.iterdir()) == ["b.txt", "d"]
    finally:
        folder.remove()


def test_a_file_that_became_a_link_is_put_back(tmp_path: Path) -> None:
    precious = tmp_path / "b.txt"
    precious.write_text("PRECIOUS")
    folder = Folder()
    try:
        folder.put(START)
        inside = Path(folder.path)
        (inside / "b.txt").unlink()
        os.symlink(precious, inside / "b.txt")
        folder.put(START)
        assert precious.read_text() == "PRECIOUS"
        assert (inside / "b.txt").read_bytes() == b"b"
    finally:
        folder.remove()
