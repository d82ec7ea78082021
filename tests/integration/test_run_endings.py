"""How a run says that it did not go as meant, and how it goes on: real runs, a real server."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import agentlab
from agentlab.analysis.runs import show_run
from agentlab.cli.main import cli
from agentlab.config import BudgetConfig
from agentlab.errors import UsageError
from agentlab.events import BudgetChanged
from agentlab.records import Records, Workspace
from agentlab.testing.model_server import ModelServer
from agentlab.testing.rules import load_rule
from agentlab.types import ChatRequest
from agentlab.types.report import PracticeReport

SMALL: dict[str, Any] = {
    "environment": "courier",
    "rounds": 3,
    "proposals": 6,
    "attempts": 6,
    "tool_calls": 60,
    "heldout": 0,
    "index": "exact",
    "concurrency": 2,
    "curator": "generalise",
    "admission.trials": 2,
    "admission.replays": 1,
    "admission.trial_tool_calls": 20,
    "seed": 3,
}


@pytest.fixture(scope="module")
def served() -> Iterator[ModelServer]:
    with ModelServer(load_rule("courier")) as server:
        yield server


def practise(place: Path, **options: Any) -> PracticeReport:
    given: dict[str, Any] = {**SMALL, **options}
    return agentlab.practice(workspace=place, **given)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, env={"AGENTLAB_DISPLAY": "plain"})


def next_words(result: Result) -> list[str]:
    """The command in the last line, as a shell reads it, without the program's name."""
    said, _, line = result.stdout.splitlines()[-1].partition(": ")
    assert said == "Next"
    program, *words = shlex.split(line)
    assert program == "agentlab"
    return words


def refuses(request: ChatRequest) -> str:
    return "I would rather talk about the weather."


def test_a_proposer_whose_replies_come_to_nothing_is_not_passed_over_in_silence(
    tmp_path: Path,
) -> None:
    with ModelServer(refuses) as server:
        done = invoke(
            "practice", "courier", "--model", "openai:m", "--base-url", server.base_url,
            "--rounds=2", "--proposals=3", "--attempts=3", "--heldout=0", "--index=exact",
            f"--workspace={tmp_path}",
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = "No task was admitted, so nothing could be attempted: what the proposer 'context' made "
    assert said in done.stdout
    assert "2 unusable reply (it holds no JSON object)" in done.stdout
    assert "roles.proposer.max_tokens" in done.stdout
    # Live, round by round; and again whenever somebody looks at the run.
    told = "Of what the proposer was asked, 1 came to nothing: 1 unusable reply"
    assert done.stderr.count(told) == 2
    shown = invoke(*next_words(done))
    assert said in shown.stdout


def test_a_run_goes_on_with_a_larger_budget(tmp_path: Path) -> None:
    report = practise(tmp_path, **{"budget.attempts": 7})
    assert (report.status, report.reason) == ("stopped", "attempts used up")
    assert report.notes == ("The run's budget of 7 attempts (budget.attempts) is used up.",)
    assert set(report.goes_on_with) == {"budget.attempts"}
    assert report.goes_on_with["budget.attempts"] >= 14
    before = comparable(tmp_path, report.run_id)
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"rounds": 9}, "'rounds' cannot be set"),
        ({"budget.tokens": -1}, "'budget.tokens' cannot be -1"),
        ({"budget.attempts": 0}, "too small for an attempt"),
        ({"roles.stronger.tokens": 10_000}, "'roles.stronger.tokens' cannot be set"),
    )
    for budgets, says in wrong:
        with pytest.raises(UsageError, match=says):
            agentlab.resume(report.run_id, workspace=tmp_path, **budgets)
    same = agentlab.resume(report.run_id, workspace=tmp_path)
    assert (same.status, same.reason, same.attempts) == ("stopped", report.reason, report.attempts)
    assert comparable(tmp_path, report.run_id) == before
    with Records.open(Workspace.open(tmp_path)) as records:
        assert records.events.of(report.run_id, BudgetChanged) == []
        # As a process leaves it that is killed before it goes on: whoever comes next does.
        larger = BudgetChanged(run_id=report.run_id, budgets={"budget.attempts": 100})
        records.events.append([larger])
    again = agentlab.resume(report.run_id, workspace=tmp_path)
    # A keyless run that went as it should has nothing to remark.
    assert (again.status, again.reason, again.notes) == ("finished", "", ())
    assert again.attempts > report.attempts and again.goes_on_with == {}
    after = comparable(tmp_path, report.run_id)
    assert after[: len(before)] == before  # what was done stays as it was
    with Records.open(Workspace.open(tmp_path)) as records:
        config = records.runs.get(report.run_id).config
    assert config["budget"] == {**BudgetConfig().model_dump(), "attempts": 7}
    shown = invoke("runs", "show", report.run_id, "--workspace", str(tmp_path))
    assert "Since its start its budgets were set to budget.attempts = 100." in shown.stdout


