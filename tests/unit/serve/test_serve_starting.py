"""Which Python serves, and how the command begins and ends without one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentlab.cli.main import cli
from agentlab.errors import ConfigError
from agentlab.serve import starting
from agentlab.serve.local_server.told import before_call, cut, safe_length
from agentlab.training.trainers import interpreter


def python_in(folder: Path) -> Path:
    path = folder / ".venv-train" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.write_text('#!/bin/sh\necho "$0 $*"\n', encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def found(start: Path) -> Path | None:
    python = interpreter.find_python(start=start)
    return Path(python.path) if python else None


def test_the_variable_outranks_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = python_in(tmp_path)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert found(inner) == own
    other = python_in(tmp_path / "other")
    monkeypatch.setenv(interpreter.VARIABLE, str(other))
    assert found(inner) == other
    monkeypatch.setenv(interpreter.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="is no Python"):
        interpreter.find_python(start=inner)


def test_without_any_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make trainers"):
        interpreter.train_python(("a_package_that_is_not_there",), start=tmp_path)


def test_the_command_becomes_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = python_in(tmp_path)
    monkeypatch.setenv(interpreter.VARIABLE, str(own))
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    became: list[tuple[str, list[str], dict[str, str]]] = []

    def become(path: str, line: list[str], variables: dict[str, str]) -> None:
        became.append((path, line, variables))
        raise SystemExit(0)

    monkeypatch.setattr(starting.os, "execve", become)
    words = ["serve-local", str(tmp_path), "--adapter", "a=x", "--adapter", "b=y", "--port", "5"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    ((path, line, variables),) = became
    assert path == line[0] == str(own) and line[1:3] == [str(starting.SERVER), str(tmp_path)]
    assert line[3:7] == ["--adapter", "a=x", "--adapter", "b=y"]
    assert line[line.index("--port") + 1] == "5" and "--name" not in line
    # Packages of this environment must not get in front of those of the other.
    assert "PYTHONPATH" not in variables and variables["HF_HUB_OFFLINE"] == "1"


def test_what_may_still_become_a_call_is_held_back() -> None:
    assert before_call("I go <tool_") == len("I go ")
    assert before_call("I go <tool_call>{") == len("I go ")
    assert before_call("2 < 3") == len("2 < 3")
    assert before_call("x <") == 2
    assert safe_length("caf\ufffd") == 3
    assert cut("one two three", ["three", "tw"]) == ("one ", True)
    assert cut("one", ["two"]) == ("one", False)
