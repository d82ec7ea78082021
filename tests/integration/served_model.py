"""A tiny model behind the local server, for tests; skipped where there is no Python with torch.

The model is made and served under the trainers' Python, by the commands that users have.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from agentlab.serve.starting import command, environment
from agentlab.training.trainers.interpreter import VARIABLE
from examples.tiny_policy.make import QUICK, make
from tests.required import trainers_python

ROOT = Path(__file__).parents[2]
BATCH, WAITING = 6, 10
python = trainers_python
"""Under the name by which tests of served models ask for it."""


class Models(NamedTuple):
    """Folders of a model and its adapters, and what plain transformers says of some tokens."""

    base: Path
    adapters: Path
    ids: list[int]
    references: Mapping[str, list[float]]


class Running(NamedTuple):
    """A server that runs."""

    url: str
    """With `/v1`."""
    process: subprocess.Popen[str]
    http: httpx.Client

    def post(self, path: str, body: object) -> httpx.Response:
        return self.http.post(path, json=body)

    def score(self, model: str, ids: list[int]) -> list[float]:
        """The server's log-probability of each token but the first."""
        body = {"model": model, "prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 0}
        choice = self.post("/v1/completions", body).json()["choices"][0]
        told = choice["logprobs"]["token_logprobs"]
        assert told[0] is None and len(told) == len(ids)
        return told[1:]


def make_policy(folder: Path) -> Path:
    """A quick tiny policy; made once for all tests of a session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(trainers_python()))
        return make(folder / "base", QUICK, cache=folder.parent / "policies")


def make_models(folder: Path) -> Models:
    """A quick tiny policy with two adapters and a variant of all weights."""
    interpreter = trainers_python()
    base = make_policy(folder)
    script = Path(__file__).parent / "adapters_for_tests.py"
    adapters = folder / "adapters"
    subprocess.run([str(interpreter), str(script), str(base), str(adapters)], check=True,
                   env=environment() | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    found: dict[str, Any] = json.loads((adapters / "references.json").read_text(encoding="utf-8"))
    return Models(base, adapters, found["ids"], found["log_probabilities"])


@contextmanager
def serving(folder: Path, *options: str) -> Generator[Running]:
    """The command's server, until the block ends; it must then end by itself when told to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(trainers_python()))
        started = command(folder, options)
    line = [*started, "--batch", str(BATCH), "--waiting", str(WAITING)]
    process = subprocess.Popen(
        line, env=environment() | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        with httpx.Client(base_url=said["url"].removesuffix("/v1"), timeout=60) as http:
            yield Running(said["url"], process, http)
        process.send_signal(signal.SIGTERM)
        # uvicorn ends as the signal says, after it has closed what it serves.
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def copy(folder: Path, to: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(folder, to)
    return to
