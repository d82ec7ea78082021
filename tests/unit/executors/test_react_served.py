"""The executor over HTTP: a real client and server, with calls and figures that are made wrong."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from agentlab.environments.registration import make_environment
from agentlab.executors.acting import Ended
from agentlab.executors.react import ReactExecutor
from agentlab.models.opening import Endpoints, open_model
from agentlab.protocols import ExecutionContext, HasTasks
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.testing.model_server import FaultPlan, ModelServer
from agentlab.testing.rules import load_rule
from agentlab.types import AttemptSpec, EnvironmentRef, Limits, Task

REF = EnvironmentRef(name="courier")


def tasks(count: int) -> list[Task]:
    environment = make_environment(REF)
    assert isinstance(environment, HasTasks)
    return list(environment.tasks("practice", count, 0))


def attempts(count: int, faults: FaultPlan) -> list[Ended]:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    async def run(url: str) -> list[Ended]:
        endpoints = Endpoints(sleep=sleep, timeout=30.0)
        model = open_model("openai:rules", base_url=url, key="none", endpoints=endpoints)

        async def one(slot: int, task: Task) -> Ended:
            spec = AttemptSpec(
                id=f"attempt-{slot}",
                run_id="run",
                round=0,
                slot=slot,
                task=task,
                group_id="group",
                seed=slot,
                environment=REF,
                executor="react",
                limits=Limits(tool_calls=40),
            )
            environment = make_environment(REF)
            context = ExecutionContext(spec, environment, SubprocessRuntime(), model)
            return await ReactExecutor().execute(context)

        try:
            return await asyncio.gather(*(one(n, task) for n, task in enumerate(tasks(count))))
        finally:
            await endpoints.close()

    with ModelServer(load_rule("courier"), faults=faults) as server:
        return asyncio.run(run(server.base_url))


def test_tasks_are_solved_and_faults_of_the_endpoint_change_nothing() -> None:
    clean = attempts(6, FaultPlan())
    assert sum(ended.trajectory.steps[-1].result.succeeded for ended in clean) >= 5
    faulty = attempts(6, FaultPlan(rate=0.3, failures=("429", "500", "503", "hangup", "cut")))
    assert [each.trajectory for each in faulty] == [each.trajectory for each in clean]
    assert [each.usage.tokens for each in faulty] == [each.usage.tokens for each in clean]


@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_malformed_calls_and_false_figures_end_attempts_and_nothing_else(rate: float) -> None:
    found = attempts(16, FaultPlan(call_rate=rate, usage_rate=rate))
    endings = Counter(ended.ending for ended in found)
    assert set(endings) <= {"episode", "answer", "malformed"}
    if rate < 1.0:
        assert any(s.result.succeeded for ended in found for s in ended.trajectory.steps[-1:])
    else:
        assert endings["malformed"] > 0 and not any(ended.trajectory.steps for ended in found)
    assert all(ended.reason for ended in found if ended.ending == "malformed")
    for ended in found:
        ended.trajectory.model_dump_json()
