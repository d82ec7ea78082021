"""What is kept of a judge, and when its verdicts count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentlab.errors import RecordsError, WorkspaceError
from agentlab.records import Workspace
from agentlab.records.calibrations import (
    FOLDER,
    KAPPA_FLOOR,
    Calibration,
    Calibrations,
    Figure,
    Figures,
    judge_digest,
    refusal,
)
from agentlab.types import JsonObject

IDENTITY: JsonObject = {"evaluator": "judge", "model": "small", "prompts": ["a1"], "samples": 3}
JUDGE = judge_digest(IDENTITY)


def figures(low: float | None, value: float = 0.9) -> Figures:
    kappa = None if low is None else Figure(value=value, low=low, high=1.0, n=80)
    unknown = Figure(value=0.0, low=0.0, high=0.05, n=80)
    return Figures(
        attempts=80, tasks=70, both=40, judge_only=2, verifier_only=2, neither=36,
        unknown=unknown, kappa=kappa,
    )  # fmt: skip


def calibration(
    low: float | None = 0.7, *, environment: str = "town", heldout: Figures | None = None
) -> Calibration:
    return Calibration(
        judge=JUDGE, evaluator="judge", identity=IDENTITY, environment=environment,
        runs=("run-1",), figures=figures(low), heldout=heldout,
    )  # fmt: skip


@pytest.fixture
def kept(tmp_path: Path) -> Calibrations:
    return Calibrations(Workspace.open(tmp_path / "ws"))


def test_what_is_kept_is_found_again(kept: Calibrations) -> None:
    first = calibration(1 / 3)
    path = kept.keep(first)
    assert path.parent.name == FOLDER
    assert kept.get(JUDGE, "town") == first
    again = calibration(0.8)
    kept.keep(again)
    kept.keep(calibration(environment="../odd\nname"))
    assert kept.get(JUDGE, "town") == again
    assert kept.get(JUDGE, "elsewhere") is None
    assert [each.environment for each in kept.all()] == ["../odd\nname", "town"]
    assert {each.parent for each in path.parent.iterdir()} == {path.parent}
    assert len(list(path.parent.iterdir())) == 2


def test_the_lower_end_decides(kept: Calibrations) -> None:
    assert "never measured" in str(kept.allowed(JUDGE, "town"))
    kept.keep(calibration(KAPPA_FLOOR))
    assert kept.allowed(JUDGE, "town") is None
    assert "below the floor 0.65" in str(kept.allowed(JUDGE, "town", floor=0.65))
    assert "never measured" in str(kept.allowed(JUDGE, "elsewhere"))
    assert "never measured" in str(kept.allowed(judge_digest({**IDENTITY, "samples": 5}), "town"))
    kept.keep(calibration(0.59))
    why = str(kept.allowed(JUDGE, "town"))
    assert "kappa 0.90 (0.59 to 1.00, n=80)" in why
    kept.keep(calibration(None))
    assert "one and the same of every attempt" in str(kept.allowed(JUDGE, "town"))


def test_held_out_figures_never_decide() -> None:
    poor = calibration(0.1, heldout=figures(0.99))
    assert refusal(poor) is not None
    assert refusal(poor.model_copy(update={"figures": None})) is not None
    assert refusal(calibration(0.7, heldout=figures(0.0, 0.1))) is None


@pytest.mark.parametrize(
    "damage", ["", "{}", "\x00", "not json", '{"seal": "x", "calibration": {}}']
)
def test_what_cannot_be_read_allows_nothing(kept: Calibrations, damage: str) -> None:
    path = kept.keep(calibration())
    path.write_text(damage, encoding="utf-8")
    assert "cannot be read" in str(kept.allowed(JUDGE, "town"))
    with pytest.raises(RecordsError, match="remove it and measure the judge again"):
        kept.get(JUDGE, "town")
    with pytest.raises(RecordsError):
        kept.all()


def test_an_edit_is_seen(kept: Calibrations) -> None:
    path = kept.keep(calibration(0.2))
    found = json.loads(path.read_text(encoding="utf-8"))
    found["calibration"]["figures"]["kappa"]["low"] = 0.95
    path.write_text(json.dumps(found), encoding="utf-8")
    assert "something other than agentlab changed it" in str(kept.allowed(JUDGE, "town"))


def test_one_judges_file_is_not_anothers(kept: Calibrations) -> None:
    good = kept.keep(calibration(0.9))
    poor = kept.keep(calibration(0.1, environment="elsewhere"))
    poor.write_bytes(good.read_bytes())
    assert "another judge's" in str(kept.allowed(JUDGE, "elsewhere"))


def test_no_link_is_followed(kept: Calibrations, tmp_path: Path) -> None:
    path = kept.keep(calibration())
    outside = tmp_path / "outside.json"
    path.rename(outside)
    path.symlink_to(outside)
    assert "is a link" in str(kept.allowed(JUDGE, "town"))
    path.unlink()
    path.parent.rmdir()
    (tmp_path / "there").mkdir()
    path.parent.symlink_to(tmp_path / "there")
    with pytest.raises(WorkspaceError, match="link"):
        kept.keep(calibration())
    assert list((tmp_path / "there").iterdir()) == []


def test_a_judge_is_its_settings() -> None:
    assert judge_digest(dict(reversed(IDENTITY.items()))) == JUDGE
    assert judge_digest({**IDENTITY, "prompts": ["a2"]}) != JUDGE
    assert JUDGE.startswith("judge-")
