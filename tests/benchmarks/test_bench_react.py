"""What the `react` executor costs: per step over the bare client, and with many attempts at once.

Run by `make bench`; nothing here passes or fails by time. All sides ask one server, a process of
its own that answers by a rule, and take turns, so that a busy machine is as busy for each. Targets:
under 2 ms a step over the bare `openai` client (median), less a step than LangGraph's prebuilt
agent, at 64 attempts of 50 ms a call at least 0.8 of what the bare client reaches, and at 3 s a
call 90 % of the ideal.

`AGENTLAB_BENCH_SECONDS` (default `3,0.05`) chooses the waits.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Generator
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, cast

import openai
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab.models.opening import Endpoints, open_model
from agentlab.protocols import ChatModel
from agentlab.testing.model_server import server_process
from tests.benchmarks.bench_counting import MODEL, RULE, Prebuilt, by_client, by_react
from tests.benchmarks.bench_waiting import machine, uncaptured

WAITS = [float(part) for part in os.environ.get("AGENTLAB_BENCH_SECONDS", "3,0.05").split(",")]
STEPS, TURNS = 20, 15
WIDTH = 64
TABLES: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Generator[None]:
    """Prints what was measured."""
    yield
    with uncaptured(request):
        print(f"\nThe react executor, {machine()}")
        print("\n".join(TABLES))


class Sides(NamedTuple):
    """Who is measured."""

    client: openai.AsyncOpenAI
    model: ChatModel
    """With all that stands around it in a run: limits, retries, circuit."""


def with_sides(url: str, body: Callable[[Sides], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        endpoints = Endpoints(at_once=WIDTH)
        model = open_model(f"openai:{MODEL}", base_url=url, key="none", endpoints=endpoints)
        try:
            async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
                await body(Sides(client, model))
        finally:
            await endpoints.close()

    asyncio.run(run())


def test_a_step(benchmark: BenchmarkFixture) -> None:
    taken: dict[str, list[float]] = {"bare client": [], "react": [], "prebuilt agent": []}

    async def body(sides: Sides) -> None:
        prebuilt = Prebuilt(sides.client)
        await by_client(sides.client, 3)
        await by_react(sides.model, 3)
        await prebuilt.run(3)
        for turn in range(TURNS):
            taken["bare client"].append(await by_client(sides.client, STEPS))
            taken["react"].append(await by_react(sides.model, STEPS, slot=turn))
            taken["prebuilt agent"].append(await prebuilt.run(STEPS))

    def once() -> None:
        with server_process(RULE) as server:
            with_sides(server.base_url, body)

    cast("Any", benchmark).pedantic(once, rounds=1)
    requests = STEPS + 1
    per_step = {name: 1000 * median(times) / requests for name, times in taken.items()}
    bare = per_step["bare client"]
    added = {name: value - bare for name, value in per_step.items()}
    for name, value in per_step.items():
        TABLES.append(
            f"{name:<16} {value:7.2f} ms a step, {added[name]:+.2f} over the bare client "
            f"(median of {TURNS} attempts of {STEPS} steps)"
        )
    ratio = per_step["react"] / per_step["prebuilt agent"]
    TABLES.append(f"react / prebuilt agent: {ratio:.2f} of its time a step")


@pytest.mark.parametrize("seconds", WAITS)
def test_many_attempts(benchmark: BenchmarkFixture, seconds: float) -> None:
    steps = 2 if seconds >= 1 else 10
    turns = 1 if seconds >= 1 else 3
    bare: list[float] = []
    react: list[float] = []

    async def body(sides: Sides) -> None:
        for _ in range(turns):
            began = perf_counter()
            await asyncio.gather(*(by_client(sides.client, steps) for _ in range(WIDTH)))
            between = perf_counter()
            await asyncio.gather(*(by_react(sides.model, steps, slot=n) for n in range(WIDTH)))
            bare.append(between - began)
            react.append(perf_counter() - between)

    def once() -> None:
        with server_process(RULE, latency=seconds) as server:
            with_sides(server.base_url, body)

    cast("Any", benchmark).pedantic(once, rounds=1)
    ideal = (steps + 1) * seconds
    TABLES.append(
        f"{WIDTH} attempts of {steps} steps at {seconds:g} s a call: ideal {ideal:.2f} s, bare "
        f"client {median(bare):.2f} s, react {median(react):.2f} s: "
        f"{ideal / median(react):.2f} of ideal, {median(bare) / median(react):.2f} of bare"
    )
