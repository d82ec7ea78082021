"""`agentlab mcp serve`: what it refuses, in a sentence, and what it never says."""

from __future__ import annotations

import importlib.util
import socket
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agentlab.cli.main import cli
from agentlab.records import Records, Workspace


def serve(*words: str) -> Result:
    return CliRunner().invoke(cli, ["mcp", "serve", "--environment", "courier", *words])


def test_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str) -> ModuleSpec | None:
        return None if name == "mcp" else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    done = serve()
    assert done.exit_code == 2
    assert "pip install 'agentlab-practice[mcp]'" in done.stderr


def test_it_makes_no_workspace(tmp_path: Path) -> None:
    done = serve("--library", str(tmp_path / "none"), "--transport", "http", "--port", "0")
    assert done.exit_code == 2
    assert "AGENTLAB_MCP_TOKEN" in done.stderr
    assert not (tmp_path / "none").exists()


def test_beyond_this_machine_it_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "a-token-that-nobody-may-see-0123"
    monkeypatch.setenv("AGENTLAB_MCP_TOKEN", token)
    words = ("--library", str(tmp_path / "none"), "--transport", "http", "--port", "0")
    done = serve(*words, "--host", "")
    assert "WARNING" in done.stderr
    assert "no workspace" in done.stderr
    assert "WARNING" not in serve(*words).stderr
    assert token not in done.output


def test_a_port_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTLAB_MCP_TOKEN", "a-token-that-nobody-may-see-0123")
    Records.open(Workspace.open(tmp_path)).close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = serve("--library", str(tmp_path), "--transport", "http", "--port", port)
    assert done.exit_code == 2
    assert "cannot listen" in done.stderr


def test_the_core_does_not_need_it() -> None:
    import subprocess
    import sys

    script = "import sys, agentlab, agentlab.cli.main; sys.exit('mcp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[3], timeout=60, check=False
    )
    assert done.returncode == 0
