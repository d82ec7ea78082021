"""A process of its own that practises, or goes on, and whose spans end as lines in a file.

Each line is an attempt with the ids of its outermost span. Where it is told to, the process kills
itself once so many attempts were reported, when one of them is known to be exported and while the
spans of others still wait in memory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import agentlab
from agentlab.events import AttemptFinished, Event
from agentlab.records import Records, Workspace
from agentlab.telemetry import tracing

ROOT = Path(__file__).parents[2]
KILLED_AT = 5
CONFIG: dict[str, Any] = {
    "environment": "courier",
    "model": "search",
    "rounds": 2,
    "attempts": 8,
    "proposals": 8,
    "tool_calls": 60,
    "heldout": 0,
    "index": "exact",
    "admission.enabled": False,
    "seed": 3,
}


class ToldAttempt(NamedTuple):
    """One that a collector has."""

    attempt_id: str
    trace_id: str
    span_id: str


class _Lines(SpanExporter):
    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._path.open("a") as stream:
            for span in spans:
                told = span.attributes or {}
                if told.get("agentlab.span") == "attempt" and span.context is not None:
                    ids = f"{span.context.trace_id:032x} {span.context.span_id:016x}"
                    stream.write(f"{told['agentlab.attempt.id']} {ids}\n")
        return SpanExportResult.SUCCESS


class _Killer:
    """Kills this process, which has noted an export or, if it never does, fails the test."""

    def __init__(self, workspace: Path, exported: bool) -> None:
        self._workspace = workspace
        self._exported = exported
        self._told = 0

    def notify(self, event: Event) -> None:
        if not isinstance(event, AttemptFinished):
            return
        self._told += 1
        end = time.monotonic() + 60
        while self._told == 1 and self._exported and time.monotonic() < end:
            if noted(self._workspace):
                break
            time.sleep(0.01)
        if self._told == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)


def noted(workspace: Path) -> set[str]:
    """Attempts of which it is on record that they were exported."""
    return {name for path in workspace.glob("runs/*/told") for name in path.read_text().split()}


def told(spans: Path) -> list[ToldAttempt]:
    """What the collector has, in the order in which it came."""
    return [ToldAttempt(*line.split()) for line in spans.read_text().splitlines()]


def work(workspace: Path, spans: Path, how: str, *, delay: int) -> int:
    """Practise in another process.

    Args:
        workspace: of the run.
        spans: the collector's file.
        how: `killed`, `killed-after-export` or `resumed`.
        delay: milliseconds that a span waits before it is exported.

    Returns:
        Its exit status.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OTEL_BSP_SCHEDULE_DELAY": str(delay)}
    command = [sys.executable, "-W", "error", "-m", __name__, str(workspace), str(spans), how]
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=200, check=False).returncode


def _main(workspace: Path, spans: Path, how: str) -> None:
    with tracing(workspace, exporter=_Lines(spans)) as observer:
        if how == "resumed":
            with Records.open(Workspace.open(workspace)) as records:
                (run_id,) = records.runs.ids()
            agentlab.resume(run_id, workspace=workspace, observers=[observer])
        else:
            killer = _Killer(workspace, how == "killed-after-export")
            agentlab.practice(workspace=workspace, observers=[observer, killer], **CONFIG)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
