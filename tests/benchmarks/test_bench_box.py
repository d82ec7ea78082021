"""What a box costs: until a fresh one answers, and for each tool call.

Run by `make bench`; nothing here passes or fails by time. Targets: dispatch from the pool p50
under 10 ms and p95 under 50 ms, at most 0.3 ms more for a tool call, and a skill of 20 calls of
5 ms each at most 1.5 times the same calls made directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from statistics import median, quantiles
from time import perf_counter
from typing import Any, NamedTuple, cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab.protocols import Perform
from agentlab.sandbox import BoxRuntime, reports
from agentlab.sandbox.choice import BOXES
from agentlab.testing.runtime_conformance import TOOLS, searched_skill
from agentlab.types import Observation, StepResult, ToolCall
from tests.benchmarks.bench_waiting import machine, uncaptured

NAMES = ("subprocess", "bubblewrap", "landlock")
DISPATCHES = 40
PAUSE = 0.25
"""Seconds of an attempt besides dispatch, in which the pool starts the next spare."""
CALLS = 2000
SKILL_CALLS = 20
SKILL_CALL_SECONDS = 0.005
REPEATS = 15


class Line(NamedTuple):
    """Milliseconds, and one ratio."""

    cold: float
    dispatch: list[float]
    added: float
    ratio: float


LINES: dict[str, Line] = {}


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Generator[None]:
    """Prints what was measured."""
    yield
    with uncaptured(request):
        print(f"\nBoxes, {machine()}; dispatch is open, call and answer in a fresh child")
        print(
            f"{'box':>10} {'cold ms':>8} {'n':>4} {'p50 ms':>7} {'p95 ms':>7} "
            f"{'added ms/call':>14} {'20 x 5 ms, ratio':>17}"
        )
        for name, line in LINES.items():
            tail = quantiles(line.dispatch, n=20)[-1]
            print(
                f"{name:>10} {line.cold:>8.1f} {len(line.dispatch):>4} "
                f"{median(line.dispatch):>7.2f} {tail:>7.2f} {line.added:>14.3f} "
                f"{line.ratio:>17.2f}"
            )


async def at_once(call: ToolCall) -> StepResult:
    """A tool that takes no time."""
    return StepResult(observation=Observation(text=call.tool))


async def waits(call: ToolCall) -> StepResult:
    """A tool that takes five milliseconds."""
    await asyncio.sleep(SKILL_CALL_SECONDS)
    return StepResult(observation=Observation(text=call.tool))


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds."""
    start = perf_counter()
    await work()
    return 1000 * (perf_counter() - start)


async def directly(perform: Perform, calls: int) -> None:
    """The same calls without a skill."""
    for _ in range(calls):
        await perform(ToolCall(tool="look"))


def skill(calls: int) -> str:
    """The source of a skill that makes so many calls."""
    return f"def act(env):\n    for _ in range({calls}):\n        env.look()\n"


async def measure(name: str) -> Line:
    """Everything about one box."""
    runtime = BoxRuntime(BOXES[name]())
    tools = TOOLS

    async def dispatch() -> None:
        await runtime.open([searched_skill("act", "def act(env):\n    return 1\n")], tools)
        assert (await runtime.call("act", {}, at_once)).completed

    async def run(perform: Perform) -> None:
        assert (await runtime.call("act", {}, perform)).completed

    try:
        cold = await timed(dispatch)
        dispatches: list[float] = []
        for _ in range(DISPATCHES):
            await asyncio.sleep(PAUSE)
            dispatches.append(await timed(dispatch))
        batch = runtime.limits.tool_calls
        added: list[float] = []
        await runtime.open([searched_skill("act", skill(batch))], tools)
        await run(at_once)
        for _ in range(CALLS // batch * 3):
            boxed = await timed(lambda: run(at_once))
            bare = await timed(lambda: directly(at_once, batch))
            added.append((boxed - bare) / batch)
        await runtime.open([searched_skill("act", skill(SKILL_CALLS))], tools)
        await run(waits)
        ratios: list[float] = []
        for _ in range(REPEATS):
            boxed = await timed(lambda: run(waits))
            ratios.append(boxed / await timed(lambda: directly(waits, SKILL_CALLS)))
    finally:
        await runtime.close()
    return Line(cold, dispatches, median(added), median(ratios))


@pytest.mark.parametrize("name", NAMES)
def test_box(benchmark: BenchmarkFixture, name: str) -> None:
    (report,) = reports((name,))
    if name != "subprocess" and not report.available:
        pytest.skip(f"{name}: {report.reason}")

    def once() -> None:
        LINES[name] = asyncio.run(measure(name))

    cast("Any", benchmark).pedantic(once, rounds=1)
