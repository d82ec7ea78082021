"""kill -9 between the record of an attempt and that of LangGraph: it is not made again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentlab.records import Records, Workspace

ROOT = Path(__file__).parents[2]


def node_process(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, str(Path(__file__).with_name("node_process.py"))),
            *(str(place / "workspace"), str(place / "checkpoints.db"), *words),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.timeout(240)
def test_an_attempt_on_record_is_not_made_again(tmp_path: Path) -> None:
    killed = node_process(tmp_path, "kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = node_process(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.split() == killed.stdout.split() != []
    with Records.open(Workspace.open(tmp_path / "workspace")) as records:
        made = [row for run in records.runs.ids() for row in records.attempts.all(run)]
    assert [row.attempt_id for row in made] == resumed.stdout.split()
