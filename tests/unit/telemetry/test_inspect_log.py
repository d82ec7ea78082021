"""Logs for Inspect View: its schema as it was read back by the real package, and what is left out.

`make test-trainers` reads such logs with `inspect_ai` itself; the golden file here is one that it
took, so that a change of what is written is seen without it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agentlab.cli.main import cli
from agentlab.errors import NothingToExportError, UnknownNameError, UsageError
from agentlab.records import Records
from agentlab.telemetry.inspect_log import RESERVED, export_inspect
from agentlab.telemetry.inspect_samples import sample
from agentlab.types import AttemptOutcome, Score, Split
from tests.unit.records.samples import RUN, a_spec, a_task, opened
from tests.unit.telemetry.conversation import KEY, a_conversation

GOLDEN = Path(__file__).with_name("inspect_sample.json")


def attempted(
    records: Records,
    slot: int,
    success: bool | None,
    *,
    task: int | None = None,
    split: Split = "practice",
    arm: int = 0,
    assisted: bool = False,
) -> AttemptOutcome:
    kind = "practice" if split == "practice" else "evaluation"
    given = a_task(slot if task is None else task, split=split)
    spec = a_spec(slot + arm * 100_000, given, kind=kind)
    records.attempts.plan(RUN, 0, [spec])
    outcome = a_conversation().model_copy(
        update={"attempt_id": spec.id, "score": Score(success=success), "assisted": assisted}
    )
    records.attempts.record(spec, outcome)
    return outcome


def logs(out: Path) -> dict[str, Any]:
    found = {path.name: json.loads(path.read_text()) for path in sorted(out.glob("*.json"))}
    assert len(found) == len(list(out.iterdir()))  # nothing half written is left
    return found


def verdict(body: Any) -> Any:
    return body["scores"]["success"]["value"] if body["scores"] else None


def test_a_sample_is_as_the_real_package_took_it() -> None:
    spec, outcome = a_spec(0, a_task(0)), a_conversation(20)
    body = sample(spec, outcome, epoch=1, began=0.0)
    assert json.loads(json.dumps(body, allow_nan=False)) == json.loads(GOLDEN.read_text())


def test_verdicts_that_count_in_no_rate_are_no_scores(tmp_path: Path) -> None:
    with opened(tmp_path / "ws") as records:
        attempted(records, 0, True)
        attempted(records, 1, False, task=0)  # once more at the same task
        attempted(records, 2, None)
        attempted(records, 3, True, assisted=True)
        lost = a_spec(4, a_task(4))
        records.attempts.plan(RUN, 0, [lost])
        failed = AttemptOutcome(
            attempt_id=lost.id, status="infrastructure_failure", error=f"it hung, {KEY}"
        )
        records.attempts.record(lost, failed)
        report = export_inspect(records, [RUN], tmp_path / "logs")
        again = export_inspect(records, [RUN], tmp_path / "again")
    assert [file.samples for file in report.files] == [5]
    (log,) = logs(tmp_path / "logs").values()
    assert list(logs(tmp_path / "again").values()) == [log] and len(again.files) == 1
    # The head is read up to the samples, and so must hold everything else.
    assert list(log)[-1] == "samples"
    assert (log["version"], log["status"]) == (2, "started")
    told = [(s["id"], s["epoch"], verdict(s)) for s in log["samples"]]
    assert told == [
        ("task-0", 1, "C"),
        ("task-0", 2, "I"),
        ("task-2", 1, None),
        ("task-3", 1, None),
        ("task-4", 1, None),
    ]
    assert log["samples"][4]["error"]["message"].startswith("it hung")
    score = log["results"]["scores"][0]
    assert (score["scored_samples"], score["unscored_samples"]) == (2, 3)
    assert score["metrics"]["accuracy"]["value"] == 0.5
    assert log["results"]["completed_samples"] == 4
    assert log["stats"]["model_usage"]["m-2026"] == {
        "input_tokens": 240, "output_tokens": 32, "total_tokens": 272, "total_cost": 2.0,
        "input_tokens_cache_read": 64,
    }  # fmt: skip
    assert set(log["stats"]["role_usage"]) == {"executor", "evaluator"}


def test_what_is_reserved_is_left_out_or_stands_apart(tmp_path: Path) -> None:
    with opened(tmp_path / "ws") as records:
        attempted(records, 8, True, split="dev")
        attempted(records, 9, True, split="heldout")
        attempted(records, 9, False, split="heldout", arm=1)
        with pytest.raises(NothingToExportError, match="3 are at reserved tasks"):
            export_inspect(records, [RUN], tmp_path / "none")
        attempted(records, 0, True)
        report = export_inspect(records, [RUN], tmp_path / "logs")
        assert [(f.split, f.samples) for f in report.files] == [("practice", 1)]
        assert report.reserved == 3
        whole = export_inspect(records, [RUN], tmp_path / "whole", reserved=True)
        with pytest.raises(UsageError, match="name a new folder"):
            export_inspect(records, [RUN], tmp_path / "whole")
        with pytest.raises(UnknownNameError):
            export_inspect(records, ["nothing"], tmp_path / "x")
    assert [f.split for f in whole.files] == ["dev", "heldout", "heldout", "practice"]
    for log in logs(tmp_path / "whole").values():
        split = log["eval"]["metadata"]["split"]
        assert (RESERVED in log["eval"]["tags"]) is (split != "practice")
        assert {s["metadata"]["split"] for s in log["samples"]} == {split}
    for log in logs(tmp_path / "logs").values():
        assert "heldout" not in json.dumps(log)


def test_secrets_are_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    with opened(tmp_path / "ws") as records:
        attempted(records, 0, True)
        export_inspect(records, [RUN], tmp_path / "logs")
    (path,) = (tmp_path / "logs").iterdir()
    assert KEY not in path.read_text() and path.read_text().isascii()


def export(workspace: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["export", RUN, *words, f"--workspace={workspace}"])


def test_the_command_says_what_it_wrote_and_what_it_left_out(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    with opened(workspace) as records:
        attempted(records, 0, True)
        attempted(records, 9, True, split="heldout")
    done = export(workspace, "--format=inspect", f"--out={tmp_path / 'logs'}")
    assert done.exit_code == 0, done.output
    assert "Left out 1 attempt at tasks of dev and heldout" in done.stdout
    assert "inspect view --log-dir" in done.stdout
    wrong = (
        ("--format=inspect", "--view=groups"),
        ("--format=inspect", "--terms=m=own"),
        ("--format=chat", "--reserved"),
    )
    for words in wrong:
        refused = export(workspace, *words, f"--out={tmp_path / 'no'}")
        assert refused.exit_code == 2, refused.output
        assert not (tmp_path / "no").exists()
