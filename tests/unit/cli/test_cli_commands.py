"""The real command, in processes of its own, on the small text environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SMALL = (
    "--rounds", "1", "--proposals", "6", "--attempts", "6", "--tool-calls", "200",
    "--heldout", "4", "--heldout-tool-calls", "100", "--concurrency", "1",
)  # fmt: skip


def agentlab(*arguments: str, workspace: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentlab", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        env=os.environ | {"AGENTLAB_WORKSPACE": str(workspace)},
    )


def document(*arguments: str, workspace: Path) -> Any:
    done = agentlab(*arguments, "--json", workspace=workspace)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after a small practice run; `report.json` in it is what was printed."""
    place = tmp_path_factory.mktemp("practised")
    report = document("practice", "courier", "--seed", "3", *SMALL, workspace=place / "work")
    (place / "work" / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return place / "work"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from agentlab.cli.main import cli\n"
        "result = CliRunner().invoke(cli, ['--help']); assert result.exit_code == 0\n"
        "heavy = {'langgraph', 'chromadb', 'openai', 'sqlalchemy', 'numpy', 'rich', 'pydantic'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_training_on_exports_loads_no_agent(tmp_path: Path) -> None:
    words = ["train", "trl-sft", "--data", str(tmp_path), "--base", str(tmp_path), "--out", "none"]
    code = (
        "import sys; from click.testing import CliRunner; from agentlab.cli.main import cli\n"
        f"result = CliRunner().invoke(cli, {words!r}); assert 'holds no model' in result.output\n"
        "print(sorted({'langgraph', 'openai', 'agentlab.runner'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "command",
    ["practice", "evaluate", "resume", "runs list", "runs show", "runs compare", "skills list",
     "skills show", "skills search", "skills remove", "library reindex", "envs list",
     "envs check", "doctor", "insights list", "insights show", "insights remove",
     "evaluators list", "evaluators calibrate"],
)  # fmt: skip
def test_every_command_has_json_and_display(command: str, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from agentlab.cli.main import cli

    result = CliRunner().invoke(cli, [*command.split(), "--help"])
    assert result.exit_code == 0
    for needed in ("--json", "--display [rich|plain|none]", "AGENTLAB_DISPLAY"):
        assert needed in result.output


def test_an_unknown_environment_is_refused(tmp_path: Path) -> None:
    done = agentlab("practice", "courrier", workspace=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].endswith("Did you mean 'courier'?")
    assert "Traceback" not in done.stderr


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    done = agentlab("practice", "courier", "--model", "serch", workspace=tmp_path)
    assert done.returncode == 2
    assert "Did you mean 'search'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_practice_reports_what_was_asked(workspace: Path) -> None:
    report = json.loads((workspace / "report.json").read_text(encoding="utf-8"))
    assert report["status"] == "finished"
    assert Path(report["run_dir"]).is_dir()
    assert report["attempts"] >= 6
    tasks = report["tasks"]
    assert tasks["proposed"] == tasks["admitted"] + sum(tasks["rejected"].values())
    assert report["heldout"]["n"] == 4
    assert len(report["heldout"]["difference"]["interval"]) == 2


def test_runs_are_listed_oldest_first_and_shown(workspace: Path) -> None:
    report = json.loads((workspace / "report.json").read_text(encoding="utf-8"))
    listed = document("runs", "list", workspace=workspace)
    assert [run["run_id"] for run in listed] == [report["run_id"]]
    assert listed[0]["run_dir"] == report["run_dir"]
    assert listed[0]["status"] == "finished"
    shown = document("runs", "show", report["run_id"], workspace=workspace)
    assert shown["config"]["seed"] == 3
    assert [point["round"] for point in shown["curve"]] == [1]
    told = agentlab("runs", "show", report["run_id"], workspace=workspace)
    assert told.stdout.splitlines()[-1].startswith("Next: agentlab ")


def test_resuming_a_finished_run_gives_its_report_again(workspace: Path) -> None:
    report = json.loads((workspace / "report.json").read_text(encoding="utf-8"))
    again = document("resume", report["run_id"], workspace=workspace)
    for name in ("run_id", "run_dir", "attempts", "tasks", "skills", "status"):
        assert again[name] == report[name]


def test_evaluate_with_a_baseline(workspace: Path) -> None:
    report = document(
        "evaluate", "courier", "--baseline", "--tasks", "4", "--tool-calls", "100",
        "--index", "exact", "--embedder", "lexical",
        workspace=workspace,
    )  # fmt: skip
    assert {"success_rate", "n", "interval", "baseline", "difference", "skills_used", "steps"} <= (
        report.keys()
    )
    assert report["baseline"].keys() >= {"success_rate", "n", "interval"}
    assert report["difference"].keys() >= {"value", "interval"}
    assert report["n"] == report["baseline"]["n"] == 4
    refused = agentlab("resume", report["run_id"], workspace=workspace)
    assert refused.returncode == 2
    assert "holds the attempts of an evaluation" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_skills_and_index(workspace: Path) -> None:
    listed = document("skills", "list", workspace=workspace)
    rebuilt = document("library", "reindex", "--embedder", "lexical", workspace=workspace)
    assert rebuilt["items"] <= len(listed)
    found = document(
        "skills", "search", "bring it", "--environment", "courier", workspace=workspace
    )
    assert {match["name"] for match in found} <= {skill["name"] for skill in listed}
    for skill in listed[:1]:
        shown = document(
            "skills", "show", skill["name"], "--environment", "courier", workspace=workspace
        )
        assert f"def {skill['name']}(env" in shown["source"]


def test_an_unknown_run_or_skill_is_one_sentence(workspace: Path) -> None:
    for arguments in (("runs", "show", "nothing"), ("skills", "show", "nothing")):
        done = agentlab(*arguments, workspace=workspace)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert "'nothing'" in done.stderr


def test_environments_are_listed_and_checked(tmp_path: Path) -> None:
    listed = document("envs", "list", workspace=tmp_path)
    assert {"babyai", "courier"} <= {environment["name"] for environment in listed}
    checked = document("envs", "check", "courier", "--tasks", "2", workspace=tmp_path)
    assert checked["passed"] is True
    assert all(line["passed"] or line["skipped"] for line in checked["lines"])
