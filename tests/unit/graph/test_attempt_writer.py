"""Attempts that finish together are recorded as if each had been alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentlab.errors import RecordsError
from agentlab.graph.recording import AttemptWriter
from tests.unit.records.samples import RUN, a_spec, a_task, an_outcome, finished, opened


def test_many_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        specs = [a_spec(slot, a_task(slot % 8)) for slot in range(40)]

        async def record() -> list[bool]:
            writer = AttemptWriter(records)
            return await asyncio.gather(
                *(writer.record(spec, an_outcome(spec), finished(spec)) for spec in specs)
            )

        assert asyncio.run(record()) == [True] * 40
        assert asyncio.run(record()) == [False] * 40
        assert records.attempts.recorded_ids(RUN, 0) == [spec.id for spec in specs]
        assert [event.slot for event in records.events.all(RUN)] == list(range(40))


def test_it_is_on_record_when_it_returns(tmp_path: Path) -> None:
    with opened(tmp_path) as records, opened(tmp_path) as others:

        async def record() -> None:
            writer = AttemptWriter(records)
            for slot in range(5):
                spec = a_spec(slot, a_task(slot))
                await writer.record(spec, an_outcome(spec))
                assert others.attempts.count(RUN) == slot + 1

        asyncio.run(record())


def test_one_at_fault_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        specs = [a_spec(slot, a_task(slot)) for slot in range(6)]

        async def record() -> list[bool | BaseException]:
            writer = AttemptWriter(records)
            return await asyncio.gather(
                *(
                    # The fourth outcome is another attempt's.
                    writer.record(spec, an_outcome(specs[0] if slot == 3 else spec))
                    for slot, spec in enumerate(specs)
                ),
                return_exceptions=True,
            )

        found = asyncio.run(record())
        assert isinstance(found.pop(3), RecordsError)
        assert found == [True] * 5
        assert records.attempts.count(RUN) == 5


def test_a_cancelled_task_does_not_stop_the_writer(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        specs = [a_spec(slot, a_task(slot)) for slot in range(3)]

        async def record() -> None:
            writer = AttemptWriter(records)
            tasks = [asyncio.create_task(writer.record(spec, an_outcome(spec))) for spec in specs]
            await asyncio.sleep(0)
            tasks[1].cancel()
            assert await tasks[0]
            assert await tasks[2]
            with pytest.raises(asyncio.CancelledError):
                await tasks[1]

        asyncio.run(record())
        assert {specs[0].id, specs[2].id} <= set(records.attempts.recorded_ids(RUN, 0))
