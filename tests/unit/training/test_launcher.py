"""Servers as processes of their own: started, proven by a request, ended with what they started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from agentlab.errors import ConfigError
from agentlab.testing.adapter_server import write_base
from agentlab.training.serving.client import ModelServerClient, ServerFaultError
from agentlab.training.serving.launcher import ServerProcess

SERVER = """
import sys, time
from pathlib import Path
from agentlab.testing.adapter_server import AdapterApp, AdapterServer
from agentlab.testing.model_server.wire import WireError

def rule(folder):
    return lambda request: "hello"

class DiesLater(AdapterApp):
    def _complete(self, body):
        raise WireError("EngineDeadError: head size 24 is not supported", status=500)

port, base, how = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if how == "ends":
    print("no room for the model", flush=True)
    sys.exit(7)
if how == "sleeps":
    time.sleep(600)
if how == "dies":
    AdapterServer._made = DiesLater
with AdapterServer(rule, base=base, port=port):
    print("up", flush=True)
    time.sleep(600)
"""


def process(tmp_path: Path, how: str, *, seconds: float = 60.0) -> ServerProcess:
    """A server that behaves so."""
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    base = write_base(tmp_path / "base")
    made = ServerProcess("vllm", base, log=tmp_path / "log", seconds=seconds, command=["true"])
    made._command[:] = [sys.executable, str(script), str(made.port), str(base), how]  # pyright: ignore[reportPrivateUsage]
    made._environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}  # pyright: ignore[reportPrivateUsage]
    return made


def test_a_server_is_up_when_it_has_answered_and_gone_when_it_is_closed(tmp_path: Path) -> None:
    with process(tmp_path, "serves") as running:
        client = ModelServerClient(running.base_url)
        assert client.base().name == "base"
        assert running.running
    assert not running.running
    assert not client.healthy()
    running.close()


def test_a_server_that_is_healthy_and_fails_at_its_first_request_is_not_up(tmp_path: Path) -> None:
    server = process(tmp_path, "dies")
    with pytest.raises(ServerFaultError, match=r"fails at its first request.*head size 24"):
        server.start()
    assert not server.running


def test_a_server_that_ends_tells_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ServerFaultError, match=r"ended with 7 .*no room for the model"):
        process(tmp_path, "ends").start()


def test_a_server_that_never_answers_is_ended(tmp_path: Path) -> None:
    server = process(tmp_path, "sleeps", seconds=0.5)
    with pytest.raises(ServerFaultError, match="did not answer /health within"):
        server.start()
    assert not server.running


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    command = [str(tmp_path / "no-python")]
    server = ServerProcess("vllm", tmp_path, log=tmp_path / "log", command=command)
    with pytest.raises(ConfigError, match="cannot be started"):
        server.start()


def test_what_vllm_is_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    made = ServerProcess(
        "vllm", tmp_path, log=tmp_path / "log", name="lab-base", options=("--dtype", "auto")
    )
    line = " ".join(made._command)  # pyright: ignore[reportPrivateUsage]
    assert "-m vllm.entrypoints.openai.api_server --model" in line
    assert "--host 127.0.0.1" in line
    assert "--enable-lora" in line
    # What serves, what is proven beside it and what drains: by one at a time, vLLM lets requests to
    # the second wait for a step in which nobody asks the first.
    assert "--max-loras 4" in line
    # A prompt read in parts kills it on a CPU, as soon as the request has a seed.
    assert "--no-enable-chunked-prefill" in line
    # No adapter at the last layer: a prompt's log-probabilities beside other requests kill it then.
    assert "--lora-target-modules q_proj k_proj v_proj o_proj gate_proj up_proj down_proj" in line
    assert "lm_head" not in line
    assert line.endswith("--dtype auto")
    environment = made._environment  # pyright: ignore[reportPrivateUsage]
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert "PYTHONPATH" not in environment
