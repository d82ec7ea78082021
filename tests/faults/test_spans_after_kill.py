"""After kill -9 a collector has every attempt that is on record, whatever died unsent."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from agentlab.records import Records, Workspace
from tests.faults.traced_process import noted, told, work

NEVER, SOON = 600_000, 20
"""Milliseconds that a span waits."""


@pytest.mark.parametrize(("how", "delay"), [("killed", NEVER), ("killed-after-export", SOON)])
def test_spans_are_the_records_after_a_kill(tmp_path: Path, how: str, delay: int) -> None:
    workspace, spans = tmp_path / "ws", tmp_path / "spans"
    spans.touch()
    assert work(workspace, spans, how, delay=delay) == -signal.SIGKILL
    before, sure = told(spans), noted(workspace)
    assert bool(before) is bool(sure) is (how == "killed-after-export")
    assert work(workspace, spans, "resumed", delay=NEVER) == 0
    with Records.open(Workspace.open(workspace)) as records:
        (run_id,) = records.runs.ids()
        on_record = {row.attempt_id for row in records.attempts.all(run_id)}
    after = told(spans)
    assert {each.attempt_id for each in after} == on_record == noted(workspace)
    assert len(set(after)) == len(on_record), "what came twice has the ids it had"
    assert len({each.trace_id for each in after}) == 1
    times = Counter(each.attempt_id for each in after)
    assert all(times[attempt] == 1 for attempt in sure), "and what was noted came once"
