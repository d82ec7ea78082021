"""Attempts side by side: against the ideal, against bare LangGraph, against bare processes.

Run by `make bench`; nothing here passes or fails by time. An executor that only waits shows what
the event loop is kept from: 3 s, as a model takes (target: 90 % of ideal at 64), and 50 ms, where
the comparison is LangGraph itself with `Send` and the same checkpointer, in the same process just
before (target: at least 0.8 of it). BabyAI search shows what the worker pool costs over two
processes that take tasks from one counter and keep nothing (target: at least 0.85).

`AGENTLAB_BENCH_SECONDS` (default `3,0.05`) chooses the waits.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Generator, Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypedDict, cast

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab.config import RetrievalConfig
from agentlab.environments.registration import make_environment
from agentlab.graph import jobs
from agentlab.graph.evaluation import Arm, Bench, evaluate_arms, evaluation_tasks
from agentlab.graph.workers import WorkerPool
from agentlab.protocols import ExecutionContext
from agentlab.records import Records, Workspace
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import AttemptSpec, EnvironmentRef, Limits, Task, attempt_id, derive_id
from tests.benchmarks.bench_waiting import Waiting, machine, practise, uncaptured, waiting

WAITS = [float(part) for part in os.environ.get("AGENTLAB_BENCH_SECONDS", "3,0.05").split(",")]
WIDTHS = (1, 8, 64)
SEARCH_TASKS, SEARCH_CALLS, PROCESSES = 48, 1000, 2


class Line(NamedTuple):
    """Attempts a second."""

    what: str
    attempts: int
    ideal: float | None
    bare: float | None
    run: float


LINES: list[Line] = []


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Generator[None]:
    """Prints what was measured."""
    yield
    with uncaptured(request):
        print(f"\nAttempts a second, {machine()}")
        print(
            f"{'':<22} {'n':>5} {'ideal':>8} {'bare':>8} {'run':>8} {'of ideal':>9} {'of bare':>8}"
        )
        for what, attempts, ideal, bare, run in LINES:
            shares = [f"{run / other:.2f}" if other else "-" for other in (ideal, bare)]
            others = [f"{other:.2f}" if other else "-" for other in (ideal, bare)]
            print(
                f"{what:<22} {attempts:>5} {others[0]:>8} {others[1]:>8} {run:>8.2f} "
                f"{shares[0]:>8} {shares[1]:>8}"
            )


class BareState(TypedDict, total=False):
    """The state of the bare graph, and what it sends."""

    attempt_id: str


def bare_langgraph(directory: Path, attempts: int, concurrency: int) -> float:
    """Seconds for so many attempts in a graph that keeps no records, to the next node."""
    ref = EnvironmentRef(name="courier")
    environment, runtime, executor = make_environment(ref), SubprocessRuntime(), Waiting()
    task = cast("Any", environment).tasks("practice", 1, 0)[0]
    specs = {spec.id: spec for spec in make_specs([task] * attempts, ref, "waiting", tool_calls=1)}
    times: list[float] = []

    async def plan(state: BareState) -> BareState:
        return {}

    async def attempt(state: BareState) -> BareState:
        spec = specs[state.get("attempt_id", "")]
        await executor.execute(ExecutionContext(spec, environment, runtime))
        return {}

    async def gather(state: BareState) -> BareState:
        times.append(perf_counter())
        return {}

    def fan_out(state: BareState) -> list[Send]:
        times.append(perf_counter())
        return [Send("attempt", BareState(attempt_id=key)) for key in specs]

    async def run() -> None:
        graph: Any = StateGraph(BareState)
        graph.add_node("plan", plan)
        graph.add_node("attempt", attempt)
        graph.add_edge(START, "plan")
        graph.add_conditional_edges("plan", fan_out, ["attempt"])
        graph.add_node("gather", gather)
        graph.add_edge("attempt", "gather")
        graph.add_edge("gather", END)
        where: RunnableConfig = {
            "configurable": {"thread_id": "bare"},
            "max_concurrency": concurrency,
        }
        async with AsyncSqliteSaver.from_conn_string(str(directory / "bare.db")) as saver:
            await graph.compile(checkpointer=saver).ainvoke({}, where, durability="sync")

    asyncio.run(run())
    return times[1] - times[0]


@pytest.mark.parametrize("concurrency", WIDTHS)
@pytest.mark.parametrize("seconds", WAITS)
def test_executor_that_waits(
    benchmark: BenchmarkFixture, tmp_path: Path, seconds: float, concurrency: int
) -> None:
    attempts = concurrency * (2 if seconds >= 1 else max(5, 40 // concurrency))
    times: list[tuple[float, float]] = []

    def once() -> None:
        directory = tmp_path / str(len(times))
        directory.mkdir()
        bare = bare_langgraph(directory, attempts, concurrency)
        phases = practise(directory / "run", attempts, concurrency=concurrency, model=model)
        times.append((bare, phases.attempting))

    with waiting(seconds) as model:
        cast("Any", benchmark).pedantic(once, rounds=1 if seconds >= 1 else 3)
    bare, run = (sum(column) for column in zip(*times, strict=True))
    total = attempts * len(times)
    what = f"{seconds:g} s, {concurrency} at a time"
    LINES.append(Line(what, total, concurrency / seconds, total / bare, total / run))


def make_specs(
    tasks: Sequence[Task], ref: EnvironmentRef, executor: str, *, tool_calls: int
) -> list[AttemptSpec]:
    """One attempt at each task, without a library."""
    return [
        AttemptSpec(
            id=attempt_id("bare", 0, slot),
            run_id="bare",
            round=0,
            slot=slot,
            kind="evaluation",
            task=task,
            group_id=derive_id("group", task.id),
            seed=0,
            environment=ref,
            executor=executor,
            limits=Limits(tool_calls=tool_calls),
        )
        for slot, task in enumerate(tasks)
    ]


def bare_process(
    specs: Sequence[AttemptSpec],
    warm_up: Sequence[AttemptSpec],
    counter: Any,
    ready: Barrier,
    done: Queue[float],
) -> None:
    """Attempt what the counter gives out, and say when there was no more."""
    for spec in warm_up:
        jobs.attempt(spec, "verifier")
    ready.wait()
    while True:
        with counter.get_lock():
            place: int = counter.value
            counter.value = place + 1
        if place >= len(specs):
            break
        jobs.attempt(specs[place], "verifier")
    done.put(perf_counter())


def bare_processes(specs: Sequence[AttemptSpec], warm_up: Sequence[AttemptSpec]) -> float:
    """Seconds for the attempts in two processes."""
    context = multiprocessing.get_context("spawn")
    counter, ready = context.Value("i", 0), context.Barrier(PROCESSES + 1)
    done: Queue[float] = context.Queue()
    workers = [
        context.Process(target=bare_process, args=(specs, warm_up, counter, ready, done))
        for _ in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    start = perf_counter()
    end = max(done.get() for _ in workers)
    for worker in workers:
        worker.join()
    return end - start


def pooled(workspace: Path, tasks: Sequence[Task], warm_up: Sequence[Task]) -> float:
    """Seconds for the attempts in the worker pool, each on record."""

    async def run(records: Records) -> float:
        pool = WorkerPool(PROCESSES)
        try:
            for run_id, part in (("warm", warm_up), ("run", tasks)):
                records.runs.create(run_id, config={}, versions={}, seed=0)
                bench = Bench(run_id, 0, records, pool, BABYAI, "verifier", RetrievalConfig())
                start = perf_counter()
                await evaluate_arms(bench, [Arm("run", "search")], part, tool_calls=SEARCH_CALLS)
            return perf_counter() - start
        finally:
            pool.close()

    with Records.open(Workspace.open(workspace)) as records:
        return asyncio.run(run(records))


BABYAI = EnvironmentRef(name="babyai")


def test_babyai_search_on_two_cores(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    pytest.importorskip("minigrid")
    world = make_environment(BABYAI)
    tasks = evaluation_tasks(world, "heldout", SEARCH_TASKS, 0)
    warm_up = evaluation_tasks(world, "dev", 2 * PROCESSES, 0)
    times: list[tuple[float, float]] = []

    def once() -> None:
        specs, first = (
            make_specs(part, BABYAI, "search", tool_calls=SEARCH_CALLS) for part in (tasks, warm_up)
        )
        bare = bare_processes(specs, first)
        times.append((bare, pooled(tmp_path / str(len(times)), tasks, warm_up)))

    cast("Any", benchmark).pedantic(once, rounds=2)
    bare, run = (sum(column) for column in zip(*times, strict=True))
    attempts = SEARCH_TASKS * len(times)
    LINES.append(Line("BabyAI, 2 processes", attempts, None, attempts / bare, attempts / run))
