"""What the DPO trainer minimises is DPO's loss, over the tokens that the model wrote."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import agentlab.training.trainers.training as training
from agentlab.training.trainers.request import Parameters, TrainRequest
from tests.trainers.written_exports import rows_of, write_export

CHECK = Path(__file__).parent / "check_preferences.py"
PROGRAMS = Path(training.__file__).parent / "programs"

pytestmark = pytest.mark.timeout(300)


class _NotYetError(Exception):
    """The job is written."""


def _not_yet(*_: object, **__: object) -> None:
    raise _NotYetError


def test_the_loss_is_that_of_the_formula(
    base: Path, tmp_path: Path, module_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTLAB_TRAIN_PYTHON", str(module_python))
    monkeypatch.setattr(training, "run_program", _not_yet)
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
    with pytest.raises(_NotYetError):
        training.train(request)
    done = subprocess.run(
        [str(module_python), "-E", "-s", str(CHECK), str(tmp_path / "out.training" / "job.json"),
         str(PROGRAMS)],
        capture_output=True,
        text=True,
        timeout=240,
        env={"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert found["example"] == pytest.approx(0.554355, abs=5e-7)
    assert found["trainer"] == pytest.approx(found["by_hand"], abs=1e-5)
    # With what tools said it would be another, and so would it be without a reference: ln 2.
    assert abs(found["unmasked"] - found["by_hand"]) > 1e-3
    assert abs(found["by_hand"] - 0.693147) > 1e-3
