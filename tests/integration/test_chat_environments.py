"""The loop with a chat model in every role, over HTTP, on environments that others bring.

Rules that see the request alone answer for the model, so what is shown is that proposals, admitted
tasks, attempts, insights, skills and the closing comparison hold together there. No claim of
learning rests on it: where admission refuses, its reason is what is asserted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.environments.registration import base_name
from agentlab.errors import UsageError
from agentlab.library.admission import REJECTED
from agentlab.models.prompts import CLOSE, OPEN
from agentlab.records import Records, Workspace
from agentlab.testing.model_server import ModelServer, server_process
from agentlab.testing.rules import load_rule
from agentlab.testing.rules.reading import acting, calls_made
from agentlab.types import ChatRequest, JsonObject, Message, Task
from agentlab.types.report import PracticeReport
from tests.unit.environments import git_server
from tests.unit.environments.test_mcp_environment import files_server

TODO = Path(__file__).parents[2] / "examples" / "tools_todo.py"
SMALL: dict[str, Any] = {
    "rounds": 2,
    "attempts": 8,
    "proposals": 8,
    "tool_calls": 60,
    "heldout": 4,
    "heldout_tool_calls": 60,
    "index": "exact",
    "concurrency": 4,
    "admission.trial_tool_calls": 60,
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nothing")
    yield


def practise(
    place: Path, rule: str, environment: str, *, using: JsonObject | None = None, **options: Any
) -> PracticeReport:
    """A small run against a server process that plays by the rule."""
    with server_process(rule) as server:
        given: dict[str, Any] = {
            **SMALL,
            "environment": environment,
            "environment_options": using or {},
            "model": f"openai:{rule}",
            "endpoint.base_url": server.base_url,
            **options,
        }
        return agentlab.practice(workspace=place, **given)


def check(report: PracticeReport, place: Path, *, mistake: str) -> None:
    """What a run must show; `mistake` is told by the insight that its failures called for."""
    assert report.status == "finished"
    assert report.tasks.proposed >= report.tasks.admitted >= 4
    found = report.heldout
    assert found is not None and found.n == 4 and found.failed == 0
    assert found.baseline is not None and found.baseline.n == 4
    assert found.difference is not None and found.difference.n == 4
    with Records.open(Workspace.open(place)) as records:
        tried = records.attempts.all(report.run_id, kind="practice")
        shadows = records.attempts.all(report.run_id, kind="shadow")
        outcomes = records.trajectories.outcomes([row.attempt_id for row in tried])
        outside = records.role_calls.all(report.run_id)
        insights = records.items.insights()
        skills = records.items.skills()
    assert {row.success for row in tried} == {True, False}
    assert all(row.error is None for row in tried)
    assert {call.role for call in outside} == {"proposer", "curator"}
    inside = [call for o in outcomes if o.trajectory for call in o.trajectory.model_calls]
    assert {call.role for call in inside} == {"executor"}
    assert all(call.prompt_hash for call in (*outside, *inside))
    # Each insight and each skill was judged, by attempts that count in no rate, with a reason.
    assert shadows
    assert any(mistake in row.item.advice for row in insights)
    assert skills and {row.item.origin for row in skills} == {"model"}
    for row in (*insights, *skills):
        refused = row.status == "retired" and row.reason.startswith(REJECTED)
        assert refused or row.status == "active", row.reason
        assert row.reason.removeprefix(REJECTED)
    assert report.insights.admitted == sum(row.status == "active" for row in insights)
    assert report.skills.admitted == sum(row.status == "active" for row in skills)


def test_on_python_functions(tmp_path: Path) -> None:
    report = practise(tmp_path, "tools", f"tools:{TODO}", seed=3)
    check(report, tmp_path, mistake="Start the place first")
    # Without advice no new project is thought of; with it the source task is solved again.
    assert report.insights.admitted == 1


def test_on_the_filesystem_server(tmp_path: Path) -> None:
    using: JsonObject = {"allow_destructive": True, "reuse": True}
    report = practise(
        tmp_path, "files", f"mcp:{files_server()}", using=using, seed=1, attempts=6, proposals=6
    )
    check(report, tmp_path, mistake="Create the folder first")
    assert report.insights.admitted >= 1
    # It words some tasks freely, with code that a box runs, and now and then forgets a folder in
    # its solution: what is refused has its reason.
    assert report.tasks.rejected.keys() <= {"solution fails", "reserved template", "not novel"}
    assert report.tasks.admitted + sum(report.tasks.rejected.values()) == report.tasks.proposed


@pytest.mark.timeout(300)
def test_on_a_pypi_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mcp-server-git, whose state is told by calls with arguments and patterns."""
    template = tmp_path / "repository"
    environment = git_server.repository(template, monkeypatch)
    using, place = git_server.options(template), tmp_path / "workspace"
    small: dict[str, Any] = {"attempts": 6, "proposals": 6, "concurrency": 2}
    # Every process that checks a task first explores what the server can change.
    small |= {"check_seconds": 60}
    report = practise(place, "git", environment, using=using, seed=2, **small)
    check(report, place, mistake="Add a changed file to what is staged first")
    assert report.insights.admitted >= 1


def test_on_babyai(tmp_path: Path) -> None:
    pytest.importorskip("minigrid", reason="the extra babyai is not installed")
    report = practise(tmp_path, "babyai", "babyai", seed=2)
    check(report, tmp_path, mistake="Pick up the key of the door's colour")
    assert report.insights.admitted >= 1


def convert(request: ChatRequest) -> Message:
    """An executor for one question about the time; any other role as the rules for tools."""
    if not request.tools:
        said = load_rule("tools")(request)
        assert isinstance(said, Message)
        return said
    made = [answer.strip(OPEN + CLOSE) for _, answer in calls_made(request)]
    if made:
        return Message(role="assistant", text=f"The converted time is in this: {made[-1]}")
    arguments: JsonObject = {
        "source_timezone": "Europe/Berlin",
        "time": "12:00",
        "target_timezone": "Asia/Tokyo",
    }
    return acting(request, [("convert_time", arguments)])


def test_on_a_server_without_state(tmp_path: Path) -> None:
    """mcp-server-time only answers: an agent works on it and is judged; practice says why not."""
    pytest.importorskip("mcp_server_time", reason="mcp-server-time is not installed")
    environment = f"mcp:{sys.executable} -m mcp_server_time --local-timezone Europe/Berlin"
    with ModelServer(convert) as server:
        with pytest.raises(UsageError, match=r"nothing to practise: name .* the option 'state'"):
            agentlab.practice(environment, workspace=tmp_path, model="search", rounds=1)
        task = Task(
            id="convert-noon",
            environment=base_name(environment),
            instruction="Convert 12:00 in Europe/Berlin to Asia/Tokyo and say the converted time.",
            setup={},
            seed=1,
            template="convert _ to _",
            parameters={"judged": True},
        )
        with agentlab.Agent(
            environment,
            model="openai:tools",
            library=tmp_path,
            base_url=server.base_url,
            environment_options={"keep_times": True},
        ) as agent:
            result = agent.run(task)
    trajectory = result.trajectory
    assert trajectory is not None and trajectory.answer is not None
    assert [call.tool for call in trajectory.calls] == ["convert_time"]
    assert "Asia/Tokyo" in trajectory.answer and "(a time)" not in trajectory.answer
    assert result.success is not None, result.explanation
    assert {call.role for call in trajectory.model_calls} == {"executor", "evaluator"}
