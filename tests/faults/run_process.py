"""A process of its own for the faults of a run: it works on one until it ends or is killed.

Each attempt that the run reports is put on the disk here, unbuffered and synced, before the
run may go on: what this file names was acknowledged. Everything told is printed as well, so
that a test knows where the run stands.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import agentlab
from agentlab.events import AttemptFinished, Event, Progress
from agentlab.records import Records, Workspace
from agentlab.types import JsonObject

ROOT = Path(__file__).parents[2]
ACKNOWLEDGED = "acknowledged"
REBUILT = " is rebuilt: "
"""What a kill does to the index, and all that a run says of it."""
HAS_PROC = Path("/proc/self/stat").exists()


class Acknowledger:
    """Keeps what was told: ids of attempts, and `heldout <n>` for the closing comparison."""

    def __init__(self, workspace: Path) -> None:
        workspace.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._handle = os.open(workspace / ACKNOWLEDGED, flags, 0o644)

    def notify(self, event: Event) -> None:
        if isinstance(event, AttemptFinished):
            self._keep(event.attempt_id)
        elif isinstance(event, Progress) and event.done:
            self._keep(f"heldout {event.done}")
        print(event.kind, flush=True)

    def _keep(self, line: str) -> None:
        os.write(self._handle, f"{line}\n".encode())
        os.fsync(self._handle)


def acknowledged(workspace: Path) -> tuple[list[str], int]:
    """Ids of attempts in the order told, and the most held-out attempts ever told of."""
    path = workspace / ACKNOWLEDGED
    lines = path.read_text().splitlines() if path.exists() else []
    done = [int(line.split()[1]) for line in lines if line.startswith("heldout ")]
    return [line for line in lines if not line.startswith("heldout ")], max(done, default=0)


@dataclass
class Child:
    """The process, what it has told so far, and how it was ended."""

    process: subprocess.Popen[str]
    written: Path
    """What it writes to stderr."""
    told: list[str] = field(default_factory=lambda: [])
    said: threading.Condition = field(default_factory=threading.Condition)
    ended: bool = False

    @classmethod
    def start(cls, workspace: Path, *, run: str | None = None, config: JsonObject) -> Child:
        """Start a run, or go on with one."""
        order: JsonObject = {"workspace": str(workspace), "run": run, "config": config}
        # A file each: workers of a process that was killed may still have something to say.
        number = len(list(workspace.parent.glob(f"{workspace.name}.*.stderr")))
        written = workspace.with_name(f"{workspace.name}.{number}.stderr")
        with written.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", __name__, json.dumps(order)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        child = cls(process, written)
        threading.Thread(target=child._listen, daemon=True).start()
        return child

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self.said:
                    self.told.append(line.strip())
                    self.said.notify_all()
        with self.said:
            self.ended = True
            self.said.notify_all()

    def wait_for(self, kind: str, count: int = 1, *, seconds: float = 100.0) -> bool:
        """Wait until it told of `count` events of a kind; False when it ended before."""

        def there() -> bool:
            return self.ended or self.told.count(kind) >= count

        with self.said:
            assert self.said.wait_for(there, seconds), f"no {kind} within {seconds:g} s"
            return self.told.count(kind) >= count

    def wait_for_any(self, count: int, *, seconds: float = 100.0) -> None:
        """Wait until it told of so many events, or ended."""
        with self.said:
            assert self.said.wait_for(lambda: self.ended or len(self.told) >= count, seconds)

    def finish(self, *, seconds: float = 100.0) -> JsonObject:
        """Wait for its end; the report that it printed last."""
        code = self.process.wait(seconds)
        with self.said:
            self.said.wait_for(lambda: self.ended, 10)
        lines = self.written.read_text().splitlines()
        assert (code, [line for line in lines if REBUILT not in line]) == (0, [])
        report: JsonObject = json.loads(self.told[-1])
        return report

    def kill(self, *, group: bool) -> list[int]:
        """Kill -9, with all of its session or alone; the processes that it had started."""
        started = descendants(self.process.pid)
        if group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        return started


def descendants(pid: int) -> list[int]:
    """Ids of the processes below one, itself left out; none where they cannot be read."""
    parents = {other: parent for other, _, parent in _processes()}
    found = {pid}
    while more := {other for other, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {pid})


def alive(pids: Sequence[int]) -> list[int]:
    """Those of the processes that still run; one that waits to be reaped does not."""
    states = {pid: state for pid, state, _ in _processes()}
    return [pid for pid in pids if states.get(pid, "Z") not in "ZX"]


def all_end(pids: Sequence[int], *, seconds: float) -> list[int]:
    """Wait for the processes to end by themselves; those that did not."""
    end = time.monotonic() + seconds
    while (left := alive(pids)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def _processes() -> Iterator[tuple[int, str, int]]:
    if not HAS_PROC:
        return
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        yield int(path.parent.name), state, int(parent)


def run_id_of(workspace: Path) -> str | None:
    """The only run of a workspace; None when it was killed before that was written."""
    if not (workspace / "records.db").exists():
        return None
    with Records.open(Workspace.open(workspace)) as records:
        rows = records.runs.all()
        assert len(rows) <= 1
        return rows[0].run_id if rows else None


def _main(order: str) -> None:
    what = json.loads(order)
    workspace = Path(what["workspace"])
    observers = [Acknowledger(workspace)]
    if what["run"] is None:
        report = agentlab.practice(workspace=workspace, observers=observers, **what["config"])
    else:
        report = agentlab.resume(what["run"], workspace=workspace, observers=observers)
    print(report.model_dump_json(), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
