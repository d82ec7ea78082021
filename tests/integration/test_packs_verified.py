"""Packs are verified here for real: in boxes, from fresh starts, and across kill -9."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agentlab.errors import SkillRefusedError, UsageError
from agentlab.graph.importing import Checked, Verification, verify_pack
from agentlab.library import merging, shelf
from agentlab.library.packs.folder import build, write_folder
from agentlab.library.packs.trust import TrustStore
from agentlab.records import PackRow, Records, Workspace
from agentlab.statistics import proportion
from agentlab.testing.poisoned_skills import honest_skill, poisoned_skills
from agentlab.testing.sample_packs import sample_key, sample_pack
from tests.integration.packs_process import how

CASES = poisoned_skills()
TRIED = [case for number, case in enumerate(CASES) if case.gate != "replay" or number % 4 == 0]
"""All that a static check, a control or a trial must find, and a share of the rest; the whole
corpus is measured by `examples/packs.py`."""


class Verified(NamedTuple):
    records: Records
    row: PackRow
    found: tuple[Checked, ...]


def approved(records: Records, place: Path, name: str, skills: tuple[object, ...]) -> PackRow:
    trust = TrustStore(place / "trusted.db")
    pack = sample_pack(name=name, skills=skills, notes=())  # pyright: ignore[reportArgumentType]
    row = shelf.receive(records, build(pack, key=sample_key()), name)
    shelf.approve(records, shelf.judge(records, row.digest, trust), trust)
    return records.packs.get(row.digest)


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verified]:
    """A pack of the honest skill among poisoned ones, after verification and merge."""
    place = tmp_path_factory.mktemp("poisoned")
    with Records.open(Workspace.open(place / "work")) as records:
        skills = (honest_skill(), *(case.skill for case in TRIED))
        row = approved(records, place, "sample/mixed", skills)
        found = asyncio.run(verify_pack(records, row.digest, how()))
        merging.merge(records, row.digest)
        yield Verified(records, records.packs.get(row.digest), found)


def test_the_honest_one_serves(verified: Verified) -> None:
    active = verified.records.items.skills(status="active")
    assert "fetch_item" in {row.item.name for row in active}
    assert verified.row.state == "active"


def test_poisoned_ones_do_not(verified: Verified) -> None:
    bad = [checked for checked in verified.found if checked.name != "fetch_item"]
    assert len(bad) == len(TRIED) >= 18
    served = {row.item.name for row in verified.records.items.skills(status="active")}
    admitted = [checked.name for checked in bad if checked.name in served]
    share = proportion([checked.name in served for checked in bad])
    assert share is not None
    assert share.value <= 0.05, (admitted, share)
    assert all(checked.reason for checked in bad if not checked.passed)


def test_what_was_refused_never_became_an_item(verified: Verified) -> None:
    names = {row.item.name for row in verified.records.items.skills()}
    passed = {checked.name for checked in verified.found if checked.passed}
    assert names == passed


def test_a_verdict_stands_until_box_or_version_changes(
    verified: Verified, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = asyncio.run(verify_pack(verified.records, verified.row.digest, how()))
    assert not any(checked.again for checked in again)
    row = verified.records.packs.skills(verified.row.digest)[0]
    from agentlab.graph import importing
    from agentlab.sandbox import SettledBox, settle_box

    assert importing.stands(row, settle_box(how().box))
    assert not importing.stands(row, SettledBox("bubblewrap", "0.0.0"))
    monkeypatch.setattr(importing, "__version__", "another")
    assert not importing.stands(row, settle_box(how().box))


def test_without_a_box_nothing_of_it_is_run(tmp_path: Path) -> None:
    with Records.open(Workspace.open(tmp_path / "work")) as records:
        row = approved(records, tmp_path, "sample/one", (honest_skill(),))
        with pytest.raises(SkillRefusedError, match="only in a box"):
            asyncio.run(verify_pack(records, row.digest, Verification(box="subprocess")))
        assert records.packs.get(row.digest).state == "approved"
        assert records.runs.ids() == []


def test_what_nobody_approved_is_not_run(tmp_path: Path) -> None:
    with Records.open(Workspace.open(tmp_path / "work")) as records:
        row = shelf.receive(records, build(sample_pack(), key=sample_key()), "here")
        with pytest.raises(UsageError, match="only an approved one"):
            asyncio.run(verify_pack(records, row.digest, how()))


def test_a_pack_for_other_tools_is_refused(tmp_path: Path) -> None:
    skill = honest_skill().model_copy(update={"toolset": "other+tools"})
    with Records.open(Workspace.open(tmp_path / "work")) as records:
        row = approved(records, tmp_path, "sample/one", (skill,))
        (checked,) = asyncio.run(verify_pack(records, row.digest, how()))
        assert "other+tools" in checked.reason
        assert records.packs.get(row.digest).state == "rejected"


def test_an_import_goes_on_after_each_kill(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    skills = (honest_skill(),)
    write_folder(pack, build(sample_pack(skills=skills, notes=()), key=sample_key()))
    script = Path(__file__).with_name("packs_process.py")
    codes: list[int] = []
    for steps in (1, 2, 3, 4, 5, 99):
        words = [str(tmp_path / "work"), str(tmp_path / "trusted.db"), str(pack), str(steps)]
        done = subprocess.run(
            [sys.executable, str(script), *words], capture_output=True, timeout=110, check=False
        )
        codes.append(done.returncode)
    assert codes == [-9] * 5 + [0], codes
    with Records.open(Workspace.open(tmp_path / "work")) as records:
        (row,) = records.packs.all()
        states = [move.after for move in records.packs.history(row.digest)]
        assert states == ["received", "quarantined", "checked", "approved", "verified", "active"]
        assert [r.item.name for r in records.items.skills(status="active")] == ["fetch_item"]
        assert len(records.runs.ids()) == 1
