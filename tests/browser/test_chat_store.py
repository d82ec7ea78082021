"""The shop on the web with a chat model in every role, over HTTP, in a real browser.

The rules see the request alone. What is shown is that the parts meet: a look around goes before
the tasks, what is learnt goes the road of admission, and the judge is measured by the verifiers. No
claim of learning rests on it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import agentlab
from agentlab.cli.main import cli
from agentlab.graph.surveying import FILE, kept
from agentlab.records import Records, Workspace
from agentlab.testing.model_server import server_process
from agentlab.types.report import PracticeReport

SMALL: dict[str, Any] = {
    "environment": "store",
    "environment_options": {"questions": False, "crawl_pages": 7},
    "model": "openai:store",
    "proposer": "mixture:context+challenger",
    "rounds": 1,
    "attempts": 4,
    "proposals": 4,
    "tool_calls": 20,
    "heldout": 1,
    "heldout_tool_calls": 20,
    "index": "exact",
    "concurrency": 2,
    "seed": 5,
    "check_seconds": 400,
    "attempt_seconds": 400,
    "admission.replays": 1,
    "admission.trials": 2,
}


def practise(place: Path, base_url: str, **options: Any) -> PracticeReport:
    given: dict[str, Any] = {**SMALL, "endpoint.base_url": base_url, **options}
    return agentlab.practice(workspace=place, **given)


@pytest.mark.timeout(1800)
def test_every_role_in_the_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-shop")
    with server_process("store") as server:
        report = practise(tmp_path, server.base_url)
        coded = practise(
            tmp_path, server.base_url, executor="code", proposer="context", attempts=1,
            proposals=1, heldout=0,
            environment_options={"questions": False, "crawl_pages": 0},
        )  # fmt: skip
        words = ["evaluators", "calibrate", "judge", "--model", "openai:store", "--samples", "1"]
        words += ["--base-url", server.base_url, "--workspace", str(tmp_path), "--json"]
        measured = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert report.status == coded.status == "finished"
    assert report.tasks.admitted >= 2 and coded.tasks.admitted >= 1
    assert report.heldout is not None and report.heldout.baseline is not None
    looked = kept(Path(report.run_dir) / FILE)
    assert {survey.start for survey in looked} == {
        "visitor", "basket", "member", "ready", "manager",
    }  # fmt: skip
    with Records.open(Workspace.open(tmp_path)) as records:
        outside = records.role_calls.all(report.run_id)
        for run, executor in ((report.run_id, "react"), (coded.run_id, "code")):
            rows = records.attempts.all(run, kind="practice")
            outcomes = records.trajectories.outcomes([row.attempt_id for row in rows])
            assert any(outcome.score.success for outcome in outcomes), executor
            assert all(outcome.files["last.png"] for outcome in outcomes)
    assert {call.role for call in outside} >= {"proposer", "curator"}
    # What was found by looking around is told to whoever proposes, quoted as data.
    told = [json.dumps(call.request, ensure_ascii=False) for call in outside]
    assert any("Looking around:" in text and "Add " in text for text in told)
    figures = json.loads(measured.output)["figures"]
    # Of each outcome some, else a judge that always says the same would agree.
    assert figures["both"] and figures["neither"]
    assert figures["agreement"]["value"] >= 0.8
