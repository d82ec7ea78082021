"""Pinned requirements: exact, hashed, agreeing with each other, and free of addresses."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
APART = "bfcl"
"""Installed beside the set for development, and without what it asks for: that is 6 GB."""
TRAIN = "train"
"""An environment of its own, after torch, whose build is the machine's."""
FILES = sorted(p for p in (ROOT / "requirements").glob("*.txt") if p.stem not in (APART, TRAIN))
PINNED = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9][\w.]*)(?: ; (?P<marker>.+?))?"
    r"(?: --hash=sha256:[0-9a-f]{64})+"
)
# Each set holds what these extras of pyproject.toml ask for.
SETS: dict[str, tuple[str, ...]] = {
    "core": (),
    "practice": ("babyai", "packs"),
    "dev": ("babyai", "mcp", "packs", "dev"),
}


def pins(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in re.sub(r"\s*\\\n\s*", " ", path.read_text(encoding="utf-8")).splitlines():
        match = PINNED.fullmatch(line.strip())
        assert match, f"{path.name}: not pinned and hashed: {line[:80]!r}"
        if match["marker"]:
            Marker(match["marker"].strip())
        assert match["name"] not in found, f"{path.name}: {match['name']} twice"
        found[match["name"]] = match["version"]
    return found


def test_there_is_a_file_for_each_set() -> None:
    assert {path.stem for path in FILES} == set(SETS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_line_is_pinned_and_hashed(path: Path) -> None:
    assert len(pins(path)) > 50
    assert "//" not in path.read_text(encoding="utf-8")


def test_what_stands_apart_is_pinned_and_in_no_set() -> None:
    apart = pins(ROOT / "requirements" / f"{APART}.txt")
    assert set(apart) == {"bfcl-eval", "mpmath"}
    assert not set(apart) & set(pins(ROOT / "requirements" / "dev.txt"))


def test_trainers_are_pinned_but_for_torch_and_what_its_builds_bring() -> None:
    found = pins(ROOT / "requirements" / f"{TRAIN}.txt")
    assert {"trl", "transformers", "peft", "datasets", "accelerate", "safetensors"} <= set(found)
    builds = ("torch", "triton", "nvidia-", "cuda-")
    assert not [name for name in found if name.startswith(builds)]
    assert "//" not in (ROOT / "requirements" / f"{TRAIN}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SETS)
def test_pins_meet_what_the_project_asks_for(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked: list[str] = [*project["dependencies"]]
    for extra in SETS[name]:
        asked += project["optional-dependencies"][extra]
    found = pins(ROOT / "requirements" / f"{name}.txt")
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), (
            requirement
        )


def test_sets_agree() -> None:
    core, practice, dev = (pins(ROOT / "requirements" / f"{name}.txt") for name in SETS)
    assert core.items() <= practice.items() <= dev.items()


def test_practice_can_install_the_project_itself() -> None:
    assert {"hatchling", "editables"} <= set(pins(ROOT / "requirements" / "practice.txt"))


def test_dependencies_have_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    for line in [*project["dependencies"], *(item for extra in extras.values() for item in extra)]:
        operators = {part.operator for part in Requirement(line).specifier}
        assert operators == {">=", "<"}, line
