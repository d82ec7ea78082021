"""What `Agent.run` adds to a call with 10,000 items in the library, and whether anything is left.

Run by `make bench`; nothing here passes or fails by time. The bare executor and the agent take
turns with the same executor, which does nothing, so that all that differs is agentlab: retrieval,
draws, the plan and the record on the disk. Targets: under 5 ms at the median, 64 attempts at a
time, and no growth over `AGENTLAB_BENCH_AGENT_RUNS` runs (10,000 unless told otherwise).

Whether anything leaks is said by Python's blocks, which must not grow. Resident memory rises by
some MiB all the same: the C library keeps what each of its arenas once held, eight a core, for
the threads that write. It stays level with `MALLOC_ARENA_MAX=1`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any, NamedTuple, cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab import Agent
from agentlab.environments.registration import make_environment
from agentlab.graph import jobs
from agentlab.records import Records, Workspace
from agentlab.sandbox import open_settled
from agentlab.types import AttemptSpec, EnvironmentRef, Task, derive_id
from tests.benchmarks.bench_waiting import machine, stock, uncaptured, waiting

ITEMS = 10_000
CALLS = 200
"""Of each side, in turns."""
AT_ONCE = 64
WAIT = 3.0
"""Seconds of an attempt, where many are under way at a time."""
RUNS = int(os.environ.get("AGENTLAB_BENCH_AGENT_RUNS", "10000"))
BLOCKS = 1.02
"""Of those held after warming up: what may be held at the end."""
MARKS = 4
"""Points at which what is held is looked at, the first of them after warming up."""


class Held(NamedTuple):
    """What a process holds."""

    runs: int
    memory: int
    """Resident, in KiB."""
    blocks: int
    """That Python holds."""
    handles: int
    threads: int
    tasks: int


LINES: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Generator[None]:
    """Prints what was measured."""
    yield
    with uncaptured(request):
        print(f"\nAgent, {ITEMS} items in the library, {machine()}")
        for line in LINES:
            print(f"  {line}")


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with so many active skills."""
    place = tmp_path_factory.mktemp("agent") / "workspace"
    stock(place, ITEMS)
    return place


def bare(task: Task) -> float:
    """Seconds of executor and score, with an environment and a runtime of their own."""
    ref = EnvironmentRef(name="courier")
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

    async def once() -> float:
        began = perf_counter()
        environment, runtime = make_environment(ref), open_settled("subprocess")
        try:
            await jobs.run_attempt(spec, "verifier", environment, runtime)
        finally:
            await runtime.close()
            await environment.close()
        return perf_counter() - began

    return asyncio.run(once())


def told(name: str, seconds: Sequence[float]) -> str:
    tenths = quantiles(seconds, n=20)
    low, high = tenths[1], tenths[-1]
    return (
        f"{name:<36} p10 {1000 * low:6.2f}   p50 {1000 * median(seconds):6.2f}   "
        f"p95 {1000 * high:6.2f} ms"
    )


def test_what_a_call_costs(benchmark: BenchmarkFixture, stocked: Path) -> None:
    alone: list[float] = []
    whole: list[float] = []
    cpu: list[float] = []

    def turns() -> None:
        with waiting(0.0) as model, Agent("courier", model=model, library=stocked) as agent:
            tasks = agent.tasks(CALLS, seed=1)
            for task in tasks[:5]:
                agent.run(task)
            for task in tasks:
                alone.append(bare(task))
                began, spent = perf_counter(), process_time()
                agent.run(task)
                whole.append(perf_counter() - began)
                cpu.append(process_time() - spent)

    cast("Any", benchmark).pedantic(turns, rounds=1)
    added = [with_it - without for with_it, without in zip(whole, alone, strict=True)]
    LINES.extend([told("bare", alone), told("agent", whole)])
    LINES.append(told("processor time of a call", cpu))
    LINES.append(told(f"added, n={len(added)} pairs (aim: p50 < 5 ms)", added))


def test_many_at_a_time(benchmark: BenchmarkFixture, stocked: Path) -> None:
    found: list[float] = []

    def at_once() -> None:
        with waiting(WAIT) as model, Agent("courier", model=model, library=stocked) as agent:
            tasks = agent.tasks(AT_ONCE, seed=2)

            async def work() -> float:
                began = perf_counter()
                done = await asyncio.gather(*(agent.arun(task) for task in tasks))
                assert len({result.attempt_id for result in done}) == AT_ONCE
                return perf_counter() - began

            found.extend(asyncio.run(work()) for _ in range(2))

    cast("Any", benchmark).pedantic(at_once, rounds=1)
    took = median(found)
    LINES.append(
        f"{AT_ONCE} at a time that wait {WAIT:.0f} s: {took:.2f} s, "
        f"{WAIT / took:.2f} of ideal (n={len(found)})"
    )


def held(runs: int) -> Held:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return Held(
        runs=runs,
        memory=pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        blocks=sys.getallocatedblocks(),
        handles=len(os.listdir("/proc/self/fd")),
        threads=threading.active_count(),
        # By type: asked for its class, a lazy module (openai's are such) loads all that it holds.
        tasks=sum(issubclass(type(each), asyncio.Task) for each in gc.get_objects()),
    )


def test_nothing_is_left_behind(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    marks: list[Held] = []
    stock(tmp_path, 100)

    def runs() -> None:
        with waiting(0.0) as model, Agent("courier", model=model, library=tmp_path) as agent:
            tasks = agent.tasks(50, seed=3)
            part = max(1, RUNS // MARKS)

            async def work(first: int) -> None:
                for start in range(first, first + part, AT_ONCE):
                    many = range(start, min(start + AT_ONCE, first + part))
                    await asyncio.gather(*(agent.arun(tasks[n % len(tasks)]) for n in many))

            for number in range(MARKS):
                asyncio.run(work(number * part))
                agent.run(tasks[0])
                marks.append(held((number + 1) * part))

    cast("Any", benchmark).pedantic(runs, rounds=1)
    with Records.open(Workspace.open(tmp_path)) as records:
        (run,) = records.runs.all()
        assert records.attempts.count(run.run_id) == MARKS * (max(1, RUNS // MARKS) + 1)
    for mark in marks:
        LINES.append(
            f"after {mark.runs:>6} runs: {mark.memory / 1024:7.1f} MiB, {mark.blocks:,} blocks, "
            f"{mark.handles} handles, {mark.threads} threads, {mark.tasks} tasks"
        )
    first, last = marks[0], marks[-1]
    for name in ("handles", "threads", "tasks"):
        assert getattr(last, name) <= getattr(first, name) + 2, name
    assert last.blocks <= first.blocks * BLOCKS
