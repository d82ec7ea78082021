"""`agentlab export` on the records of a run whose attempts asked a model with token ids."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import agentlab
from agentlab.cli.main import cli
from agentlab.testing.model_server.server import ModelServer
from agentlab.testing.rules import load_rule


@pytest.fixture(scope="module")
def practised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with a small run of a model that gives ids."""
    workspace = tmp_path_factory.mktemp("export") / "ws"
    options: dict[str, Any] = {"rounds": 1, "attempts": 6, "group": 2, "heldout": 2, "seed": 5}
    with ModelServer(load_rule("courier")) as server:
        options |= {"model": "vllm:rules", "index": "exact", "endpoint.base_url": server.base_url}
        report = agentlab.practice("courier", workspace=workspace, **options)
    return workspace, report.run_id


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def export(practised: tuple[Path, str], form: str, out: Path, *more: str) -> Any:
    workspace, run = practised
    words = ["export", run, "--format", form, "--out", str(out), "--workspace", str(workspace)]
    return CliRunner().invoke(cli, [*words, "--json", *more])


def test_rows_are_what_the_endpoint_said(practised: tuple[Path, str], tmp_path: Path) -> None:
    found = export(practised, "trl-sft", tmp_path / "out", "--terms", "rules=own")
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    rows = lines(tmp_path / "out" / "data.jsonl")
    origins = lines(tmp_path / "out" / "provenance.jsonl")
    assert len(rows) == len(origins) == report["rows"] > 0
    assert report["trained"] == sum(sum(x != -100 for x in row["labels"]) for row in rows)
    for row in rows:
        assert len(row["labels"]) == len(row["input_ids"])
        assert all(
            label in (-100, token)
            for label, token in zip(row["labels"], row["input_ids"], strict=True)
        )
    assert {origin["terms"]["rules"] for origin in origins} == {"own"}
    assert all(origin["template"] for origin in origins)


def test_the_same_again_is_the_same_bytes(practised: tuple[Path, str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        export(practised, "trl-kto", tmp_path / name, "--terms", "rules=own")
    for file in ("data.jsonl", "provenance.jsonl", "refusals.jsonl", "export.json"):
        one, two = (tmp_path / name / file for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_nothing_held_out_is_written(practised: tuple[Path, str], tmp_path: Path) -> None:
    from agentlab.records import Records, Workspace

    workspace, run = practised
    with Records.open(Workspace.open(workspace, create=False)) as records:
        attempts = records.attempts.all(run)
    practice = {a.attempt_id for a in attempts if (a.kind, a.split) == ("practice", "practice")}
    assert any(a.split == "heldout" for a in attempts)
    export(practised, "trl-kto", tmp_path / "out", "--terms", "rules=own")
    origins = lines(tmp_path / "out" / "provenance.jsonl")
    assert {id_ for origin in origins for id_ in origin["rollouts"]} <= practice


def test_unknown_terms_are_not_trained_on(practised: tuple[Path, str], tmp_path: Path) -> None:
    found = export(practised, "chat", tmp_path / "out")
    assert found.exit_code == 2
    assert "unknown terms" in found.stderr
    assert not (tmp_path / "out").exists() and not list(tmp_path.iterdir())


def test_terms_are_taken_by_the_name_that_the_model_was_asked_by(
    practised: tuple[Path, str], tmp_path: Path
) -> None:
    for name in ("rules", "openai:rules"):
        out = tmp_path / name.replace(":", "-")
        assert export(practised, "trl-kto", out, "--terms", f"{name}=own").exit_code == 0
        (told,) = {line["terms"]["rules"] for line in lines(out / "provenance.jsonl")}
        assert told == "own"
    refused = export(practised, "trl-kto", tmp_path / "out", "--terms", "elsewhere:rules=own")
    assert refused.exit_code == 2 and "unknown terms" in refused.stderr


def test_groups_hold_all_attempts_at_a_task(practised: tuple[Path, str], tmp_path: Path) -> None:
    more = ("--terms", "rules=own", "--estimator", "rloo")
    found = export(practised, "trl-grpo-replay", tmp_path / "out", *more)
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    rows = lines(tmp_path / "out" / "data.jsonl")
    advantages = lines(tmp_path / "out" / "advantages.jsonl")
    groups: dict[str, set[str]] = {}
    values: dict[str, float] = {}
    for row, advantage in zip(rows, advantages, strict=True):
        groups.setdefault(row["group_id"], set()).add(row["rollout_id"])
        values[row["rollout_id"]] = advantage["value"]
        assert sum(row["env_mask"]) == len(row["logprobs"])
        assert advantage["estimator"] == report["estimator"].split()[0]
    for name in ("provenance.jsonl", "advantages.jsonl"):
        found_hash = hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest()
        assert report["beside_sha256"][name] == found_hash
    assert [len(members) for members in groups.values()] == [2, 2, 2]
    for members in groups.values():
        assert sum(values[member] for member in members) == pytest.approx(0)
    assert report["alike"] == sum(
        all(values[member] == 0 for member in members) for members in groups.values()
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--format", "trl"], "There is no format named 'trl'"),
        (["--format", "chat", "--view", "pairs"], "cannot hold what the view 'pairs' gives"),
        (["--format", "chat", "--estimator", "grpo"], "leave --estimator out"),
        (["--format", "chat", "--terms", "own"], "is no MODEL=TERMS"),
        (["--format", "chat", "--out", "."], "exists"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    practised: tuple[Path, str], tmp_path: Path, more: list[str], said: str
) -> None:
    workspace, run = practised
    words = ["export", run, "--out", str(tmp_path / "out"), "--workspace", str(workspace)]
    found = CliRunner().invoke(cli, [*words, *more])
    assert found.exit_code == 2
    assert said in found.stderr
