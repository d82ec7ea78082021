"""`as_node`: parts of agentlab in somebody else's graph, run twice with one effect."""

# LangGraph's own signatures are partly untyped, which strict checking reports at each call.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, cast

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy

from agentlab import Agent, Library, PracticeConfig, RunResult, Task
from agentlab.envs.courier.environment import Courier
from agentlab.errors import UsageError
from agentlab.events import Event, Progress
from agentlab.graph import as_node
from agentlab.records import Records, Workspace
from agentlab.types import AttemptOutcome, AttemptSpec, EnvironmentRef
from tests.stocking import stock

ROOT = Path(__file__).parents[3]


class State(TypedDict, total=False):
    task: Any
    query: str
    skills: list[dict[str, Any]]
    result: dict[str, Any]
    report: dict[str, Any]


def one_node(node: Any, checkpointer: Any = None, **options: Any) -> Any:
    """The smallest graph around a node."""
    graph = StateGraph(State).add_node("node", node, **options)
    return graph.add_edge(START, "node").compile(checkpointer=checkpointer)


def a_task(seed: int = 1) -> Task:
    return Courier().tasks("practice", 1, seed)[0]


def spelt(task: Task) -> dict[str, Any]:
    """As a checkpointer keeps it."""
    return task.model_dump(mode="json")


def attempts(workspace: Path) -> list[str]:
    with Records.open(Workspace.open(workspace)) as records:
        runs = records.runs.ids()
        return [row.attempt_id for run in runs for row in records.attempts.all(run)]


def thread(name: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name}}


@dataclass
class Forgetful:
    """An agent whose process comes to harm right after an attempt is on record."""

    agent: Agent
    harms: int = 1
    asked: list[str] = field(default_factory=list[str])

    async def arun(self, task: Task) -> RunResult[None]:
        self.asked.append(task.source)
        result = await self.agent.arun(task)
        if len(self.asked) <= self.harms:
            raise ConnectionError("the process came to harm")
        return result


def test_an_agent_in_synchronous_and_asynchronous_graphs(tmp_path: Path) -> None:
    task = a_task()
    with Agent("courier", library=tmp_path, tool_calls=40) as agent:
        app = one_node(as_node(agent))
        first = app.invoke({"task": task})
        second = asyncio.run(app.ainvoke({"task": task.model_dump(mode="json")}))

        async def in_a_loop() -> dict[str, Any]:
            return cast("dict[str, Any]", app.invoke({"task": task}))

        third = asyncio.run(in_a_loop())
    ids = [done["result"]["attempt_id"] for done in (first, second, third)]
    assert attempts(tmp_path) == ids and len({*ids}) == 3
    assert first["result"].keys() >= {"success", "explanation", "tool_calls", "skills_used"}


def test_its_events_reach_who_follows_the_graph(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path, tool_calls=40) as agent:
        app = one_node(as_node(agent))
        told = list(app.stream({"task": a_task()}, stream_mode="custom"))

        async def follow() -> list[Any]:
            return [each async for each in app.astream({"task": a_task()}, stream_mode="custom")]

        told += asyncio.run(follow())
    steps = [each for each in told if each["event"] == "StepTaken"]
    told = [each for each in told if each["event"] != "StepTaken"]
    assert [each["event"] for each in told] == ["AttemptBegun", "AttemptFinished"] * 2
    assert all(each["tool"] for each in steps)
    assert told[1]["attempt_id"] in attempts(tmp_path)


@dataclass(frozen=True, kw_only=True)
class Ended(Event):
    """As an agent's stream ends."""

    result: RunResult[None]


@dataclass
class Telling:
    """An agent that tells what happens as it happens."""

    agent: Agent

    async def arun(self, task: Task) -> RunResult[None]:
        raise AssertionError("its stream was not asked")

    async def astream(self, task: Task) -> AsyncGenerator[Event]:
        yield Progress(run_id="run", phase="looking", done=1, total=2)
        result = await self.agent.arun(task)
        yield Progress(run_id="run", phase="looking", done=2, total=2)
        yield Ended(run_id="run", result=result)


