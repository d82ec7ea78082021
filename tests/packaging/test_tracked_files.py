"""What no file of the project may hold: addresses of registries, paths of one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 500
TOP = {
    ".ci",
    ".gitignore",
    "AGENTS.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "NOTICE",
    "README.md",
    "agentlab",
    "envs",
    "examples",
    "pyproject.toml",
    "requirements",
    "skills",
    "tests",
}

# Written in pieces, so that this file is not its own finding.
REGISTRIES = re.compile("|".join(["py" + r"pi\.org", "python" + "hosted", "registry" + r"\.npm"]))
INDEX_OPTIONS = re.compile(r"--(extra-)?" + r"index-url[= ]|--find-" + r"links[= ]")
HOMES = re.compile(r"(?<![\w.])/(?:home|Users)/[a-z]\w*/|(?<![\w.])/ro" + r"ot/")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def findings(pattern: re.Pattern[str]) -> list[str]:
    found: list[str] = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}"
            for number, line in enumerate(lines, start=1)
            if pattern.search(line)
        ]
    return found


def test_no_address_of_a_registry() -> None:
    assert findings(REGISTRIES) == []
    assert findings(INDEX_OPTIONS) == []


def test_no_path_of_one_machine() -> None:
    assert findings(HOMES) == []
    parent = str(ROOT.parent)
    if len(ROOT.parent.parts) > 2:  # a path such as /tmp may be meant on every machine
        assert findings(re.compile(r"(?<![\w.])" + re.escape(parent) + "/")) == []


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (REGISTRIES, "https://py" + "pi.org/simple"),
        (INDEX_OPTIONS, "pip install --extra-" + "index-url=x y"),
        (HOMES, "see /home" + "/someone/notes"),
        (HOMES, "'/ro" + "ot/.config'"),
    ],
)
def test_the_patterns_find(pattern: re.Pattern[str], line: str) -> None:
    assert pattern.search(line)


def test_top_level_is_the_designed_one() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= TOP


def test_no_file_of_python_is_long() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("agentlab", "envs", "examples", "tests")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert lengths
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_agent_guide_is_short() -> None:
    assert len((ROOT / "AGENTS.md").read_text(encoding="utf-8").splitlines()) < 80
