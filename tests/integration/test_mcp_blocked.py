"""An environment that blocks for good is left behind: its call is answered, and all ends in time.

What blocks does so on an event of the test; nothing is timed, but for limits that have to pass.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentlab.errors import EnvironmentFaultError
from agentlab.protocols import Environment
from agentlab.serve.mcp import apart as apart_module
from agentlab.serve.mcp import caller as caller_module
from agentlab.serve.mcp import episode as episode_module
from agentlab.serve.mcp.apart import MOST_LEFT, Apart, StuckError, UnderWay
from agentlab.serve.mcp.limits import ServeLimits
from tests.integration.mcp_callers import (
    COURIER,
    PATIENCE,
    Block,
    begun,
    caller,
    only_run,
    two_callers,
)
from tests.integration.mcp_episode import told, words
from tests.integration.mcp_library import make_library

SHORT = ServeLimits(rate=10_000, burst=10_000, refusals=10_000, call_seconds=1.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (apart_module, caller_module, episode_module):
        monkeypatch.setattr(module, "PATIENCE", 0.5)


@pytest.mark.parametrize("method", ["reset", "step"])
@pytest.mark.usefixtures("impatient")
def test_a_call_whose_environment_blocks_is_answered_and_the_next_has_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    library = make_library(tmp_path, "courier")
    block = Block(monkeypatch, method)
    closed = [threading.Event(), threading.Event()]
    own, turns = COURIER.close, itertools.count()

    async def close(environment: Environment) -> None:
        await own(environment)
        if (turn := next(turns)) < len(closed):  # the service has one of its own
            closed[turn].set()

    monkeypatch.setattr(COURIER, "close", close)

    async def work() -> None:
        async with caller(library, limits=SHORT) as found:
            where = await begun(found)
            block.armed = True
            if method == "reset":
                late = words(await found.call_tool("begin", {"seed": 2}))
            else:
                late = told(await found.call_tool("at", {"place": where}))["reason"]
            assert "did not end within 1 s" in late
            gone = await found.call_tool("at", {"place": where})
            assert gone.is_error and "call `begin` first" in words(gone)
            assert told(await found.call_tool("at", {"place": await begun(found)}))["worked"]
            block.let_go.set()
            # What was left behind is closed where it goes on, and puts nothing on record.
            assert await asyncio.to_thread(closed[0].wait, PATIENCE)
            assert told(await found.call_tool("at", {"place": where}))["worked"]
        assert await asyncio.to_thread(closed[1].wait, PATIENCE)

    asyncio.run(work())
    with only_run(library) as (records, run):
        rows = records.attempts.all(run)
        failed = ["infrastructure_failure"] if method == "step" else []
        assert [row.status for row in rows] == [*failed, "completed", "completed"]
        assert records.runs.get(run).status == "finished"
        if failed:
            assert "did not end within 1 s" in str(rows[0].error)


@pytest.mark.usefixtures("impatient")
def test_an_environment_that_never_closes_keeps_no_call_from_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library(tmp_path, "courier")
    own = COURIER.step
    armed = True

    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    async def step(environment: Environment, *given: Any) -> Any:
        return await (never() if armed else own(environment, *given))

    monkeypatch.setattr(COURIER, "step", step)
    monkeypatch.setattr(COURIER, "close", never)

    async def work() -> None:
        nonlocal armed
        async with caller(library, limits=SHORT) as found:
            late = await found.call_tool("at", {"place": await begun(found)})
            assert told(late)["reason"] == "it did not end within 1 s"
            armed = False
            assert told(await found.call_tool("at", {"place": await begun(found)}))["worked"]

    asyncio.run(work())


def test_callers_are_closed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = make_library(tmp_path, "courier")
    met = threading.Barrier(2)
    own = COURIER.close
    main = threading.current_thread()

    async def close(environment: Environment) -> None:
        if threading.current_thread() is not main:  # the service has one of its own
            met.wait(PATIENCE)
        await own(environment)

    monkeypatch.setattr(COURIER, "close", close)

    async def work() -> None:
        async with two_callers(library) as (one, other):
            await begun(one)
            await begun(other)

    asyncio.run(work())
    assert not met.broken


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_caller_leaves_only_so_many_threads_behind(let_go: threading.Event) -> None:
    async def blocks() -> None:
        let_go.wait(PATIENCE)

    async def work() -> None:
        apart = Apart("for a test")
        left: list[UnderWay[None]] = []
        for _ in range(MOST_LEFT):
            left.append(apart.start(blocks))
            with pytest.raises(StuckError):
                await left[-1].result(0.01)
            apart.leave()
        with pytest.raises(EnvironmentFaultError, match="environments of this caller block"):
            apart.start(blocks)
        let_go.set()
        while True:
            try:
                await apart.start(blocks).result()
                break
            except EnvironmentFaultError:
                await asyncio.sleep(0.01)
        await apart.close()

    asyncio.run(work())


WAITS = """
import asyncio, threading
from agentlab.serve.mcp.apart import Apart

async def waits():
    await asyncio.to_thread(threading.Event().wait)

async def main():
    apart = Apart("for a test")
    under_way = apart.start(waits)
    await asyncio.sleep(0.1)
    under_way.cancel()
    await apart.close()

asyncio.run(main())
"""


def test_an_environment_that_waits_in_threads_keeps_no_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", WAITS], timeout=60, check=False)
    assert done.returncode == 0
