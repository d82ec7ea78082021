"""What ships in skills/ is as it was signed, by the key that ships with it, and is what it says."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

import pytest

from agentlab.library import shelf
from agentlab.library.packs.folder import read, write_folder
from agentlab.library.packs.trust import our_key

NAMES = ("babyai", "courier")


class Validator(Protocol):
    def validate(self, skill_dir: object) -> list[str]: ...


def test_two_packs_ship() -> None:
    assert set(shelf.shipped_packs()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_pack_is_whole_and_ours(name: str) -> None:
    opened = read(shelf.open_files(f"agentlab/{name}"))
    assert opened.signers is not None and opened.signers.author == our_key()
    assert opened.pack.manifest.id == f"agentlab/{name}"
    assert opened.pack.skills
    for packed in opened.pack.skills:
        assert packed.skill is not None and packed.skill.environment == name
        # Made by a run, whose attempts it names, and by nobody's hand.
        assert packed.manifest.provenance.attempts


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_skill_is_a_valid_agent_skill(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("skills_ref")
    standard = cast("Validator", importlib.import_module("skills_ref"))
    place = tmp_path_factory.mktemp("shipped") / "pack"
    write_folder(place, shelf.open_files(f"agentlab/{name}"))
    for folder in (place / "skills").iterdir():
        assert standard.validate(folder) == []
