"""Each of TRL's formats is read and trained on by its own trainer, on a tiny real model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agentlab.cli.main import cli
from tests.trainers.written_exports import digest_of, write_export

pytestmark = pytest.mark.timeout(300)  # each starts torch, which takes seconds


def train(trainer: str, data: Path, base: Path, out: Path, *more: str) -> Result:
    words = ["train", trainer, "--data", str(data), "--base", str(base), "--out", str(out)]
    return CliRunner().invoke(cli, [*words, "--display", "plain", *more])


def record(out: Path) -> dict[str, Any]:
    return json.loads((out / "agentlab.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("form", "trainer"),
    [
        ("trl-sft", "trl-sft"),
        ("trl-chat", "trl-sft"),
        ("trl-dpo", "trl-dpo"),
        ("trl-kto", "trl-kto"),
        ("trl-grpo-replay", "trl-grpo-replay"),
    ],
)
@pytest.mark.usefixtures("train_python")
def test_a_format_is_trained_on(form: str, trainer: str, base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", form, base)
    out = tmp_path / "out"
    more = ("--steps", "2", "--batch", "4", "--device-batch", "2", "--lr", "0.01", "--rank", "4")
    found = train(trainer, data, base, out, *more)
    assert found.exit_code == 0, found.output
    told = record(out)
    assert told["trainer"] == trainer and told["kind"] == "adapter" and told["steps"] == 2
    assert told["weights_sha256"] == digest_of(out / "adapter_model.safetensors")
    assert told["name"] == f"lab-v0001-{told['weights_sha256'][:8]}"
    assert told["base"]["weights_sha256"] == digest_of(base / "model.safetensors")
    assert told["data"][0]["sha256"] == digest_of(data / "data.jsonl")
    assert told["probe"] and all(
        len(each["output_ids"]) == len(each["base_logprobs"]) == len(each["trained_logprobs"])
        and each["base_logprobs"] != each["trained_logprobs"]
        for each in told["probe"]
    )
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert "step 2 of 2, loss" in found.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]
