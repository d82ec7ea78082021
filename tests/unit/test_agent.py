"""`Agent`: attempts outside practice are on record, measured, and kept apart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentlab import Agent
from agentlab.envs.courier.environment import Courier
from agentlab.errors import UsageError
from agentlab.records import Records, Workspace


def test_two_agents_keep_their_attempts_apart(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path, tool_calls=50) as first:
        with Agent("courier", library=tmp_path, tool_calls=50) as second:
            one, two = first.tasks(2, seed=3)
            ids = {first.run(one).attempt_id, second.run(two).attempt_id}
    assert len(ids) == 2
    with Records.open(Workspace.open(tmp_path)) as records:
        rows = [row for run in records.runs.all() for row in records.attempts.all(run.run_id)]
    assert {row.attempt_id for row in rows} == ids
    assert {row.kind for row in rows} == {"production"}


def test_it_runs_in_one_loop_after_another(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path, tool_calls=30) as agent:
        tasks = agent.tasks(3, seed=1)

        async def all_at_once() -> list[str]:
            results = await asyncio.gather(*(agent.arun(task) for task in tasks))
            return [result.attempt_id for result in results]

        first, second = asyncio.run(all_at_once()), asyncio.run(all_at_once())
    assert len({*first, *second}) == 6


def test_draws_on_held_out_tasks_are_never_read(tmp_path: Path) -> None:
    (task,) = Courier().tasks("heldout", 1, 0)
    with Agent("courier", library=tmp_path, tool_calls=30) as agent:
        agent.run(task)
    with Records.open(Workspace.open(tmp_path)) as records:
        assert all(row.split != "heldout" for row in records.draws.all())


def test_a_task_of_another_environment_is_refused(tmp_path: Path) -> None:
    (task,) = Courier().tasks("practice", 1, 0)
    foreign = task.model_copy(update={"environment": "babyai"})
    with (
        Agent("courier", library=tmp_path) as agent,
        pytest.raises(UsageError, match="of the environment 'babyai'"),
    ):
        agent.run(foreign)
