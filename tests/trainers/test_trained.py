"""What practice recorded is exported, read and trained on by each format's own trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import agentlab
from agentlab.cli.main import cli
from agentlab.testing.model_server import tokens
from agentlab.testing.model_server.server import ModelServer
from agentlab.testing.rules import load_rule
from agentlab.training.trainers.comparing import advantages
from agentlab.training.trainers.export_folder import check_export
from agentlab.training.trainers.model_folder import read_model
from tests.trainers.tiny_model import write_model
from tests.trainers.written_exports import digest_of

pytestmark = pytest.mark.timeout(300)  # each starts torch, which takes seconds


def train(trainer: str, data: Path, base: Path, out: Path, *more: str) -> Result:
    words = ["train", trainer, "--data", str(data), "--base", str(base), "--out", str(out)]
    return CliRunner().invoke(cli, [*words, "--display", "plain", *more])


def record(out: Path) -> dict[str, Any]:
    return json.loads((out / "agentlab.json").read_text(encoding="utf-8"))


IDS = 600
"""Ids that the scripted endpoint is let count with; it has no tokenizer, and knows 50,000."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows every id of the endpoint."""
    folder = tmp_path_factory.mktemp("models") / "served"
    return write_model(folder, unused=tokens.FIRST_ID + IDS, context=16_384)


def practise(folder: Path, **options: Any) -> tuple[Path, str]:
    """A workspace with a small run through an endpoint that gives ids and log-probabilities."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "VOCABULARY", IDS)
        with ModelServer(load_rule("courier")) as server:
            told: dict[str, Any] = {"rounds": 1, "attempts": 6, "group": 2, "heldout": 2}
            told |= {"model": "vllm:rules", "index": "exact", **options}
            told["endpoint.base_url"] = server.base_url
            report = agentlab.practice("courier", workspace=folder, **told)
    return folder, report.run_id


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Attempts of few calls: rows that a byte-level tokenizer does not make long."""
    return practise(tmp_path_factory.mktemp("short") / "ws", seed=6, tool_calls=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Attempts at their own length, some groups of which are mixed."""
    return practise(tmp_path_factory.mktemp("whole") / "ws", seed=5)


def export(practised: tuple[Path, str], form: str, out: Path) -> Path:
    workspace, run = practised
    words = ["export", run, "--format", form, "--out", str(out), "--terms", "rules=own"]
    found = CliRunner().invoke(cli, [*words, "--workspace", str(workspace)])
    assert found.exit_code == 0, found.output
    return out


@pytest.mark.parametrize("form", ["trl-dpo", "trl-kto", "trl-grpo-replay"])
def test_an_export_of_practice_has_no_fault(
    form: str, served: Path, whole: tuple[Path, str], tmp_path: Path
) -> None:
    checked = check_export(export(whole, form, tmp_path / "data"), (form,), read_model(served))
    assert checked.rows > 1
    if form == "trl-grpo-replay":
        named, values = advantages([checked], "grpo")
        assert named == "grpo" and len(values) == checked.rows
        assert [len(each) for each in values] == [reward.drawn for reward in checked.rewards]
        assert min(map(min, values)) < 0 < max(map(max, values))


@pytest.mark.parametrize(
    ("form", "trainer"),
    [("trl-sft", "trl-sft"), ("trl-chat", "trl-sft")],
)
@pytest.mark.usefixtures("train_python")
def test_an_export_of_practice_is_trained_on(
    form: str, trainer: str, served: Path, short: tuple[Path, str], tmp_path: Path
) -> None:
    data, out = export(short, form, tmp_path / "data"), tmp_path / "out"
    more = ("--steps", "2", "--batch", "2", "--lr", "0.01", "--rank", "4")
    found = train(trainer, data, served, out, *more)
    assert found.exit_code == 0, found.output
    told = record(out)
    assert told["trainer"] == trainer and told["kind"] == "adapter" and told["steps"] == 2
    assert told["weights_sha256"] == digest_of(out / "adapter_model.safetensors")
    assert told["name"] == f"lab-v0001-{told['weights_sha256'][:8]}"
    assert told["base"]["weights_sha256"] == digest_of(served / "model.safetensors")
    assert told["data"][0]["sha256"] == digest_of(data / "data.jsonl")
    assert told["probe"] and all(
        len(each["output_ids"]) == len(each["base_logprobs"]) == len(each["trained_logprobs"])
        and each["base_logprobs"] != each["trained_logprobs"]
        for each in told["probe"]
    )
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert "step 2 of 2, loss" in found.stderr
    # The scripted endpoint has no tokenizer to name.
    unnamed = "does not say with which tokenizer" in found.stdout
    assert unnamed == (form == "trl-sft")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]
