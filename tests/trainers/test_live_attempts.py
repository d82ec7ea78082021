"""Attempts that are drawn for a step of `trl-grpo-live`: practised, exported, compared, hashed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import agentlab
from agentlab.cli.main import cli
from agentlab.errors import ModelFaultError, UsageError
from agentlab.testing.model_server import tokens
from agentlab.testing.model_server.server import ModelServer
from agentlab.testing.rules import load_rule
from agentlab.training.trainers.live import LiveAttempts, LivePlan, Practice
from agentlab.training.trainers.model_folder import read_model
from tests.trainers.tiny_model import write_model

IDS = 600
"""Ids that the scripted endpoint is let count with."""
TOLD = ("--environment", "courier", "--server", "http://127.0.0.1:1/v1")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model that knows every id of the endpoint."""
    return write_model(tmp_path / "base", unused=tokens.FIRST_ID + IDS, context=16_384)


def play(wanted: Practice) -> str:
    """Practise as the command does, with few calls an attempt."""
    options: dict[str, Any] = {"rounds": 1, "attempts": 2, "group": 2, "heldout": 0}
    options |= {"tool_calls": 4, "index": "exact", "proposer": "grammar", "seed": wanted.seed}
    options |= {"model": wanted.model, "endpoint.base_url": wanted.server}
    return agentlab.practice("courier", workspace=wanted.workspace, **options).run_id


def test_a_step_is_practised_exported_and_compared(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "VOCABULARY", IDS)
    with ModelServer(load_rule("courier")) as server:
        plan = LivePlan(server.base_url, play, {})
        drawn = LiveAttempts(plan, read_model(base), tmp_path / "live", seed=1, estimator="dr-grpo")
        told = drawn.of(1, None)
        rows = [json.loads(x) for x in Path(str(told["rows"])).read_text().splitlines()]
        values = [json.loads(x) for x in Path(str(told["advantages"])).read_text().splitlines()]
        assert hashlib.sha256(Path(str(told["rows"])).read_bytes()).hexdigest() == told["sha256"]
        assert [len(each) for each in values] == [sum(row["env_mask"]) for row in rows]
        groups: dict[str, dict[str, float]] = {}
        for row, each in zip(rows, values, strict=True):
            groups.setdefault(row["group_id"], {})[row["rollout_id"]] = each[0]
        assert [len(members) for members in groups.values()] == [2]
        assert all(sum(members.values()) == pytest.approx(0) for members in groups.values())

        # Killed and asked again, the step is practised anew, and is the same.
        again = drawn.of(1, None)
        assert again["sha256"] == told["sha256"]

        # A server that loads no adapters is told from one that does.
        adapter = tmp_path / "adapter"
        adapter.mkdir()
        shutil.copyfile(base / "model.safetensors", adapter / "adapter_model.safetensors")
        (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
        with pytest.raises(ModelFaultError, match="loads adapters"):
            drawn.of(2, adapter)


def test_a_server_that_is_gone_is_told(base: Path, tmp_path: Path) -> None:
    with ModelServer(load_rule("courier")) as server:
        url = server.base_url
    plan = LivePlan(url, play, {})
    with pytest.raises(ModelFaultError, match="start it, then the same command goes on"):
        LiveAttempts(plan, read_model(base), tmp_path / "live", seed=1, estimator="grpo")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--steps", "1"), "give --environment and --server"),
        (("--steps", "1", "--environment", "courier"), "give both"),
        (TOLD, "give --steps"),
        ((*TOLD, "--steps", "1", "--method", "full"), "trains an adapter"),
        ((*TOLD, "--steps", "1", "--device-batch", "1"), "all rows of a step at once"),
    ],
)
def test_what_a_live_training_needs(
    more: tuple[str, ...], said: str, base: Path, tmp_path: Path
) -> None:
    words = ["train", "trl-grpo-live", "--base", str(base), "--out", str(tmp_path / "out"), *more]
    found = CliRunner().invoke(cli, words)
    assert found.exit_code == 2 and said in found.stderr


def test_an_address_with_a_password_is_refused(base: Path, tmp_path: Path) -> None:
    plan = LivePlan("http://me:secret@127.0.0.1:1/v1", play, {})
    with pytest.raises(UsageError) as error:
        LiveAttempts(plan, read_model(base), tmp_path / "live", seed=1, estimator="grpo")
    assert "secret" not in str(error.value)
