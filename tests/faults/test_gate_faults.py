"""Gates whose process is killed, or whose disk fills up: they go on, and promote nothing before."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlab.errors import WorkspaceError
from agentlab.events import Event
from agentlab.graph.gate_plan import GateRequest
from agentlab.graph.gating import gate
from agentlab.records.gates import Look
from tests.integration.gated_courier import Bench, config, settings

CHECKOUT = Path(__file__).parents[2]
SHORT = {"tasks": 24, "window": 4, "beside": 0, "heldout": 0}
WORKER = """
import asyncio, sys
from pathlib import Path
from agentlab.graph.gate_plan import GateRequest
from agentlab.graph.gating import gate
from agentlab.records import Records, Workspace
from tests.integration.gated_courier import config, settings

if __name__ == "__main__":
    with Records.open(Workspace.open(sys.argv[1])) as records:
        short = settings(tasks=24, window=4, beside=0, heldout=0)
        asyncio.run(gate(records, GateRequest("lab", Path(sys.argv[2]), config(), short)))
"""


def request(folder: Path) -> GateRequest:
    """A short gate of a candidate."""
    return GateRequest("lab", folder, config(), settings(**SHORT))


def looks(bench: Bench) -> list[Look]:
    """What the bench's gate has read."""
    rows = bench.records.gates.all()
    return bench.records.gates.looks(rows[0].id) if rows else []


def test_a_gate_that_was_killed_goes_on_and_reads_the_same(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    with Bench(tmp_path / "killed") as bench:
        folder = bench.adapter(greedy=1.0, sampled=1.0)
        words = [sys.executable, str(script), str(bench.records.workspace.path), str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        worker = subprocess.Popen(words, env=environment, start_new_session=True)
        while len(looks(bench)) < 4 and worker.poll() is None:
            time.sleep(0.02)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        kept = looks(bench)
        assert len(kept) >= 4
        assert bench.records.policies.current("lab") == ""
        report = asyncio.run(gate(bench.records, request(folder)))
        assert report.status == "promoted"
        after = looks(bench)
        assert after[: len(kept)] == kept
    with Bench(tmp_path / "whole") as bench:
        whole = asyncio.run(gate(bench.records, request(bench.adapter(greedy=1.0, sampled=1.0))))
        assert looks(bench) == after
        assert (whole.reason, whole.order_sha256) == (report.reason, report.order_sha256)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root and mount(8)")
    command = [mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


class Filling:
    """Leaves no room on a disk after so many attempts."""

    def __init__(self, ballast: Path, *, after: int) -> None:
        self._ballast = ballast
        self._left = after

    def notify(self, event: Event) -> None:
        self._left -= 1
        if self._left == 0:
            with open(self._ballast, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"\0" * 4096)
                except OSError:
                    return


def test_a_gate_on_a_full_disk_promotes_nothing_and_goes_on(
    small_disk: Path, tmp_path: Path
) -> None:
    ballast = small_disk / "ballast"
    with Bench(tmp_path, small_disk / "ws") as bench:
        folder = bench.adapter(greedy=1.0, sampled=1.0)
        with pytest.raises(WorkspaceError, match="is full; free some space"):
            asyncio.run(gate(bench.records, request(folder), (Filling(ballast, after=6),)))
        assert bench.records.policies.current("lab") == ""
        assert bench.records.gates.all()[0].status == "running"
        kept = looks(bench)
        ballast.unlink()
        report = asyncio.run(gate(bench.records, request(folder)))
        assert report.status == "promoted"
        assert looks(bench)[: len(kept)] == kept
        assert bench.records.policies.current("lab") == report.candidate
