"""What the DPO trainer minimises is DPO's loss, over the tokens that the model wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentlab.training.trainers.request import Parameters, TrainRequest
from tests.trainers.checked_jobs import checked_job
from tests.trainers.written_exports import rows_of, write_export

CHECK = Path(__file__).parent / "check_preferences.py"

pytestmark = pytest.mark.timeout(300)


def test_the_loss_is_that_of_the_formula(base: Path, tmp_path: Path, module_python: Path) -> None:
    rows = rows_of("trl-dpo")
    for row in rows:  # or what tools said would be the same on both sides, and cancel out
        row["rejected"][1]["content"] = "the door is shut"
    request = TrainRequest(
        trainer="trl-dpo",
        data=(write_export(tmp_path / "data", "trl-dpo", base, rows),),
        base=base,
        out=tmp_path / "out",
        parameters=Parameters(batch=5),
    )
    found: dict[str, float] = checked_job(request, module_python, CHECK)
    assert found["example"] == pytest.approx(0.554355, abs=5e-7)
    assert found["trainer"] == pytest.approx(found["by_hand"], abs=1e-5)
    # With what tools said it would be another, and so would it be without a reference: ln 2.
    assert abs(found["unmasked"] - found["by_hand"]) > 1e-3
    assert abs(found["by_hand"] - 0.693147) > 1e-3