def comparable(place: Path, run_id: str) -> list[Any]:
    with Records.open(Workspace.open(place)) as records:
        return [event.comparable() for event in records.events.all(run_id)]


@pytest.mark.parametrize(
    ("flags", "cap"),
    [
        (("--budget-tokens=30000",), "budget.tokens"),
        (("--budget-role=executor.tokens=12000",), "roles.executor.tokens"),
    ],
)
def test_the_next_line_of_a_run_that_a_budget_stopped_goes_on(
    tmp_path: Path, served: ModelServer, flags: tuple[str, ...], cap: str
) -> None:
    done = invoke(
        "practice", "courier", "--model", "openai:courier", "--base-url", served.base_url,
        "--rounds=2", "--proposals=4", "--attempts=6", "--heldout=0", "--index=exact",
        "--tool-calls=60", "--insights=none", "--curator=generalise", "--seed=3",
        f"--workspace={tmp_path}", *flags,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert f"({cap}) is used up." in done.stdout
    if cap != "budget.tokens":
        assert "The only budgets are of roles (12,000 tokens for the executor)." in done.stderr
    turns = 0
    while "used up" in done.stdout and turns < 6:
        words = next_words(done)
        assert words[0] == "resume" and any(word.startswith("--budget-") for word in words)
        done = invoke(*words)
        assert done.exit_code == 0, done.output
        turns += 1
    assert 1 <= turns < 6
    assert " finished after " in done.stdout


def test_the_budget_of_a_role_that_ends_nothing_is_named_all_the_same(
    tmp_path: Path, served: ModelServer
) -> None:
    report = practise(
        tmp_path,
        model="openai:courier",
        insights="none",
        rounds=4,
        **{"endpoint.base_url": served.base_url, "roles.proposer.tokens": 12_000},
    )
    assert report.status == "finished"
    (note,) = report.notes
    assert note == (
        "The proposer's budget of 12,000 tokens (roles.proposer.tokens) did not allow another "
        "call, so it made no more tasks; give it more."
    )
    shown = invoke("runs", "show", report.run_id, "--workspace", str(tmp_path))
    assert re.search(r"the model of the executor: [\d,]+ tokens", shown.stdout)
    assert re.search(r"the model of the proposer: [\d,]+ tokens", shown.stdout)
    detail = show_run(tmp_path, report.run_id)
    assert sum(taken.tokens for taken in detail.by_role.values()) <= detail.usage.tokens
    assert sum(detail.refused_skills.values()) == detail.skill_counts.rejected


def test_an_evaluation_takes_a_config_and_budgets(tmp_path: Path, served: ModelServer) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        f'environment = "courier"\nmodel = "openai:courier"\nheldout = 3\nindex = "exact"\n'
        f'heldout_tool_calls = 40\n[endpoint]\nbase_url = "{served.base_url}"\n',
        encoding="utf-8",
    )
    place = f"--workspace={tmp_path / 'ws'}"
    done = invoke("evaluate", "--config", str(file), place)
    assert done.exit_code == 0, done.output
    assert "Success on held-out tasks within 40 tool calls" in done.stdout
    assert "did not allow" not in done.stdout
    cut = invoke("evaluate", "--config", str(file), place, "--tasks=8", "--budget-tokens=9000")
    assert cut.exit_code == 0, cut.output
    assert "The run's budget of 9,000 tokens (budget.tokens) did not allow every call" in cut.stdout
    assert "What failed has no verdict and counts in no rate." in cut.stdout
    with Records.open(Workspace.open(tmp_path / "ws")) as records:
        first, second = records.runs.all()
    assert (first.config["tasks"], second.config["tasks"]) == (3, 8)
    assert "budget" not in first.config and second.config["budget"] == {"tokens": 9000}


def test_what_is_new_about_an_evaluation_renames_none(tmp_path: Path) -> None:
    report = agentlab.evaluate("courier", workspace=tmp_path, tasks=2, tool_calls=30)
    assert report.notes == ()
    with Records.open(Workspace.open(tmp_path)) as records:
        (row,) = records.runs.all()
    assert set(row.config) == {
        *("command", "environment", "environment_options", "model", "arms", "seed", "tasks"),
        *("tool_calls", "split", "baseline", "library", "embedder", "index", "box"),
    }
