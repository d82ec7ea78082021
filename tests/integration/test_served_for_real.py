"""The suite for servers, asked of real ones: `agentlab serve-local`, and vLLM where it is at hand.

vLLM has an environment of its own; `make test-vllm` makes it and names its Python.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agentlab.testing.server_conformance import check_server
from agentlab.training.serving.launcher import ServerProcess
from tests.required import trainers_python

ROOT = Path(__file__).parents[2]
VLLM = os.environ.get("AGENTLAB_VLLM_PYTHON")
pytestmark = pytest.mark.timeout(900)  # they start torch


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model and an adapter of it, made by torch."""
    python = trainers_python()
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("made_by_torch.py")
    alone = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    subprocess.run([str(python), str(script), str(folder)], check=True, env={**os.environ, **alone})
    return folder


def test_serve_local_passes_the_suite_for_servers(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTLAB_TRAIN_PYTHON", str(trainers_python()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    base, log = models / "base", tmp_path / "server.log"
    with ServerProcess("local", base, log=log, seconds=300) as server:
        check_server(server.base_url, models / "adapter")


@pytest.mark.skipif(VLLM is None, reason="make test-vllm names a Python with vLLM")
def test_vllm_passes_the_suite_for_servers(models: Path, tmp_path: Path) -> None:
    base, log = models / "base", tmp_path / "server.log"
    with ServerProcess("vllm", base, log=log, python=VLLM or "", seconds=600) as server:
        check_server(server.base_url, models / "adapter")
