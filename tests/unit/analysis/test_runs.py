"""Runs as people look at them, over the records of real runs in the small environment."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

import agentlab
from agentlab.agent import Agent
from agentlab.analysis.runs import compare_runs, list_runs, show_run
from agentlab.errors import UnknownNameError, UsageError
from agentlab.graph.evaluation import ARM_SLOTS
from agentlab.graph.reports import arm_report
from agentlab.records import Records, Workspace
from agentlab.types import attempt_id
from agentlab.types.report import EvaluationReport, PracticeReport


class Done(NamedTuple):
    workspace: Path
    practised: PracticeReport
    measured: EvaluationReport
    agent: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A practice run, an evaluation with a further arm and without a baseline, and an agent."""
    place = tmp_path_factory.mktemp("runs") / "ws"
    practised = agentlab.practice(
        "courier", workspace=place, rounds=1, proposals=8, attempts=8, tool_calls=200, heldout=6,
        heldout_tool_calls=400, concurrency=1, index="exact", seed=0,
    )  # fmt: skip
    measured = agentlab.evaluate(
        "courier", workspace=place, tasks=6, tool_calls=400, split="dev", arms=("flat",),
        index="exact",
    )  # fmt: skip
    with Agent("courier", library=place, tool_calls=50) as agent:
        agent.run(agent.tasks(1)[0])
    with Records.open(Workspace.open(place)) as records:
        (run,) = [r.run_id for r in records.runs.all() if r.config.get("command") == "agent"]
    return Done(place, practised, measured, run)


def test_only_practice_runs_are_listed(done: Done) -> None:
    assert [run.run_id for run in list_runs(done.workspace)] == [done.practised.run_id]


def test_what_is_no_practice_run_is_refused_by_its_name(done: Done) -> None:
    for run, holder in ((done.measured.run_id, "an evaluation"), (done.agent, "an agent")):
        says = f"'{run}' holds the attempts of {holder} and is no practice run"
        with pytest.raises(UsageError, match=says):
            show_run(done.workspace, run)
        with pytest.raises(UsageError, match=says):
            compare_runs(done.workspace, done.practised.run_id, run)
        with pytest.raises(UsageError, match=says):
            agentlab.resume(run, workspace=done.workspace)
    with pytest.raises(UnknownNameError):
        show_run(done.workspace, "nothing")


def test_a_run_shows_the_comparison_that_it_reported(done: Done) -> None:
    reported = done.practised.heldout
    assert reported is not None
    assert reported.success_rate > 0
    assert (reported.run_id, reported.budget) == (done.practised.run_id, 400)
    assert show_run(done.workspace, done.practised.run_id).heldout == reported


def test_means_have_intervals_over_the_solved_tasks(done: Done) -> None:
    for report in (done.practised.heldout, done.measured):
        assert report is not None
        for mean, interval in (
            (report.steps, report.steps_interval),
            (report.tool_calls, report.tool_calls_interval),
        ):
            assert mean is not None
            assert interval is not None
            assert interval.low <= mean <= interval.high


def test_an_evaluation_records_what_it_searched_with(done: Done) -> None:
    with Records.open(Workspace.open(done.workspace)) as records:
        config = records.runs.get(done.measured.run_id).config
    assert (config["embedder"], config["index"]) == ("lexical", "exact")
    with pytest.raises(UnknownNameError, match="'lexicl'"):
        agentlab.evaluate("courier", workspace=done.workspace, tasks=1, embedder="lexicl")


def test_a_further_arm_is_no_baseline_and_failures_are_told(done: Done, tmp_path: Path) -> None:
    place = tmp_path / "ws"
    shutil.copytree(done.workspace, place)
    run = done.practised.run_id
    with Records.open(Workspace.open(place)) as records:
        planned = records.attempts.planned(run, 1)
        judged = next(spec for spec in planned if spec.slot == 0)
        outcome = records.trajectories.outcome(judged.id)
        failure = {"status": "infrastructure_failure", "trajectory": None, "error": "it broke"}
        for slot, change in ((2 * ARM_SLOTS, {}), (9, failure), (ARM_SLOTS + 9, failure)):
            key = attempt_id(run, 1, slot, "evaluation")
            records.attempts.record(
                judged.model_copy(update={"id": key, "slot": slot}),
                outcome.model_copy(update={"attempt_id": key, **change}),
            )
    before, after = done.practised.heldout, show_run(place, run).heldout
    assert before is not None
    assert before.baseline is not None
    assert after is not None
    assert after.baseline is not None
    assert (after.n, after.failed) == (before.n, 1)
    assert (after.baseline.n, after.baseline.failed) == (before.baseline.n, 1)
    assert after.baseline.success_rate == before.baseline.success_rate
    assert after.difference == before.difference


def test_an_arm_without_a_verdict_is_unknown_everywhere() -> None:
    arm = arm_report("flat", [None, None])
    assert (arm.n, arm.failed, arm.interval) == (0, 2, (0.0, 1.0))
    assert arm_report("flat", [True, None, False]).model_dump(exclude={"interval"}) == {
        "name": "flat", "success_rate": 0.5, "n": 2, "failed": 1,
    }  # fmt: skip
