"""An agent in use learns what it has verified, for its tenant alone: real search and replays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentlab import Agent
from agentlab.config import AdmissionConfig, PracticeConfig
from agentlab.library.waiting import list_waiting
from agentlab.records import Records, Workspace
from agentlab.types import Scope

ACME, OTHER = Scope(tenant="acme"), Scope(tenant="other")


@pytest.mark.timeout(240)
def test_what_an_agent_learns_waits_for_people_where_practice_does(tmp_path: Path) -> None:
    admission = AdmissionConfig(approval="human")
    config = PracticeConfig(environment="courier", admission=admission).model_dump(mode="json")
    with Records.open(Workspace.open(tmp_path)) as records:
        records.runs.create("practised", config=config, versions={}, seed=0)
    with Agent("courier", library=tmp_path, tenant="acme", learning="on", tool_calls=300) as agent:
        for task in agent.tasks(24, seed=5):
            agent.run(task)
        report = agent.learn()
    assert report.admitted == () and report.waiting >= 1
    waiting = list_waiting(tmp_path, scope=ACME)
    assert 1 <= len(waiting) <= report.waiting and {line.scope for line in waiting} == {"acme"}


@pytest.mark.timeout(240)
def test_an_agent_learns_for_its_tenant_what_it_has_verified(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path, tenant="acme", learning="on", tool_calls=300) as agent:

        async def work() -> int:
            tasks = agent.tasks(24, seed=5)
            done = await asyncio.gather(*(agent.arun(task) for task in tasks))
            return sum(result.success is True for result in done)

        assert asyncio.run(work()) >= 6
        report = agent.learn()
        assert report.candidates >= 1
        assert report.admitted, report
    with Records.open(Workspace.open(tmp_path)) as records:
        active = records.items.skills(status="active", scope=ACME)
        assert {row.item.name for row in active} == set(report.admitted)
        assert {row.scope for row in active} == {"acme"}
        for row in active:
            been = [move.after for move in records.items.history(row.item.id)]
            assert been == ["candidate", "quarantined", "verified", "active"]
            assert any(move.evidence.get("replays") for move in records.items.history(row.item.id))
        assert records.items.skills(scope=OTHER) == records.items.skills() == []
        for run in records.runs.all():
            assert list(records.trajectories.exportable(run.run_id)) == []
    with Agent("courier", library=tmp_path, tenant="other") as agent:
        assert not agent.run(agent.tasks(1, seed=9)[0]).skills_offered
