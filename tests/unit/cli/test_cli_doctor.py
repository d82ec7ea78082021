from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentlab.cli import doctor
from agentlab.cli.main import cli
from agentlab.errors import WorkspaceError
from agentlab.records import Workspace
from agentlab.registry import EXTRAS
from agentlab.testing.model_server import ModelServer


def test_json_says_what_runs_learnt_code(tmp_path: Path) -> None:
    place = tmp_path / "work"
    result = CliRunner().invoke(cli, ["doctor", "--json", "--workspace", str(place)])
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["box"].keys() == {"name", "version", "probes", "boxes"}
    boxes = {box["name"]: box for box in document["box"]["boxes"]}
    chosen = boxes[document["box"]["name"]]
    assert chosen["available"] or chosen["name"] == "subprocess"
    assert not boxes["subprocess"]["available"], "a plain subprocess is no box"
    assert not boxes["subprocess"]["probes"]["read_outside"]
    assert len(boxes["subprocess"]["probes"]) == 6
    assert document["box"]["probes"]["starts"] is True
    assert document["python"] == platform.python_version()
    assert document["extras"].keys() == set(EXTRAS.values())
    assert document["workspace"] == {"path": str(place), "writable": True}
    assert document["problems"] == []
    assert not place.exists()


def _quick_box() -> dict[str, object]:
    return {"name": "subprocess", "version": "3", "probes": {"starts": True, "start_ms": 1.5}}


def test_a_person_sees_a_table_and_the_next_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentlab.sandbox.probe.describe_box", _quick_box)
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"Python {platform.python_version()}")
    assert ["starts", "yes"] in [line.split() for line in lines]
    assert lines[-1] == "Next: agentlab practice babyai"


def test_an_endpoint_is_asked_only_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentlab.sandbox.probe.describe_box", _quick_box)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-1234567890abcdef")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert "endpoint" not in CliRunner().invoke(cli, ["doctor"]).stdout
    with ModelServer(lambda _: "hi", models=("a", "b")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        told = CliRunner().invoke(cli, ["doctor"])
        assert f"Model endpoint {server.base_url}: answers, lists 2 models." in told.stdout
        assert (told.exit_code, server.counters().requests) == (0, 1)
    gone = CliRunner().invoke(cli, ["doctor"])
    assert gone.exit_code == 1
    assert f"Problem: The endpoint '{server.base_url}/' failed at the list" in gone.stdout
    assert "sk-canary" not in told.output + gone.output


def test_the_browser_is_named_or_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agentlab.sandbox.probe.describe_box", _quick_box)
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\necho Chromium 1.2\n", encoding="utf-8")
    program.chmod(0o700)
    monkeypatch.setenv("AGENTLAB_CHROMIUM", str(program))
    told = CliRunner().invoke(cli, ["doctor"]).stdout
    assert f"Browser for web pages: {program}, Chromium 1.2." in told.replace("\n", " ")
    monkeypatch.setenv("AGENTLAB_CHROMIUM", str(tmp_path / "none"))
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    assert result.exit_code == 0, "a browser is needed for pages alone"
    browser = json.loads(result.stdout)["browser"]
    assert browser["program"] is None and "apt-get install chromium" in browser["hint"]
    assert f"AGENTLAB_CHROMIUM names {str(tmp_path / 'none')!r}" in browser["hint"]


def test_the_trainers_python_is_named_or_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agentlab.sandbox.probe.describe_box", _quick_box)
    monkeypatch.chdir(tmp_path)
    assert "Trainers: " in CliRunner().invoke(cli, ["doctor"]).stdout
    python = tmp_path / ".venv-train" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 1
    assert "does not start; make it with `make trainers`" in result.stdout


def test_a_workspace_that_cannot_be_written_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agentlab.sandbox.probe.describe_box", _quick_box)
    # A directory below a file can be made by nobody, root included.
    file = tmp_path / "file"
    file.touch()
    result = CliRunner().invoke(cli, ["doctor", "--json", "--workspace", str(file / "work")])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["workspace"]["writable"] is False
    assert "choose another with --workspace" in document["problems"][0]


def test_a_link_that_leads_nowhere_is_not_writable(tmp_path: Path) -> None:
    loop, other = tmp_path / "loop", tmp_path / "other"
    loop.symlink_to(other)
    other.symlink_to(loop)
    dangling, good = tmp_path / "dangling", tmp_path / "good"
    dangling.symlink_to(tmp_path / "gone" / "away")
    good.symlink_to(tmp_path)
    for path in (loop, dangling):
        for workspace in (path, path / "work"):
            assert not doctor.is_writable(workspace)
            with pytest.raises(WorkspaceError):
                Workspace.open(workspace)
    assert doctor.is_writable(good / "work")
    assert not (tmp_path / "gone").exists()


def test_a_read_only_directory_is_not_writable(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    assert not doctor.is_writable(tmp_path / "work")


def test_a_box_that_does_not_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "agentlab.sandbox.probe.describe_box",
        lambda: {"name": "subprocess", "version": "3", "probes": {"starts": False}},
    )
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 1
    assert "'subprocess' does not start" in result.stdout


def test_a_mixed_install_is_explained() -> None:
    assert doctor.mixed_install({doctor.OURS: "0.1.0", doctor.THEIRS: None}) == []
    (problem,) = doctor.mixed_install({doctor.OURS: "0.1.0", doctor.THEIRS: "0.4.0"})
    assert "'agentlab' 0.4.0 (another project)" in problem
    assert "pip uninstall agentlab agentlab-practice" in problem


def test_an_extra_is_there_when_all_its_modules_are() -> None:
    modules = {"one": "a", "two": "a", "three": "b"}
    extras = doctor.installed_extras(modules, present=lambda name: name != "two")
    assert extras == {"a": False, "b": True}
