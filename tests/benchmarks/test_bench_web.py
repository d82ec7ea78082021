"""What an episode through the browser environment costs over a bare Playwright script.

Run by `make bench ARGS="-k bench_web"`; nothing here passes or fails by time. All sides play the
same tasks by the same clicks, in turn, in this process, each with a browser of its own that stays
open, against one server; see `bench_clicking` for what the bare script does and does not. It is
played twice: in the same program as Playwright starts it, which is what a script would have, and
started as the environment starts it, which spares what of Chromium nobody sees. Target: at most
1.3 times its time, and beside it the time of the processors, which a busy machine distorts less;
all sides include the server. Then the memory of the browser with as many contexts open on the
shop's catalogue.

`AGENTLAB_BENCH_TURNS` (default 3) says how often each side plays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, cast

import pytest
from playwright.async_api import async_playwright
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab.environments.registration import make_environment
from agentlab.environments.web import chromium
from agentlab.environments.web.browser import end_now
from agentlab.environments.web.environment import PageEnvironment
from agentlab.environments.web.options import MOST_MEGABYTES
from agentlab.types import EnvironmentRef, Task, ToolCall
from tests.benchmarks.bench_clicking import Episodes, Shopping, SigningIn, by_environment
from tests.benchmarks.bench_processes import below, processor_seconds, taken
from tests.benchmarks.bench_waiting import machine, uncaptured

WIDTHS = (1, 4, 8)
TASKS = 8
TURNS = int(os.environ.get("AGENTLAB_BENCH_TURNS", "3"))
LINES: list[str] = []
Play = Callable[[Task], Awaitable[None]]


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Generator[None]:
    """Prints what was measured."""
    yield
    with uncaptured(request):
        print(f"\nEpisodes in a browser, {machine()}; {TURNS} turns, medians (least to most)")
        print("\n".join(LINES))


class Spread(NamedTuple):
    """Several measurements of one thing."""

    least: float
    middle: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of these."""
        return cls(min(values), median(values), max(values))

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.least:.2f} to {self.most:.2f})"


class Cost(NamedTuple):
    """Of all episodes of a turn, in seconds."""

    wall: float
    processors: float
    """Of this process, the server in it, playwright's driver and the browser."""


async def played(width: int, tasks: Sequence[Task], play: Play) -> Cost:
    """What it costs to play all tasks, so many at once."""
    waiting = list(tasks)

    async def one_after_another() -> None:
        while waiting:
            await play(waiting.pop())

    before = processor_seconds(below(os.getpid()) | {os.getpid()})
    began = perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(width)))
    wall = perf_counter() - began
    await asyncio.sleep(0.3)  # processes of closed pages are counted when they are buried
    return Cost(wall, processor_seconds(below(os.getpid()) | {os.getpid()}) - before)


def environment_of(episodes: Episodes) -> PageEnvironment:
    """A new one."""
    made = make_environment(EnvironmentRef(name=episodes.environment))
    assert isinstance(made, PageEnvironment)
    return made


@pytest.mark.parametrize("kind", [Shopping, SigningIn])
def test_episodes(
    benchmark: BenchmarkFixture, tmp_path: Path, kind: type[Shopping] | type[SigningIn]
) -> None:
    episodes = kind(TASKS)
    clicks = sum(len(episodes.calls(task)) for task in episodes.tasks)

    async def ours(task: Task) -> None:
        await by_environment(environment_of(episodes), task, episodes.calls(task))

    async def work() -> None:
        async with async_playwright() as playwright:
            program = chromium.chromium()
            launcher = chromium.write_launcher(tmp_path, program, MOST_MEGABYTES)
            plain = await playwright.chromium.launch(executable_path=program)
            lean = await playwright.chromium.launch(
                executable_path=launcher, args=chromium.arguments()
            )
            for width in WIDTHS:
                await compared(width, [partial(episodes.by_script, each) for each in (plain, lean)])
            await plain.close()
            await lean.close()

    async def compared(width: int, scripts: Sequence[Play]) -> None:
        sides = [*scripts, ours]
        for play in sides:
            await played(width, episodes.tasks[:width], play)
        turns = [
            [await played(width, episodes.tasks, play) for play in sides] for _ in range(TURNS)
        ]
        rates = [Spread.of([TASKS / turn[side].wall for turn in turns]) for side in range(3)]
        LINES.append(
            f"{episodes.environment}, {width} at once ({TURNS} x {TASKS} episodes, {clicks} clicks "
            f"a turn), episodes a second: bare {rates[0]}, bare as started here {rates[1]}, "
            f"environment {rates[2]}"
        )
        for side, name in enumerate(("bare", "bare as started here")):
            LINES.append(
                f"  environment / {name}: "
                f"{Spread.of([turn[2].wall / turn[side].wall for turn in turns])} of its time, "
                f"{Spread.of([turn[2].processors / turn[side].processors for turn in turns])} of "
                "its processors'"
            )

    cast("Any", benchmark).pedantic(lambda: asyncio.run(work()), rounds=1)


def test_memory(benchmark: BenchmarkFixture) -> None:
    episodes = Shopping(1)
    (task,) = episodes.tasks
    found: dict[int, float] = {}

    async def work() -> None:
        opened: list[PageEnvironment] = []
        try:
            for width in range(1, max(WIDTHS) + 1):
                opened.append(environment_of(episodes))
                await opened[-1].reset(task, task.seed)
                await opened[-1].step(ToolCall(tool="goto", arguments={"url": "/products"}))
                if width in WIDTHS:
                    await asyncio.sleep(1)
                    found[width] = taken(below(os.getpid())).megabytes
        finally:
            for environment in opened:
                await environment.close()

    end_now()
    cast("Any", benchmark).pedantic(lambda: asyncio.run(work()), rounds=1)
    low, high = min(WIDTHS), max(WIDTHS)
    more = (found[high] - found[low]) / (high - low)
    shown = ", ".join(f"{value:.0f} MB with {width}" for width, value in found.items())
    LINES.append(
        f"memory (PSS) of browser and driver by open contexts: {shown}; {more:.1f} MB for each "
        "further one (n = 1)"
    )
