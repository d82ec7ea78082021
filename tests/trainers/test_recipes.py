"""Recipes say what was asked in places that verl and prime-rl publish, and travel with hashes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result

from agentlab.cli.main import cli
from tests.trainers.published_schemas import PRIME, VERL
from tests.trainers.tiny_model import CONTEXT
from tests.trainers.written_exports import TOOLS, digest_of, write_export


@pytest.fixture
def verl_data(base: Path, tmp_path: Path) -> Path:
    """An export of verl-sft, as far as a recipe looks into it."""
    data = write_export(tmp_path / "it's data", "verl-sft", base, [{"messages": "[]"}] * 3)
    (data / "data.jsonl").rename(data / "data.parquet")
    (data / "verl_dataset.py").write_text("# the dataset class\n", encoding="utf-8")
    report = json.loads((data / "export.json").read_text(encoding="utf-8"))
    (data / "export.json").write_text(json.dumps({**report, "data": "data.parquet"}))
    return data


@pytest.fixture
def chat_data(base: Path, tmp_path: Path) -> Path:
    """An export of chat."""
    call = {"id": "1", "type": "function", "function": {"name": "go", "arguments": '{"to": "a"}'}}
    rows: list[dict[str, Any]] = [
        {
            "messages": [
                {"role": "user", "content": "go a"},
                {"role": "assistant", "content": "", "tool_calls": [call], "weight": 1},
            ],
            "tools": TOOLS,
        }
    ]
    return write_export(tmp_path / "data", "chat", base, rows)


def write(trainer: str, data: Path, base: Path, out: Path, *more: str) -> Result:
    words = ["train", trainer, "--data", str(data), "--base", str(base), "--out", str(out)]
    return CliRunner().invoke(cli, [*words, *more])


def overrides(launcher: str) -> dict[str, str]:
    """What the launcher hands to verl, as a shell reads it."""
    block = launcher.split("set -- ", 1)[1].split("\n#", 1)[0].replace("\\\n", " ")
    return dict(word.split("=", 1) for word in shlex.split(block))


def test_verl_is_told_in_places_that_it_has(verl_data: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = write("verl", verl_data, base, out, "--lr", "0.001", "--steps", "5", "--seed", "3")
    assert found.exit_code == 0, found.output
    told = overrides((out / "launch.sh").read_text(encoding="utf-8"))
    assert set(told) <= VERL
    assert told["model.path"] == f"'{base}'" and told["model.lora_rank"] == "16"
    # The quote in the path reaches Hydra as one.
    assert (
        told["data.train_files"] == "'" + str(verl_data / "data.parquet").replace("'", "\\'") + "'"
    )
    assert told["trainer.total_training_steps"] == "5" and told["trainer.seed"] == "3"
    assert told["data.max_length"] == str(CONTEXT) and told["data.truncation"] == "error"
    assert told["trainer.logger"] == "[console]"
    assert told["data.custom_cls.name"] == "ExportedConversations"


def test_prime_rl_is_told_in_places_that_it_has(
    chat_data: Path, base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    more = ("--steps", "5", "--schedule", "linear", "--warmup", "2", "--save-every", "5")
    found = write("prime-rl", chat_data, base, out, *more)
    assert found.exit_code == 0, found.output
    told = tomllib.loads((out / "sft.toml").read_text(encoding="utf-8"))
    for section, places in _sections(told).items():
        assert set(places) <= set(PRIME[section]), section
        assert all(isinstance(value, PRIME[section][name]) for name, value in places.items())
    assert told["max_steps"] == 5 and told["scheduler"]["decay_steps"] == 3
    assert told["data"]["seq_len"] == told["model"]["seq_len"] == CONTEXT
    assert told["model"]["lora"]["rank"] == 16
    [row] = [json.loads(x) for x in (out / "dataset" / "train.jsonl").read_text().splitlines()]
    assert "weight" not in row["messages"][1] and json.loads(row["tools"]) == TOOLS


def _sections(told: dict[str, Any], name: str = "") -> dict[str, dict[str, Any]]:
    found = {name: {key: value for key, value in told.items() if not isinstance(value, dict)}}
    for key, value in told.items():
        if isinstance(value, dict):
            found |= _sections(cast("dict[str, Any]", value), f"{name}.{key}".lstrip("."))
    return found


@pytest.mark.parametrize("trainer", ["verl", "prime-rl"])
def test_the_launcher_stops_where_data_changed(
    trainer: str, verl_data: Path, chat_data: Path, base: Path, tmp_path: Path
) -> None:
    data = verl_data if trainer == "verl" else chat_data
    out = tmp_path / "out"
    assert write(trainer, data, base, out, "--steps", "2").exit_code == 0
    # A program that is there and does nothing: reached only where the inputs are the same.
    env = {**os.environ, "VERL_PYTHON": "/bin/true", "PRIME_SFT": "/bin/true"}
    assert subprocess.run([out / "launch.sh"], env=env, timeout=60).returncode == 0
    name = "data.parquet" if trainer == "verl" else "data.jsonl"
    before = digest_of(data / name)
    (data / name).write_bytes((data / name).read_bytes() + b"\n")
    assert digest_of(data / name) != before
    done = subprocess.run([out / "launch.sh"], env=env, timeout=60, capture_output=True)
    assert done.returncode != 0 and b"FAILED" in done.stdout + done.stderr
    assert (
        "was changed after it was exported" in write(trainer, data, base, tmp_path / "two").stderr
    )


def test_no_recipe_is_written_for_origins_that_changed(
    chat_data: Path, base: Path, tmp_path: Path
) -> None:
    origins = chat_data / "provenance.jsonl"
    report = json.loads((chat_data / "export.json").read_text(encoding="utf-8"))
    report["beside_sha256"] = {"provenance.jsonl": digest_of(origins)}
    (chat_data / "export.json").write_text(json.dumps(report), encoding="utf-8")
    told = origins.read_text(encoding="utf-8")
    origins.write_text(told.replace('"own"', '"nobody\'s"'), encoding="utf-8")
    found = write("prime-rl", chat_data, base, tmp_path / "out", "--steps", "2")
    assert found.exit_code == 1 and "is not what was exported" in found.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "give --steps"),
        (("--steps", "2", "--from", "."), "leave --from out"),
        (("--steps", "2", "--batch", "3", "--device-batch", "2"), "no multiple"),
        (("--steps", "2", "--lr", "-1"), "--lr cannot be"),
    ],
)
def test_what_prime_rl_cannot_be_asked(
    more: tuple[str, ...], said: str, chat_data: Path, base: Path, tmp_path: Path
) -> None:
    found = write("prime-rl", chat_data, base, tmp_path / "out", *more)
    assert found.exit_code == 2 and said in found.stderr
    assert not (tmp_path / "out").exists()


def test_a_masked_reply_is_refused_where_it_would_be_trained_on(
    chat_data: Path, base: Path, tmp_path: Path
) -> None:
    rows = [json.loads(x) for x in (chat_data / "data.jsonl").read_text().splitlines()]
    rows[0]["messages"][1]["weight"] = 0
    data = write_export(tmp_path / "masked", "chat", base, rows)
    found = write("prime-rl", data, base, tmp_path / "out", "--steps", "2")
    assert found.exit_code == 1 and "masks a reply" in found.stderr


def test_a_text_may_hold_what_ends_a_line_elsewhere(
    chat_data: Path, base: Path, tmp_path: Path
) -> None:
    row = json.loads((chat_data / "data.jsonl").read_text())
    row["messages"][0]["content"] = "go\u2028a\u0085"
    data = write_export(tmp_path / "odd", "chat", base, [row])
    # As exports spell it.
    (data / "data.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    told = json.loads((data / "export.json").read_text())
    told["data_sha256"] = digest_of(data / "data.jsonl")
    (data / "export.json").write_text(json.dumps(told))
    found = write("prime-rl", data, base, tmp_path / "out", "--steps", "2")
    assert found.exit_code == 0, found.output
    [made] = (tmp_path / "out" / "dataset" / "train.jsonl").read_text().splitlines()
    assert json.loads(made)["messages"][0] == row["messages"][0]
