"""Live training, whole: a real policy practises for each step, is killed, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.bench_processes import below
from tests.integration.served_model import ROOT, make_policy, serving
from tests.processes import until_ended
from tests.required import trainers_python

# Torch is imported several times, which takes long beside other work.
pytestmark = pytest.mark.timeout(600)
STEPS = 3
PRACTICE = (
    *("attempts=8", "group=4", "tool_calls=6", "index=exact", "heldout=0", "concurrency=4"),
    *("roles.executor.temperature=1.0", "roles.executor.max_tokens=24"),
)


def test_a_live_training_practises_with_its_own_weights_and_outlives_a_kill(tmp_path: Path) -> None:
    base, interpreter = make_policy(tmp_path), trainers_python()
    out = tmp_path / "trained"
    with serving(base, "--name", "tiny") as server:
        line = [
            *(sys.executable, "-m", "agentlab", "train", "trl-grpo-live", "--base", str(base)),
            *("--out", str(out), "--environment", "burrow", "--server", server.url),
            *(word for each in PRACTICE for word in ("--practice", each)),
            *("--steps", str(STEPS), "--lr", "0.001", "--rank", "4", "--save-every", "1"),
            *("--display", "none", "--json"),
        ]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "AGENTLAB_TRAIN_PYTHON": str(interpreter)}

        process = subprocess.Popen(line, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
        killed = _kill_trainer_after(2, process, out.with_name("trained.training"))
        assert killed, "the training ended before it could be killed"
        assert "ended by signal 9" in process.communicate(timeout=120)[1]
        assert process.returncode == 1 and not out.exists()

        done = subprocess.run(
            line, cwd=ROOT, env=env, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0, done.stderr
        served = {each["id"] for each in server.http.get("/v1/models").json()["data"]}
        assert served == {"tiny"}, "adapters of steps stay loaded"
    report = json.loads(done.stdout)
    assert report["resumed_from"] in (1, 2)
    assert report["rows"] >= report["steps"] and report["tokens"] > report["trained"] > 0
    told = json.loads((out / "agentlab.json").read_text(encoding="utf-8"))
    steps = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    # Whoever drew a step's attempts were the weights of that step: server and trainer reckon alike.
    assert all(abs(step["ratio/p50"] - 1) < 0.05 for step in steps)
    assert told["trainer"] == "trl-grpo-live" and told["steps"] == STEPS
    assert told["practised"], "nobody can tell what it has seen"
    moved = [
        abs(one - other)
        for probe in told["probe"]
        for one, other in zip(probe["base_logprobs"], probe["trained_logprobs"], strict=True)
    ]
    assert max(moved) > 0


def _kill_trainer_after(step: int, process: subprocess.Popen[str], work: Path) -> bool:
    """Kill -9 the trainer when a step is written down; whether there was one to kill."""
    metrics = work / "metrics.jsonl"
    while process.poll() is None:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= step:
            for child in below(process.pid):
                if b"run_trainer" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGKILL)
                    until_ended(child)
                    return True
        time.sleep(0.01)
    return False