def test_what_an_agent_tells_is_streamed_as_it_happens(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path, tool_calls=40) as agent:
        app = one_node(as_node(Telling(agent)))
        told = list(app.stream({"task": a_task()}, stream_mode="custom"))
    assert [(each["event"], each.get("done")) for each in told] == [
        ("Progress", 1),
        ("Progress", 2),
        ("AttemptFinished", None),
    ]
    assert told[-1]["attempt_id"] in attempts(tmp_path)


def test_an_attempt_that_was_broken_off_is_no_answer(tmp_path: Path) -> None:
    """What fails for reasons outside the agent has had no effect that is kept."""
    asked = a_task().model_copy(update={"source": "node 1"})

    def spec(slot: int, task: Task) -> AttemptSpec:
        return AttemptSpec(
            id=f"attempt-{slot}",
            run_id="run",
            round=0,
            slot=slot,
            kind="production",
            task=task,
            group_id="group",
            seed=0,
            environment=EnvironmentRef(name="courier"),
            executor="search",
        )

    with Records.open(Workspace.open(tmp_path)) as records:
        records.runs.create("run", config={}, versions={}, seed=0)
        lost = AttemptOutcome(attempt_id="attempt-0", status="infrastructure_failure", error="x")
        records.attempts.record(spec(0, asked), lost)
        records.attempts.plan("run", 0, [spec(1, asked)])
        records.attempts.record(spec(2, a_task()), AttemptOutcome(attempt_id="attempt-2"))
        assert records.asked.answer(asked) is None
        records.attempts.record(spec(1, asked), AttemptOutcome(attempt_id="attempt-1"))
        assert records.asked.answer(asked) == ("run", "attempt-1")


def test_a_node_that_runs_twice_attempts_once(tmp_path: Path) -> None:
    """By a retry in this process, and from a checkpoint on a disk by another graph."""
    with Agent("courier", library=tmp_path / "w", tool_calls=40) as agent:
        forgetful = Forgetful(agent)
        node = as_node(forgetful, workspace=tmp_path / "w")
        with SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as saver:
            app = one_node(node, checkpointer=saver)
            with pytest.raises(ConnectionError):
                app.invoke({"task": spelt(a_task())}, thread("one"))
        with SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as saver:
            app = one_node(node, checkpointer=saver)
            told = list(app.stream(None, thread("one"), stream_mode="custom"))
            done = app.get_state(thread("one")).values["result"]
            assert attempts(tmp_path / "w") == [done["attempt_id"]]
            assert [each["event"] for each in told] == ["AttemptFinished"]
            other = app.invoke({"task": spelt(a_task())}, thread("two"))["result"]
            once_more = app.invoke({"task": spelt(a_task())}, thread("one"))["result"]
        ids = [done["attempt_id"], other["attempt_id"], once_more["attempt_id"]]
        assert attempts(tmp_path / "w") == ids and len({*ids}) == 3

        again = Forgetful(agent)
        retry = RetryPolicy(initial_interval=0.01, jitter=False)
        node = as_node(again, workspace=tmp_path / "w")
        app = one_node(node, InMemorySaver(), retry_policy=retry)
        app.invoke({"task": spelt(a_task())}, thread("three"))
        assert len(again.asked) == 1 and len(attempts(tmp_path / "w")) == 4


def test_the_recalled_result_is_the_one_that_was_given(tmp_path: Path) -> None:
    stock(tmp_path / "w", tmp_path / "keys")
    tasks = Courier().tasks("practice", 4, 3)
    with Agent("courier", library=tmp_path / "w", tool_calls=200, withhold=False) as agent:
        node = as_node(agent, workspace=tmp_path / "w")
        config: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": "node:1"}}
        fresh = [node.invoke({"task": task}, config) for task in tasks]
        recalled = [node.invoke({"task": task}, config) for task in tasks]
    assert fresh == recalled and len(attempts(tmp_path / "w")) == len(tasks)
    assert any(each["result"]["skills_used"] for each in fresh)


def test_an_agent_that_keeps_its_records_elsewhere_is_told(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path / "here", tool_calls=20) as agent:
        app = one_node(as_node(agent, workspace=tmp_path / "there"), checkpointer=InMemorySaver())
        with pytest.raises(UsageError, match=r"as_node\(agent, workspace="):
            app.invoke({"task": spelt(a_task())}, thread("one"))


