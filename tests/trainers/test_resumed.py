"""A training that is killed goes on, and gives the weights that it would have given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import until_ended
from tests.trainers.test_trained import record, train
from tests.trainers.written_exports import write_export, write_marked

ROOT = Path(__file__).parents[2]
OPTIONS = ("--steps", "8", "--batch", "4", "--lr", "0.01", "--rank", "4", "--save-every", "2")
"""Eight steps of four rows, of five, six or twelve: passes over the data end within a step."""
TIMED = ("seconds", "processor_seconds")

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("form", "method", "whom", "marked"),
    [
        ("trl-sft", "full", "command", False),
        ("trl-grpo-replay", "lora", "trainer", False),
        ("trl-grpo-replay", "lora", "command", True),
    ],
    ids=["sft", "grpo", "marked"],
)
@pytest.mark.usefixtures("train_python")
def test_killed_and_gone_on_with(
    form: str, method: str, whom: str, marked: bool, base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    data = write_marked(folder, base) if marked else write_export(folder, form, base)
    more = (*OPTIONS, "--method", method)
    if marked:  # all that the loss can hold, in parts of a step
        more += ("--beta", "0.1", "--device-batch", "2")
    assert train(form, data, base, tmp_path / "whole", *more).exit_code == 0

    out = tmp_path / "killed"
    said = _kill_after(4, whom, form, data, base, out, *more)
    assert whom == "command" or "ended by signal 9" in said
    assert not out.exists()
    checkpoints = sorted(out.with_name("killed.training").glob("checkpoints/checkpoint-*"))
    assert checkpoints
    # What a kill in the middle of a write leaves behind: a folder that looks like the newest.
    cut = checkpoints[-1].with_name("checkpoint-7")
    cut.mkdir()
    (cut / "trainer_state.json").write_text("{", encoding="utf-8")

    found = train(form, data, base, out, *more)
    assert found.exit_code == 0, found.output
    assert "going on from step" in found.stdout
    assert record(out)["weights_sha256"] == record(tmp_path / "whole")["weights_sha256"]
    assert record(out)["probe"] == record(tmp_path / "whole")["probe"]
    assert _steps(out) == _steps(tmp_path / "whole")
    assert not out.with_name("killed.training").exists()
    if marked:
        # Some tokens were left out by lot, and the same ones after the kill.
        left = [step["replayed/left_out"] for step in _steps(out) if "replayed/left_out" in step]
        assert any(share > 0 for share in left[4:])
        assert all(step["kl"] > 0 for step in _steps(out)[1:])
        assert any(step.get("hinted/gamma") for step in _steps(out))

    # The same command once more finds what is there, and does nothing.
    again = train(form, data, base, out, *more)
    assert again.exit_code == 0 and "by this very command before" in again.stdout
    other = train(form, data, base, out, *more, "--seed", "1")
    assert other.exit_code == 2 and "is not what this command would train" in other.stderr


def _kill_after(
    step: int, whom: str, form: str, data: Path, base: Path, out: Path, *more: str
) -> str:
    """Start the command and kill -9 it, or its trainer, when a step is written down."""
    words = ["train", form, "--data", str(data), "--base", str(base), "--out", str(out), *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "agentlab", *words, "--display", "none"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = out.with_name(f"{out.name}.training") / "metrics.jsonl"
    while process.poll() is None:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= step:
            pid = process.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
            trainer = int(children.split()[-1])
            os.kill(trainer if whom == "trainer" else pid, signal.SIGKILL)
            # Left alone, the trainer writes on until it sees that nobody listens any more.
            until_ended(trainer)
            break
        time.sleep(0.005)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == (-signal.SIGKILL if whom == "command" else 1), said
    return said


def _steps(out: Path) -> list[dict[str, float]]:
    """The figures of each step, without those that the clock gave."""
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name not in TIMED}
        for line in lines
    ]
