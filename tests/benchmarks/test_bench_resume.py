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
import sqlite3
from collections.abc import Generator, Sequence
from hashlib import sha256
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
from tests.benchmarks.bench_waiting import Waiting, machine, make_skills, stock, uncaptured, waiting

RUN = "long"
COPIES = int(os.environ.get("AGENTLAB_BENCH_ROUNDS", "100"))
PER_ROUND, MISSING, OFFERS = 1000, 10, 4
NODES = ("propose", "select", "curate", "admit", "end")
# As each round was made but for its ids, which get the round's number behind them. Only the last
# round's plans are ever read in full.
COPY = (
    "CREATE TEMP TABLE copied AS SELECT d.digest AS was, sha256(replace(d.body, t.id,"
    " t.id || '-' || :r)) AS digest, replace(d.body, t.id, t.id || '-' || :r) AS body"
    " FROM documents d JOIN tasks t ON t.document = d.digest WHERE t.round = 0",
    "CREATE INDEX temp.copied_was ON copied (was)",
    "INSERT INTO documents SELECT digest, body FROM copied",
    "INSERT INTO tasks SELECT run_id, id || '-' || :r, environment, template, split, source,"
    " admitted, :r, position, c.digest FROM tasks JOIN copied c ON c.was = document"
    " WHERE round = 0",
    "INSERT INTO proposals SELECT run_id, :r, position, task_id || '-' || :r, admitted, reason,"
    " reason_kind, c.digest FROM proposals JOIN copied c ON c.was = document WHERE round = 0",
    "INSERT INTO attempts SELECT id || '-' || :r, run_id, :r, slot, kind, task_id || '-' || :r,"
    " group_id || '-' || :r, environment, template, split, offered, withheld, status, success,"
    " error, tool_calls, steps, tokens, usd, cpu_seconds, wall_seconds, first_tool_calls,"
    " first_steps, first_cpu_seconds, skills_used, recorded_at FROM attempts WHERE round = 0",
    *(
        f"INSERT INTO {table} SELECT x.attempt_id || '-' || :r, {columns} FROM {table} x"
        " JOIN attempts a ON a.id = x.attempt_id WHERE a.round = 0"
        for table, columns in (
            (
                "plans",
                "(SELECT c.digest FROM copied c WHERE c.was = x.task), x.skills, x.body",
            ),
            ("outcomes", "replace(x.body, x.attempt_id, x.attempt_id || '-' || :r)"),
            ("scores", "x.value, x.success, x.source, x.confidence, x.body"),
            ("steps", "x.position, x.tool, x.steps, x.refused, x.body"),
            ("draws", "x.item_id, x.item_name, x.environment, x.probability, x.withheld"),
        )
    ),
    "INSERT INTO rounds SELECT run_id, :r, created_at FROM rounds WHERE round = 0",
    "INSERT INTO nodes SELECT run_id, :r, node, result, created_at FROM nodes WHERE round = 0",
    "DROP TABLE copied",
)
TOLD: dict[str, float] = {}


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Generator[None]:
    """Prints what was measured."""
    yield
    with uncaptured(request):
        print(f"\nResume with {COPIES * PER_ROUND:,} attempts on record, {machine()}; n=1")
        for what, value in TOLD.items():
            print(f"{value:>9.2f}  {what}")


def digest_of(body: str) -> str:
    """The key of a document, as the records make it."""
    return sha256(body.encode()).hexdigest()


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
    with sqlite3.connect(workspace.database) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-500000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("sha256", 1, digest_of)
        for round_ in range(1, COPIES):
            for statement in COPY:
                connection.execute(statement, {"r": round_})
    connection.close()
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
