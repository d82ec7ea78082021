"""However an evaluation or a start ends, its run says so: none is left as if it still ran."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentlab.records import Records, RunRow, Workspace
from agentlab.types.report import INTERRUPTED
from tests.faults.run_process import ROOT, all_end, descendants


def command(workspace: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "agentlab", *words, "--workspace", str(workspace)]


def only_run(workspace: Path) -> RunRow:
    with Records.open(Workspace.open(workspace)) as records:
        (row,) = records.runs.all()
    return row


def tried(workspace: Path) -> int:
    """Attempts on record; 0 where there are no records yet."""
    if not (workspace / "records.db").exists():
        return 0
    with Records.open(Workspace.open(workspace)) as records:
        return sum(records.attempts.count(row.run_id) for row in records.runs.all())


@pytest.mark.parametrize("terminal", [True, False], ids=["the terminal's", "to the command alone"])
def test_control_c_in_an_evaluation(tmp_path: Path, terminal: bool) -> None:
    workspace = tmp_path / "ws"
    process = subprocess.Popen(
        command(workspace, "evaluate", "courier", "--tasks=2000", "--index=exact"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while process.poll() is None and tried(workspace) < 2:
            time.sleep(0.05)
        below = descendants(process.pid)
        (os.killpg if terminal else os.kill)(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("Error: Interrupted")
    assert all_end(below, seconds=5) == []
    row = only_run(workspace)
    assert (row.status, row.reason) == ("stopped", INTERRUPTED)
    # What was told as done before is kept.
    assert 2 <= tried(workspace) < 2000


@pytest.fixture
def dead_endpoint() -> str:
    """A loopback address where nothing answers: its port was free a moment ago."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}/v1"


@pytest.mark.parametrize("words", [["practice", "courier"], ["evaluate", "courier"]])
def test_a_library_that_cannot_open_leaves_a_failed_run(
    tmp_path: Path, dead_endpoint: str, words: list[str]
) -> None:
    workspace = tmp_path / "ws"
    done = subprocess.run(
        command(workspace, *words, "--embedder=endpoint:tiny", "--index=exact", "--display=none"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "OPENAI_BASE_URL": dead_endpoint, "OPENAI_API_KEY": "none"},
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    row = only_run(workspace)
    assert row.status == "failed"
    assert row.reason
    assert row.reason in line
    assert tried(workspace) == 0
