"""Rows that lost their hint, and replayed ones: from practice through an export into weights."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.records import Records, Workspace
from agentlab.testing.model_server import tokens
from agentlab.testing.model_server.server import ModelServer
from agentlab.training.exporting import ExportRequest, ViewName, export
from agentlab.training.views.replayed import ramp
from agentlab.types import ChatRequest, Insight, Status
from tests.integration.test_export_of_real_runs import HINT, OPTIONS, sloppy
from tests.trainers.test_trained import IDS, record, train
from tests.trainers.tiny_model import write_model
from tests.trainers.written_exports import rows_of, write_export

ROUNDS = 2
SMALL = ("--steps", "2", "--batch", "4", "--lr", "0.01", "--rank", "4")
READ = """
import json, sys
from datasets import load_dataset
found = load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
assert [dict(row) for row in found] == [json.loads(line) for line in lines]
print(found.features[sys.argv[3]].dtype)
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows every id of the endpoint."""
    folder = tmp_path_factory.mktemp("models") / "served"
    return write_model(folder, unused=tokens.FIRST_ID + IDS, context=16_384)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of a run in which advice helped and was withheld at random, the two views."""
    place = tmp_path_factory.mktemp("advised")

    def likely(request: ChatRequest) -> float:
        return 0.4 if HINT in request.messages[1].text else 1.0

    with Records.open(Workspace.open(place / "ws")) as records:
        hint = Insight(id="insight-1", environment="courier", condition="any", advice=HINT)
        records.items.save_insight(hint)
        moves: tuple[Status, ...] = ("quarantined", "verified", "active")
        for status in moves:
            records.items.move(hint.id, status, reason="for the test")
    options: dict[str, Any] = {**OPTIONS, "rounds": ROUNDS, "attempts": 24, "group": 6}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "VOCABULARY", IDS)
        with ModelServer(sloppy(likely)) as server:
            options["endpoint.base_url"] = server.base_url
            run = agentlab.practice("courier", workspace=place / "ws", **options).run_id
    views: tuple[ViewName, ...] = ("hinted", "replayed")
    with Records.open(Workspace.open(place / "ws", create=False)) as records:
        for view in views:
            export(records, ExportRequest((run,), "trl-grpo-replay", view=view), place / view)
    return {view: place / view for view in views}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def without(mark: str, export_: Path, to: Path) -> Path:
    """The same export as an agentlab that knew of no marks wrote it."""
    to.mkdir()
    for each in export_.iterdir():
        (to / each.name).write_bytes(each.read_bytes())
    rows = [{key: row[key] for key in row if key != mark} for row in lines(to / "data.jsonl")]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (to / "data.jsonl").write_bytes(data)
    told = json.loads((to / "export.json").read_text(encoding="utf-8"))
    told["data_sha256"] = hashlib.sha256(data).hexdigest()
    (to / "export.json").write_text(json.dumps(told), encoding="utf-8")
    return to


@pytest.mark.parametrize(
    ("view", "mark", "kind", "figure"),
    [
        ("hinted", "hint_removed", "bool", "hinted/ratio"),
        ("replayed", "replay_weight", "float64", "replayed/left_out"),
    ],
)
def test_an_export_s_marks_reach_the_loss(
    view: str,
    mark: str,
    kind: str,
    figure: str,
    exports: dict[str, Path],
    served: Path,
    tmp_path: Path,
    train_python: Path,
) -> None:
    data = exports[view]
    values = {row[mark] for row in lines(data / "data.jsonl")}
    assert values == ({True} if view == "hinted" else {ramp(ROUNDS - 1)})
    read = subprocess.run(
        [str(train_python), "-c", READ, str(data / "data.jsonl"), str(tmp_path / "cache"), mark],
        capture_output=True,
        text=True,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")},
        check=False,
    )
    assert read.returncode == 0 and read.stdout.strip() == kind, read.stderr

    out, old = tmp_path / "out", tmp_path / "old"
    found = train("trl-grpo-replay", data, served, out, *SMALL)
    assert found.exit_code == 0, found.output
    steps = lines(out / "metrics.jsonl")
    assert len(steps) == 2 and all(0 <= step[figure] < 1 for step in steps)
    assert all("ratio/p50" in step for step in steps)

    # An export from before there were marks trains as it did, and comes to other weights.
    before = without(mark, data, tmp_path / "before")
    found = train("trl-grpo-replay", before, served, old, *SMALL)
    assert found.exit_code == 0, found.output
    assert not any(figure in step for step in lines(old / "metrics.jsonl"))
    assert record(old)["weights_sha256"] != record(out)["weights_sha256"]
    # A mark that was put in later is a row that was changed.
    (before / "data.jsonl").write_bytes((data / "data.jsonl").read_bytes())
    found = train("trl-grpo-replay", before, served, tmp_path / "changed", *SMALL)
    assert found.exit_code == 1 and "changed after it was exported" in found.stderr


@pytest.mark.usefixtures("train_python")
def test_replayed_rows_without_weight_are_left_out_of_steps(base: Path, tmp_path: Path) -> None:
    rows = rows_of("trl-grpo-replay")
    idle = [{**row, "group_id": "idle", "replay_weight": 0.0} for row in rows[:2]]
    made: list[str] = []
    for name, given in (("plain", rows), ("more", [*rows[:2], *idle, *rows[2:]])):
        data = write_export(tmp_path / f"{name}-data", "trl-grpo-replay", base, given)
        found = train("trl-grpo-replay", data, base, tmp_path / name, *SMALL)
        assert found.exit_code == 0, found.output
        assert ("2 of 8 rows are replayed with the weight 0" in found.stdout) == (name == "more")
        made.append(record(tmp_path / name)["weights_sha256"])
    assert made[0] == made[1]


@pytest.mark.usefixtures("train_python")
def test_beta_holds_to_what_training_began_with(base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-grpo-replay", base)
    for method in ("lora", "full"):
        first, second = tmp_path / method, tmp_path / f"{method}-on"
        for out, more in ((first, ()), (second, ("--from", str(first)))):
            words = (*SMALL, "--beta", "0.1", "--method", method, *more)
            found = train("trl-grpo-replay", data, base, out, *words)
            assert found.exit_code == 0, found.output
            # The first step is taken from the reference itself, be it the base or what came of it.
            begun, later = (step["kl"] for step in lines(out / "metrics.jsonl"))
            assert abs(begun) < 1e-6 < later
