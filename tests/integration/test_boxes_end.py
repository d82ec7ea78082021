"""A host that is killed leaves no process, no directory and no file behind, on any box."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentlab.sandbox import reports

ROOT = Path(__file__).parents[2]
AVAILABLE = [report.name for report in reports(("bubblewrap", "landlock")) if report.available]


def started(process: int) -> str | None:
    """When a process began, by which a number used again is told apart; None if it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def below(process: int) -> dict[int, str]:
    """The descendants of a process, and when they began."""
    found: dict[int, str] = {}
    for thread in Path(f"/proc/{process}/task").iterdir():
        for word in (thread / "children").read_text().split():
            began = started(int(word))
            if began is not None:
                found |= {int(word): began, **below(int(word))}
    return found


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("work", ["idle", "answer", "loop", "sleep"])
@pytest.mark.parametrize("box", ["kept", "subprocess", "bubblewrap", "landlock"])
def test_a_killed_host_leaves_nothing(box: str, work: str, tmp_path: Path) -> None:
    if box in ("bubblewrap", "landlock") and box not in AVAILABLE:
        pytest.skip(f"{box} is not available here")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.boxes_host", box, work],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "at work\n"
        children = below(host.pid)
        assert len(children) >= 2  # one for the call, one for checks
        host.send_signal(signal.SIGKILL)
        host.wait()
    assert eventually(lambda: all(started(pid) != began for pid, began in children.items()))
    assert eventually(lambda: not list(tmp_path.glob("agentlab-*")))
