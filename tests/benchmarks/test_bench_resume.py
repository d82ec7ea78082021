"""Resuming a run that has 100,000 attempts on record, killed in the midst of a round.

Run by `make bench`; nothing here passes or fails by time. The records are made in bulk: one
round through the record store itself, copied 100 times under new ids, then a last round of which
ten attempts are missing, with LangGraph's checkpoint in between. Half of the attempts are solved.
Target: under 5 s from `resume` to the first new attempt. What the rest of that round and the
beginning of the next take with so long a past is printed beside. `AGENTLAB_BENCH_ROUNDS` (default
100) chooses how many thousand attempts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from pytest_benchmark.fixture import BenchmarkFixture

import agentlab
from agentlab.config import PracticeConfig, load_config
from agentlab.envs.courier.environment import Courier
from agentlab.events import Event, RoundFinished
from agentlab.graph.build import build
from agentlab.graph.practice import Practice, RunState, toolset_name
from agentlab.graph.workers import WorkerPool
from agentlab.library.skills import SkillLibrary
from agentlab.protocols import ExecutionContext
from agentlab.records import Records, Workspace
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    EnvironmentRef,
    Offer,
    Score,
    Task,
    attempt_id,
    derive_id,
)
from tests.benchmarks.bench_growing import grow
from tests.benchmarks.bench_waiting import Waiting, machine, make_skills, stock, uncaptured, waiting

RUN = "long"
COPIES = int(os.environ.get("AGENTLAB_BENCH_ROUNDS", "100"))
PER_ROUND, MISSING, OFFERS = 1000, 10, 4
NODES = ("propose", "select", "curate", "admit", "end")
TOLD: dict[str, float] = {}


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Generator[None]:
    """Prints what was measured."""
    yield
    with uncaptured(request):
        print(f"\nResume with {COPIES * PER_ROUND:,} attempts on record, {machine()}; n=1")
        for what, value in TOLD.items():
            print(f"{value:>9.2f}  {what}")


class Rounds:
    """An observer that notes when rounds ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def notify(self, event: Event) -> None:
        """Take the time."""
        if isinstance(event, RoundFinished):
            self.ended.append(perf_counter())


def make_specs(tasks: Sequence[Task], round_: int) -> list[AttemptSpec]:
    """Attempts with a few offers each."""
    skills = make_skills(OFFERS, toolset_name(Courier().tools))
    return [
        AttemptSpec(
            id=attempt_id(RUN, round_, slot),
            run_id=RUN,
            round=round_,
            slot=slot,
            task=task,
            group_id=derive_id("group", task.id),
            seed=slot,
            environment=EnvironmentRef(name="courier"),
            executor="waiting",
            skills=tuple(skills),
            offers=tuple(
                Offer(item_id=s.id, name=s.name, probability=0.5, withheld=slot % 2 == 0)
                for s in skills
            ),
        )
        for slot, task in enumerate(tasks)
    ]


async def outcomes_of(specs: Sequence[AttemptSpec]) -> list[AttemptOutcome]:
    """What the waiting executor gives, every second one solved."""
    runtime = SubprocessRuntime()
    found: list[AttemptOutcome] = []
    for spec in specs:
        execution = await Waiting().execute(ExecutionContext(spec, Courier(), runtime))
        trajectory = execution.trajectory.model_copy(
            update={"steps": execution.trajectory.steps[:3]}
        )
        success = spec.slot % 2 == 1
        found.append(
            AttemptOutcome(
                attempt_id=spec.id,
                trajectory=trajectory,
                score=Score(value=float(success), success=success),
                usage=execution.usage,
            )
        )
    return found


def make_round(records: Records, round_: int, tasks: Sequence[Task], *, missing: int) -> None:
    """A round as practice leaves it; with some missing, as a kill leaves it."""
    specs = make_specs(tasks, round_)
    outcomes = asyncio.run(outcomes_of(specs))
    with records.transaction() as part:
        part.tasks.add_proposals(RUN, round_, [(t, None) for t in tasks], Courier().split_rule)
        part.attempts.plan(RUN, round_, specs)
        for spec, outcome in list(zip(specs, outcomes, strict=True))[missing:]:
            part.attempts.record(spec, outcome)
        for node in NODES[:2] if missing else NODES:
            part.nodes.finish(RUN, round_, node, {"planned": len(specs)})


def make_run(workspace: Workspace, config: PracticeConfig) -> None:
    """The long run, its directory and its checkpoint."""
    tasks = Courier().tasks("practice", PER_ROUND + 200, 0)
    with Records.open(workspace) as records:
        spelt = config.model_dump(mode="json")
        records.runs.create(RUN, config=spelt, versions={}, seed=config.seed)
        make_round(records, 0, tasks[:PER_ROUND], missing=0)
    grow(workspace.database, COPIES)
    with Records.open(workspace) as records:
        make_round(records, COPIES, tasks[PER_ROUND:], missing=MISSING)
        assert records.attempts.count(RUN) == COPIES * PER_ROUND + 200 - MISSING
        asyncio.run(checkpoint(records, config))


async def checkpoint(records: Records, config: PracticeConfig) -> None:
    """LangGraph's state after `select` of the last round, its attempts sent."""
    pool = WorkerPool(1)
    toolset = toolset_name(Courier().tools)
    directory = records.workspace.run_directory(RUN, create=True)
    where: RunnableConfig = {"configurable": {"thread_id": RUN}}
    with SkillLibrary(records, "courier", toolset=toolset) as library:
        practice = Practice(run_id=RUN, config=config, records=records, pool=pool, library=library)
        async with AsyncSqliteSaver.from_conn_string(str(directory / "checkpoints.db")) as saver:
            graph: Any = build(practice, saver)
            values = RunState(run_id=RUN, round=COPIES, planned=200, finished=False)
            await graph.aupdate_state(where, values, as_node="select")
            assert (await graph.aget_state(where)).next
    pool.close()


def test_resume_of_a_long_run(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    stock(tmp_path, OFFERS)
    rounds = Rounds()
    begun: list[float] = []

    def once() -> float:
        start = perf_counter()
        agentlab.resume(RUN, workspace=tmp_path, observers=(rounds,))
        begun.extend(Waiting.begun)
        return start

    with waiting(0.0) as model:
        config = load_config(
            None,
            environment="courier",
            model=model,
            curator="idle",
            rounds=COPIES + 2,
            proposals=20,
            attempts=20,
            concurrency=1,
            heldout=0,
        )
        begin = perf_counter()
        make_run(workspace, config)
        TOLD["s to make the records"] = perf_counter() - begin
        TOLD["GB of records"] = workspace.database.stat().st_size / 1e9
        Waiting.begun.clear()
        start = cast("Any", benchmark).pedantic(once, rounds=1)
    assert len(begun) >= MISSING + 1
    assert len(rounds.ended) == 2
    TOLD["s from resume to the first new attempt (target: under 5)"] = begun[0] - start
    TOLD["s for the rest of that round: curation, admission, its end"] = (
        rounds.ended[0] - begun[MISSING - 1]
    )
    TOLD["s from there to the first attempt of the next round"] = begun[MISSING] - rounds.ended[0]
