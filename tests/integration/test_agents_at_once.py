"""Agents that learn while others work: in the background, and in several processes at a time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agentlab import Agent
from agentlab.records import Records, Workspace
from tests.integration.agents_process import ATTEMPTS

ROOT = Path(__file__).parents[2]


def learners() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "agentlab-learn"]


def learnt(records: Records) -> dict[str, str]:
    """The runs in which agents learnt, and how they ended."""
    return {run.run_id: run.status for run in records.runs.all() if "learn-" in run.run_id}


@pytest.mark.timeout(240)
def test_an_agent_learns_in_the_background_and_serves_what_it_learnt(tmp_path: Path) -> None:
    with (
        Agent(
            "courier",
            library=tmp_path,
            learning="on",
            learn_after=24,
            tool_calls=300,
            withhold=False,
        ) as agent,
        Records.open(Workspace.open(tmp_path)) as records,
    ):
        *tasks, last = agent.tasks(24, seed=5)
        for task in tasks:
            assert agent.run(task).skills_offered == ()
        assert learnt(records) == {} and not learners()
        agent.run(last)
        while learners():
            time.sleep(0.05)
        assert list(learnt(records).values()) == ["finished"]
        served = {row.item.name for row in records.items.skills(status="active")}
        results = [agent.run(task) for task in agent.tasks(12, seed=9)]
        offered = {name for result in results for name in result.skills_offered}
        assert offered and offered <= served
    assert not learners()
    with Records.open(Workspace.open(tmp_path)) as records:
        assert {run.status for run in records.runs.all()} == {"finished"}
        assert len(learnt(records)) == 1


@pytest.mark.timeout(240)
def test_an_agent_that_is_closed_while_it_learns_ends_clean(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path, learning="on", learn_after=8, tool_calls=300) as agent:
        for task in agent.tasks(8, seed=5):
            agent.run(task)
    assert not learners()
    with Records.open(Workspace.open(tmp_path)) as records:
        assert set(learnt(records).values()) <= {"stopped", "finished"}
        for row in records.items.skills():
            assert records.items.history(row.item.id)[-1].after == row.status
    with Agent("courier", library=tmp_path, learning="on", tool_calls=300) as agent:
        report = agent.learn()
    assert (report.attempts, report.solved > 0) == (8, True)
    with Records.open(Workspace.open(tmp_path)) as records:
        assert learnt(records)[report.run_id] == "finished" and records.items.skills()


@pytest.mark.timeout(300)
def test_two_processes_use_one_library_at_a_time(tmp_path: Path) -> None:
    script = ROOT / "tests" / "integration" / "agents_process.py"
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for seed in (5, 6)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, ended, strict=True):
        assert process.returncode == 0 and "Traceback" not in errors, errors
    told = [json.loads(said) for said, _ in ended]
    made = [key for each in told for key in each["attempts"]]
    assert len(set(made)) == len(made) == 2 * ATTEMPTS
    with Records.open(Workspace.open(tmp_path)) as records:
        assert {run.status for run in records.runs.all()} == {"finished"}
        kept = records.production.newest("courier", limit=10 * ATTEMPTS)
        assert sorted(each.attempt_id for each in kept) == sorted(made)
        for key in made:
            assert [row.comment for row in records.feedback.of(key)] == [key]
        assert {each["run"] for each in told} == set(learnt(records))
        rows = records.items.skills()
        assert rows and len({(row.item.name, row.item.version) for row in rows}) == len(rows)
        for row in rows:
            # Read whole, which it is not where two wrote into one life of an item.
            moves = records.items.history(row.item.id)
            assert moves[-1].after == row.status
            assert [move.after for move in moves].count("active") <= 1
        active = {row.item.name for row in rows if row.status == "active"}
        admitted = [name for each in told for name in each["admitted"]]
        assert active <= set(admitted) and len(set(admitted)) == len(admitted)
    with Agent("courier", library=tmp_path, learning="off") as agent:
        done = [agent.run(task) for task in agent.tasks(4, seed=7)]
        assert all(result.ending == "" for result in done)
        assert {name for result in done for name in result.skills_offered} <= active
