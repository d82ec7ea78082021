"""Waiting for skill code holds up nobody else: neither another coroutine nor another attempt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from agentlab.errors import SkillFaultError
from agentlab.sandbox import BoxRuntime, PlainBox, RuntimeLimits
from agentlab.testing.runtime_conformance import TOOLS, Recorder, searched_skill
from agentlab.types import Observation, StepResult, ToolCall

LIMITS = RuntimeLimits(
    seconds=60, cpu_seconds=60, stop_seconds=0.1, tool_calls=20, memory_bytes=128 << 20
)
"""So that nothing here ends because its time is up."""
TURNS = 50
"""Of the event loop that another coroutine wants."""
SLOW = "def act(env):\n    for n in range(3_000_000):\n        n += 1\n    return 1\n"
ENDLESS = "def act(env):\n    while True:\n        pass\n"
QUICK = "def act(env):\n    return 2\n"
CHECK = SLOW.replace("act(env)", "check()")


def run(work: Callable[[BoxRuntime], Awaitable[None]], *, blocking: bool = False) -> None:
    async def main() -> None:
        runtime = BoxRuntime(PlainBox(), LIMITS, blocking=blocking)
        try:
            await work(runtime)
        finally:
            await runtime.close()

    asyncio.run(main())


async def others(said: list[str]) -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
    said.append("another")


@pytest.mark.parametrize("what", ["call", "evaluate"])
def test_another_coroutine_goes_on(what: str) -> None:
    said: list[str] = []

    async def work(runtime: BoxRuntime) -> None:
        await runtime.open([searched_skill("act", SLOW)], TOOLS)

        async def slow() -> None:
            if what == "call":
                assert (await runtime.call("act", {}, Recorder())).completed
            else:
                assert await runtime.evaluate(CHECK, "check", {}) == 1
            said.append("skill code")

        await asyncio.gather(slow(), others(said))

    run(work)
    assert said == ["another", "skill code"]
    said.clear()
    run(work, blocking=True)
    assert said[0] == "skill code"  # who has the loop to itself waits in place


def test_a_stuck_skill_holds_up_no_other_attempt() -> None:
    async def work(stuck: BoxRuntime) -> None:
        quick = BoxRuntime(PlainBox(), LIMITS)
        await stuck.open([searched_skill("act", ENDLESS)], TOOLS)
        await quick.open([searched_skill("act", QUICK)], TOOLS)
        call = asyncio.ensure_future(stuck.call("act", {}, Recorder()))
        await others([])
        try:
            assert (await quick.call("act", {}, Recorder())).value == 2
            assert not call.done()
        finally:
            call.cancel()
            await asyncio.wait((call,))
            await quick.close()

    run(work)


def test_one_call_at_a_time_and_in_order() -> None:
    made: list[int] = []

    async def perform(call: ToolCall) -> StepResult:
        await asyncio.sleep(0)
        made.append(int(str(call.arguments["x"])))
        return StepResult(observation=Observation(text="done"))

    async def work(runtime: BoxRuntime) -> None:
        tool = TOOLS[0].name
        source = f"def act(env):\n    for n in range(9):\n        env.{tool}(x=n)\n    return 1\n"
        skill = searched_skill("act", source).model_copy(update={"tools": (tool,)})
        await runtime.open([skill], TOOLS)
        first = asyncio.ensure_future(runtime.call("act", {}, perform))
        await asyncio.sleep(0)
        with pytest.raises(SkillFaultError, match="already under way"):
            await runtime.call("act", {}, perform)
        with pytest.raises(SkillFaultError, match="already under way"):
            await runtime.evaluate(CHECK, "check", {})
        assert (await first).completed

    run(work)
    assert made == list(range(9))


def test_who_is_cancelled_leaves_no_child_and_no_thread() -> None:
    async def work(runtime: BoxRuntime) -> None:
        await runtime.open([searched_skill("act", ENDLESS)], TOOLS)
        call = asyncio.ensure_future(runtime.call("act", {}, Recorder()))
        await others([])
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await runtime.open([searched_skill("act", QUICK)], TOOLS)
        assert (await runtime.call("act", {}, Recorder())).value == 2

    run(work)
    waiting = [t for t in threading.enumerate() if t.name.startswith("agentlab-box-wait")]
    for thread in waiting:
        thread.join(10)
    assert not [thread for thread in waiting if thread.is_alive()]
