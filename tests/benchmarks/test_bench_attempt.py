"""What graph, records and library add to an attempt over a bare loop with the same executor.

Run by `make bench`; nothing here passes or fails by time. One attempt at a time, in the event
loop, with a library of 100 active skills to retrieve from and ten steps to record. The bare
loop calls the executor and keeps nothing. Targets: under 10 ms an attempt, and under 15 % where
the bare attempt takes 100 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab.environments.registration import make_environment
from agentlab.protocols import ExecutionContext
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import AttemptSpec, EnvironmentRef, derive_id
from tests.benchmarks.bench_waiting import Waiting, machine, practise, stock, uncaptured, waiting

SKILLS = 100
REPEATS = 3
"""Bare loop and run take turns so often; the table shows medians."""


class Line(NamedTuple):
    """Milliseconds an attempt."""

    attempts: int
    bare: float
    attempting: float
    """Graph and records."""
    selecting: float
    """Library: retrieval, draws, and committing the plan."""

    @property
    def added(self) -> float:
        return self.attempting + self.selecting - self.bare


LINES: dict[float, Line] = {}


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Generator[None]:
    """Prints what was measured."""
    yield
    with uncaptured(request):
        print(f"\nOne attempt at a time, {SKILLS} skills, {machine()}; ms an attempt")
        print(
            f"{'executor':>9} {'n':>9} {'bare':>8} {'run':>8} {'select':>7} {'added':>7} {'%':>7}"
        )
        for seconds, line in LINES.items():
            name = f"{1000 * seconds:g} ms" if seconds else "instant"
            share = f"{100 * line.added / line.bare:.1f}" if seconds else "-"
            print(
                f"{name:>9} {REPEATS} x {line.attempts:<4} {line.bare:>8.2f} "
                f"{line.attempting:>8.2f} {line.selecting:>8.2f} {line.added:>8.2f} {share:>8}"
            )


def bare_loop(attempts: int) -> float:
    """Seconds for so many attempts without agentlab."""
    ref = EnvironmentRef(name="courier")
    environment, runtime, executor = make_environment(ref), SubprocessRuntime(), Waiting()
    task = cast("Any", environment).tasks("practice", 1, 0)[0]
    spec = AttemptSpec(
        id=derive_id("attempt", 0),
        run_id="bare",
        round=0,
        slot=0,
        task=task,
        group_id="group",
        seed=0,
        environment=ref,
        executor="waiting",
    )

    async def loop() -> float:
        start = perf_counter()
        for _ in range(attempts):
            await executor.execute(ExecutionContext(spec, environment, runtime))
        return perf_counter() - start

    return asyncio.run(loop())


@pytest.mark.parametrize(("seconds", "attempts"), [(0.0, 200), (0.1, 60)])
def test_one_attempt_at_a_time(
    benchmark: BenchmarkFixture, tmp_path: Path, seconds: float, attempts: int
) -> None:
    found: list[Line] = []

    def once() -> None:
        workspace = tmp_path / str(len(found))
        stock(workspace, SKILLS)
        bare = bare_loop(attempts)
        phases = practise(workspace, attempts, concurrency=1, model=model)
        times = (bare, phases.attempting, phases.selecting)
        found.append(Line(attempts, *(1000 * time / attempts for time in times)))

    with waiting(seconds) as model:
        cast("Any", benchmark).pedantic(once, rounds=REPEATS)
    columns = list(zip(*found, strict=True))[1:]
    LINES[seconds] = Line(attempts, *(median(column) for column in columns))
