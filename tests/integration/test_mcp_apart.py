"""Each caller's environment is at work apart: blocked, broken off or left idle, it is theirs alone.

What blocks does so on an event of the test, in the environment's own thread; nothing is timed.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from agentlab.errors import EnvironmentFaultError
from agentlab.protocols import Environment
from agentlab.records import Records, Workspace
from agentlab.serve.mcp import apart as apart_module
from agentlab.serve.mcp import caller as caller_module
from agentlab.serve.mcp.apart import Apart
from agentlab.serve.mcp.limits import ServeLimits
from tests.integration.mcp_callers import (
    COURIER,
    PATIENCE,
    Block,
    begun,
    break_off,
    caller,
    only_run,
    two_callers,
)
from tests.integration.mcp_episode import told, words
from tests.integration.mcp_library import make_library, slow_skill, walk
from tests.integration.test_mcp_skills import stdio


@pytest.mark.parametrize("method", ["reset", "step"])
def test_an_environment_that_blocks_holds_up_its_own_caller_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    library = make_library(tmp_path, "courier")
    block = Block(monkeypatch, method)

    async def work() -> None:
        async with two_callers(library) as (one, other):
            where, there = await begun(one), await begun(other)
            block.armed = True
            name, given = ("begin", {"seed": 2}) if method == "reset" else ("at", {"place": where})
            held = asyncio.create_task(one.call_tool(name, given))
            await block.reached()
            assert told(await other.call_tool("at", {"place": there}))["worked"]
            assert not (await other.call_tool("begin", {"seed": 3})).is_error
            # What needs no environment is answered to the one whose environment blocks, too.
            assert told(await one.call_tool("search_skills", {"query": "at"}))["skills"]
            assert not held.done()
            block.let_go.set()
            assert not (await held).is_error

    asyncio.run(work())


@contextlib.asynccontextmanager
async def over_pipes(library: Path, *, mode: str) -> AsyncGenerator[Client]:
    async with Client(stdio(library, "--environment", "courier"), mode=mode) as found:
        yield found


def planned(library: Path) -> int:
    """How many calls are on record as begun."""
    with Records.open(Workspace.open(library)) as records:
        return sum(len(records.attempts.planned(run, 0)) for run in records.runs.ids())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("transport", [caller, over_pipes])
def test_a_call_that_the_client_breaks_off_is_told_and_the_next_one_works(
    tmp_path: Path, transport: Any, mode: str
) -> None:
    library = make_library(tmp_path, "courier")
    with Records.open(Workspace.open(library)) as records:
        walk(records, slow_skill())

    async def work() -> None:
        async with transport(library, mode=mode) as found:
            where = await begun(found)
            under_way = asyncio.create_task(found.call_tool("slow", {"place": where}))
            while not await asyncio.to_thread(planned, library):
                assert not under_way.done()
                await asyncio.sleep(0.05)
            await break_off(under_way)
            again = await found.call_tool("at", {"place": where})
            assert again.is_error and "call `begin` first" in words(again)
            where = await begun(found)
            assert told(await found.call_tool("at", {"place": where}))["worked"]

    asyncio.run(work())
    with only_run(library) as (records, run):
        rows = records.attempts.all(run)
        assert [row.success for row in rows] == [None, True]
        outcome = records.trajectories.outcome(rows[0].attempt_id)
        assert outcome.score.explanation == "the client broke it off"


def test_a_call_broken_off_while_its_environment_blocks_is_brought_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library(tmp_path, "courier")
    block = Block(monkeypatch, "step")

    async def work() -> None:
        async with caller(library) as found:
            where = await begun(found)
            block.armed = True
            held = asyncio.create_task(found.call_tool("at", {"place": where}))
            await block.reached()
            await break_off(held)
            # The next call waits for the environment, and finds no episode.
            following = asyncio.create_task(found.call_tool("at", {"place": where}))
            assert (await found.list_tools()).tools
            assert not following.done()
            block.let_go.set()
            assert "call `begin` first" in words(await following)
            assert told(await found.call_tool("at", {"place": await begun(found)}))["worked"]

    asyncio.run(work())


def test_an_episode_that_nobody_uses_is_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library(tmp_path, "courier")
    closed = threading.Event()
    own = COURIER.close

    async def close(environment: Environment) -> None:
        await own(environment)
        closed.set()

    monkeypatch.setattr(COURIER, "close", close)

    async def work() -> None:
        limits = ServeLimits(idle_seconds=0.2)
        async with caller(library, limits=limits) as found:
            where = await begun(found)
            assert await asyncio.to_thread(closed.wait, PATIENCE)
            gone = await found.call_tool("at", {"place": where})
            assert gone.is_error and "call `begin` first" in words(gone)
            await begun(found)

    asyncio.run(work())


def test_an_environment_that_blocks_keeps_no_server_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    library = make_library(tmp_path, "courier")
    block = Block(monkeypatch, "step")
    for module in (apart_module, caller_module):
        monkeypatch.setattr(module, "PATIENCE", 0.1)

    async def work() -> None:
        async with caller(library) as found:
            where = await begun(found)
            block.armed = True
            held = asyncio.create_task(found.call_tool("at", {"place": where}))
            await block.reached()
            held.cancel()
            await asyncio.gather(held, return_exceptions=True)

    asyncio.run(work())
    assert not block.let_go.is_set()
    assert "blocks and was left behind" in caplog.text
    block.let_go.set()
    with only_run(library) as (records, run):
        assert records.runs.get(run).status == "finished"


ENDINGS = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: type(ending).__name__)
@pytest.mark.parametrize("method", ["reset", "step", "close"])
def test_an_environment_that_would_end_the_program_ends_its_episode_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, ending: BaseException
) -> None:
    library = make_library(tmp_path, "courier")
    own = getattr(COURIER, method)
    armed = False

    async def failing(environment: Environment, *given: Any) -> Any:
        if armed:
            raise ending
        return await own(environment, *given)

    monkeypatch.setattr(COURIER, method, failing)
    shown = "sys.exit(3)" if isinstance(ending, SystemExit) else type(ending).__name__

    async def work() -> None:
        nonlocal armed
        async with caller(library) as found:
            where = await begun(found)
            armed = True
            if method == "reset":
                answer = await found.call_tool("begin", {"seed": 2})
                assert answer.is_error and shown in words(answer)
            if method == "step":
                answer = await found.call_tool("at", {"place": where})
                assert answer.is_error and shown in words(answer)
            if method != "close":  # that is left to the end of the server
                armed = False
                answer = await found.call_tool("at", {"place": where})
                assert "call `begin` first" in words(answer)
                where = await begun(found)
            assert told(await found.call_tool("at", {"place": where}))["worked"]

    asyncio.run(work())
    with only_run(library) as (records, run):
        assert records.runs.get(run).status == "finished"
        rows = records.attempts.all(run)
        failed = ["infrastructure_failure"] if method == "step" else []
        assert [row.status for row in rows] == [*failed, "completed"]


@pytest.fixture
def apart() -> Iterator[Apart]:
    made = Apart("for a test")
    yield made
    asyncio.run(made.close())


def test_work_is_asked_to_end_and_has_its_say(apart: Apart) -> None:
    async def long() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "broken off"
        return "done"

    async def work() -> None:
        under_way = apart.start(long)
        under_way.cancel()  # before its first step, maybe
        assert await under_way.result() == "broken off"
        waiting = apart.start(long)
        listener = asyncio.create_task(waiting.result())
        await asyncio.sleep(0)
        await break_off(listener)
        waiting.cancel()
        assert await waiting.result() == "broken off"

    asyncio.run(work())


def test_what_work_raises_is_raised_where_it_is_waited_for(apart: Apart) -> None:
    async def fails() -> None:
        raise ValueError("it is broken")

    async def work() -> None:
        with pytest.raises(ValueError, match="it is broken"):
            await apart.start(fails).result()

    asyncio.run(work())


@pytest.mark.parametrize("in_a_task", [False, True])
def test_work_that_would_end_the_thread_is_a_fault_and_the_thread_goes_on(
    apart: Apart, in_a_task: bool
) -> None:
    async def leaves() -> None:
        sys.exit(3)

    async def starts() -> None:
        await asyncio.create_task(leaves())

    async def goes_on() -> str:
        return "here"

    async def work() -> None:
        with pytest.raises(EnvironmentFaultError, match=r"sys\.exit\(3\)"):
            await apart.start(starts if in_a_task else leaves).result()
        assert await apart.start(goes_on).result() == "here"

    asyncio.run(work())


def test_a_caller_for_whom_there_is_no_room_is_told_and_no_other_is_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library(tmp_path, "courier")

    async def work() -> None:
        async with two_callers(library) as (one, other):
            there = await begun(other)
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

            def few(_: int) -> tuple[int, int]:
                return 20, most

            with monkeypatch.context() as full:
                full.setattr(resource, "getrlimit", few)
                refused = await one.call_tool("begin", {"seed": 1})
                assert refused.is_error and "no room for another environment" in words(refused)
                assert told(await other.call_tool("at", {"place": there}))["worked"]
            assert told(await one.call_tool("at", {"place": await begun(one)}))["worked"]

    asyncio.run(work())


def test_a_thread_that_cannot_be_started_leaves_no_loop_behind(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def here() -> str:
        return "here"

    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def work() -> None:
        with monkeypatch.context() as full:
            full.setattr(threading.Thread, "start", fails)
            with pytest.raises(EnvironmentFaultError, match="can't start new thread"):
                apart.start(here)
        assert not apart.started
        assert await apart.start(here).result() == "here"

    asyncio.run(work())
