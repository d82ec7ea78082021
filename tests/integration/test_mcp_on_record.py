"""Calls are on record whatever becomes of them: broken off meanwhile, or the records fail.

What waits for the records does so on an event of the test; nothing is timed.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError

from agentlab.errors import RecordsError
from agentlab.records import Records, Workspace
from agentlab.serve.mcp.apart import UnderWay
from agentlab.serve.mcp.call_records import CallRecords
from tests.integration.mcp_callers import (
    PATIENCE,
    Hold,
    begun,
    break_off,
    caller,
    only_run,
    two_callers,
)
from tests.integration.mcp_episode import told, words
from tests.integration.mcp_library import make_library


def test_a_caller_that_cannot_be_closed_keeps_nothing_else_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    library = make_library(tmp_path, "courier")
    own = CallRecords.close
    turns = itertools.count()

    def close(calls: CallRecords) -> None:
        if next(turns) == 0:
            raise RecordsError("the disk is full")
        own(calls)

    monkeypatch.setattr(CallRecords, "close", close)

    async def work() -> None:
        async with two_callers(library) as (one, other):
            await begun(one)
            await begun(other)

    asyncio.run(work())
    assert "was not closed: the disk is full" in caplog.text
    with Records.open(Workspace.open(library)) as records:
        status = sorted(records.runs.get(run).status for run in records.runs.ids())
        assert status == ["finished", "running"]


class Held(Hold):
    """The first of some calls for the records waits, as for another process that writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        super().__init__()
        self.told = threading.Event()
        """Set once the server has heard that a call is broken off."""
        own, cancel = getattr(CallRecords, method), UnderWay[Any].cancel

        def waiting(calls: CallRecords, *given: Any) -> Any:
            self.come()
            return own(calls, *given)

        def hears(call: UnderWay[Any]) -> None:
            cancel(call)
            self.told.set()

        monkeypatch.setattr(CallRecords, method, waiting)
        monkeypatch.setattr(UnderWay, "cancel", hears)


async def broken_off(found: Client, held: Held, name: str, given: dict[str, Any]) -> None:
    """Break a call off while it waits for the records."""
    under_way = asyncio.create_task(found.call_tool(name, given))
    await held.reached()
    await break_off(under_way)
    assert await asyncio.to_thread(held.told.wait, PATIENCE)


def test_calls_wait_for_an_episode_that_is_broken_off_while_it_is_put_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library(tmp_path, "courier")
    held = Held(monkeypatch, "begin")

    async def work() -> None:
        async with two_callers(library) as (found, other):
            await broken_off(found, held, "begin", {"seed": 1})
            where = await begun(other)
            following = asyncio.create_task(found.call_tool("at", {"place": where}))
            assert told(await other.call_tool("at", {"place": where}))["worked"]
            assert not following.done()
            held.let_go.set()
            assert told(await following)["worked"]

    asyncio.run(work())


@pytest.mark.parametrize("method", ["plan", "record"])
def test_a_call_broken_off_while_it_is_put_on_record_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    library = make_library(tmp_path, "courier")
    held = Held(monkeypatch, method)

    async def work() -> None:
        async with caller(library) as found:
            where = await begun(found)
            await broken_off(found, held, "at", {"place": where})
            held.let_go.set()
            where = await begun(found)
            assert told(await found.call_tool("at", {"place": where}))["worked"]

    asyncio.run(work())
    with only_run(library) as (records, run):
        rows = records.attempts.all(run)
        assert len(rows) == sum(len(records.attempts.planned(run, number)) for number in (0, 1))
        # What was done before is recorded as it was.
        assert [row.success for row in rows] == [None if method == "plan" else True, True]


def test_an_episode_that_cannot_be_put_on_record_has_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library(tmp_path, "courier")
    own = CallRecords.begin
    turns = itertools.count()

    def begin(calls: CallRecords) -> str:
        if next(turns) == 0:
            raise RecordsError("the disk is full")
        return own(calls)

    monkeypatch.setattr(CallRecords, "begin", begin)

    async def work() -> None:
        async with caller(library) as found:
            with pytest.raises(MCPError, match="the disk is full"):
                await found.call_tool("begin", {"seed": 1})
            answer = await found.call_tool("at", {"place": {"kind": "tower"}})
            assert "call `begin` first" in words(answer)
            assert told(await found.call_tool("at", {"place": await begun(found)}))["worked"]

    asyncio.run(work())
