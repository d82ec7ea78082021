"""A gate whose process ends after its verdict, before what it reports besides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentlab.events import Event, Progress
from agentlab.graph.gate_plan import GateRequest
from agentlab.graph.gating import gate
from agentlab.training.promotion.verdict import GateReport
from tests.integration.gated_courier import Bench, config, settings


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as made:
        yield made


@pytest.mark.parametrize("promote", [False, True])
def test_what_is_killed_before_its_heldout_report_reports_it_later(
    bench: Bench, promote: bool
) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    asked = GateRequest("lab", folder, config(), settings(beside=0), promote=promote)

    class Killing:
        task: asyncio.Task[GateReport] | None = None

        def notify(self, event: Event) -> None:
            """Break the gate off at its first held-out attempt."""
            if isinstance(event, Progress) and event.phase == "gate: held out" and self.task:
                self.task.cancel()

    async def cut(killing: Killing) -> None:
        first = replace(asked, promote=False)
        killing.task = asyncio.create_task(gate(bench.records, first, (killing,)))
        await killing.task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut(Killing()))
    (row,) = bench.records.gates.all()
    assert (row.status, row.afterwards) == ("promoted", None)
    again = asyncio.run(gate(bench.records, asked))
    assert again.gate == row.id
    assert [each.candidate.n for each in again.heldout.values()] == [6, 6]
    serves = again.candidate if promote else ""
    assert bench.records.policies.current("lab") == serves
    assert bench.server.served() == ((serves,) if promote else ())
    assert asyncio.run(gate(bench.records, asked)) == again
