"""A job as `agentlab train` writes it, given to a check that runs under the trainers' Python.

The job is written and nothing is trained: the check loads the programs that would, and prints what
it finds as one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import agentlab.training.trainers.training as training
from agentlab.training.trainers.request import TrainRequest

PROGRAMS = Path(training.__file__).parent / "programs"


class _NotYetError(Exception):
    """The job is written."""


def _not_yet(*_: object, **__: object) -> None:
    raise _NotYetError


def checked_job(request: TrainRequest, python: Path, check: Path, *more: Path) -> Any:
    """What a check says of the job of a request.

    Args:
        request: what to train; its output's folder is where the job is written beside.
        python: the trainers' own.
        check: a program that takes the job, the programs' folder, and `more`.
        more: files that it takes besides.
    """
    with pytest.MonkeyPatch.context() as patch, pytest.raises(_NotYetError):
        patch.setenv("AGENTLAB_TRAIN_PYTHON", str(python))
        patch.setattr(training, "run_program", _not_yet)
        training.train(request)
    folder = request.out.parent
    job = folder / f"{request.out.name}.training" / "job.json"
    done = subprocess.run(
        [str(python), "-E", "-s", *map(str, (check, job, PROGRAMS, *more))],
        capture_output=True,
        text=True,
        timeout=240,
        env={"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