def test_cancelling_the_graph_breaks_off_the_attempt(tmp_path: Path) -> None:
    broken_off: list[str] = []

    class Slow:
        async def arun(self, task: Task) -> RunResult[None]:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                broken_off.append(task.id)
                raise
            raise AssertionError("nobody waited")

    async def cancel() -> None:
        app = one_node(as_node(Slow()))
        running = asyncio.ensure_future(app.ainvoke({"task": a_task()}))
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel())
    assert broken_off == [a_task().id]


def test_retrieval_writes_plain_values_under_the_keys_that_were_named(tmp_path: Path) -> None:
    stock(tmp_path / "w", tmp_path / "keys")
    with Library("courier", workspace=tmp_path / "w") as library:
        app = one_node(as_node(library, k=2), checkpointer=InMemorySaver())
        done = app.invoke({"query": "Unlock the tin chest."}, thread("one"))
        renamed = as_node(library, read="question", write="known")
        other = asyncio.run(renamed.ainvoke({"question": "Deliver the parcel to the chest."}))
    assert done["skills"][0]["name"] == "unlocked" and len(done["skills"]) == 2
    assert done["skills"][0]["text"].startswith("⟦unlocked(")
    assert other.keys() == {"known"} and other["known"][0]["name"] == "delivered"


def test_practice_inside_a_graph_is_one_run_however_often_the_node_runs(tmp_path: Path) -> None:
    config = PracticeConfig(
        environment="courier", rounds=1, attempts=4, proposals=4, heldout=0, index="exact"
    )
    node = as_node(config, workspace=tmp_path)
    where: list[RunnableConfig] = []

    def run(state: State, config: RunnableConfig) -> dict[str, Any]:
        where.append(config)
        return node.invoke(state, config)

    app = one_node(run, InMemorySaver())
    told: list[Any] = []
    for mode, part in app.stream({}, thread("one"), stream_mode=["custom", "updates"]):
        told.append(part if mode == "custom" else part["node"]["report"])
    report = told.pop()
    kinds = [each["event"] for each in told]
    assert report["status"] == "finished" and report["attempts"] == 4
    assert kinds[0] == "RunStarted" and kinds[-1] == "RunFinished"
    assert kinds.count("AttemptFinished") >= 4
    again = node.invoke({}, where[0])["report"]
    assert (again["run_id"], again["attempts"]) == (report["run_id"], 4)
    with Records.open(Workspace.open(tmp_path)) as records:
        assert records.runs.ids() == [report["run_id"]]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "has nothing under 'task'"),
        ("Go there.", "is str and no task"),
        ({"id": 1}, "no task"),
    ],
)
def test_a_state_that_does_not_fit_is_told(tmp_path: Path, value: object, why: str) -> None:
    with Agent("courier", library=tmp_path) as agent, pytest.raises(UsageError, match=why):
        as_node(agent).invoke({"task": value})


def test_states_may_be_models_and_dataclasses(tmp_path: Path) -> None:
    @dataclass
    class Held:
        question: Task

    with Agent("courier", library=tmp_path, tool_calls=20) as agent:
        done = as_node(agent, read="question", write="answer").invoke(Held(a_task()))
    assert done["answer"]["attempt_id"] in attempts(tmp_path)


def test_a_graph_of_the_users_own_keeps_langgraphs_settings() -> None:
    """State of their own types is read from a checkpoint as it was, whoever is imported first."""
    program = """
from dataclasses import dataclass
from typing import TypedDict
from agentlab.graph import as_node
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

@dataclass
class Own:
    word: str

serializer = JsonPlusSerializer()
assert serializer.loads_typed(serializer.dumps_typed(Own("kept"))) == Own("kept")
"""
    env = {k: v for k, v in os.environ.items() if k != "LANGGRAPH_STRICT_MSGPACK"}
    subprocess.run([sys.executable, "-c", program], check=True, env=env, cwd=ROOT)


def test_what_is_no_part_is_refused() -> None:
    with pytest.raises(UsageError, match="A int is no part of agentlab"):
        as_node(cast("Agent", 3))
