"""How a browser is started, and where it keeps what it needs while it runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from agentlab.environments.web import chromium
from agentlab.environments.web.launcher import merged


def test_a_browser_starts_where_the_path_of_temporary_files_is_too_long_for_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.setenv("TMPDIR", str(deep))
    home = chromium.make_home()
    try:
        assert home.parent != deep and len(str(home.parent)) <= chromium.LONGEST
        told = chromium.environment(home)
        assert (told["TMPDIR"], told["HOME"]) == (str(home.parent), str(home))
        assert home.name.startswith(f"{chromium.HOMES}{os.getpid()}-")
    finally:
        shutil.rmtree(home)


def test_folders_for_temporary_files_that_are_short_enough_are_kept_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="a") as place:
        monkeypatch.setattr(tempfile, "tempdir", place)
        monkeypatch.delenv("TMPDIR", raising=False)
        home = chromium.make_home()
        assert home.parent == Path(place)
        assert "TMPDIR" not in chromium.environment(home)


def test_lists_of_features_to_be_turned_off_become_one() -> None:
    one, two = "--disable-features=A,B", "--disable-features=C"
    assert merged(["--x", one, "--y=1", two]) == ["--disable-features=A,B,C", "--x", "--y=1"]
    assert merged(["--x", one]) == [one, "--x"]
    assert merged(["--x", "--disable-featuresque"]) == ["--x", "--disable-featuresque"]


def test_one_without_windows_is_taken_where_there_are_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chromium, "NAMES", [Path(name).name for name in chromium.NAMES])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.find_chromium() is None
    for name in ("chromium", "chrome-headless-shell", "chromium-headless-shell"):
        program = tmp_path / name
        program.touch(0o755)
        assert chromium.find_chromium() == str(program)
    monkeypatch.setenv(chromium.VARIABLE, "chromium")
    assert chromium.find_chromium() == str(tmp_path / "chromium")
