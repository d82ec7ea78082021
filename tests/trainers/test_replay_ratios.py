"""The recorded log-probabilities are what the replay trainer's ratio is to.

TRL's own trainer takes them and uses them nowhere, so that a row drawn by another policy trains as
if these weights had drawn it: nothing fails, and the figures look right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import agentlab.training.trainers.training as training
from agentlab.training.trainers.request import Parameters, TrainRequest
from tests.trainers.checked_jobs import checked_job
from tests.trainers.written_exports import TOOLS, rows_of, talk, write_export

CHECK = Path(__file__).parent / "check_ratios.py"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def found(
    base: Path, tmp_path_factory: pytest.TempPathFactory, module_python: Path
) -> dict[str, Any]:
    """What `check_ratios.py` says of a job as `agentlab train` writes it."""
    folder = tmp_path_factory.mktemp("ratios")
    rows = rows_of("trl-grpo-replay")
    rows[1]["weight"] = 0.5
    data = write_export(folder / "data", "trl-grpo-replay", base, rows)
    request = TrainRequest(
        trainer="trl-grpo-replay",
        data=(data,),
        base=base,
        out=folder / "out",
        parameters=Parameters(batch=6),
    )
    chat = folder / "chat.json"
    chat.write_text(json.dumps({"messages": talk("a", "here"), "tools": TOOLS}), encoding="utf-8")
    return checked_job(request, module_python, CHECK, chat)


def test_the_loss_is_that_of_the_formula(found: dict[str, Any]) -> None:
    for name in ("recorded", "wrong"):
        assert found[name]["trainer"] == pytest.approx(found[name]["by_hand"], abs=1e-5)


def test_log_probabilities_that_are_wrong_change_the_loss(found: dict[str, Any]) -> None:
    recorded, wrong = found["recorded"], found["wrong"]
    # Unused they could change nothing: the ratio would be 1 throughout.
    assert recorded["unused"] == pytest.approx(wrong["unused"], abs=1e-9)
    assert abs(wrong["trainer"] - wrong["unused"]) > 0.1
    # exp(3) is about 20: every ratio is far beyond the clip, and half of the rows are better.
    assert wrong["ratio_p50"] == pytest.approx(20.0855 * recorded["ratio_p50"], rel=1e-3)
    assert wrong["clipped"] > 0.4 and recorded["clipped"] < wrong["clipped"]


def test_four_tokens_by_hand(found: dict[str, Any]) -> None:
    # Better row: ratios .5/.25 = 2, clipped to 1.2, and .5/.5 = 1. Worse row of weight 1/2:
    # ratios .5/.05 = 10, capped at 4, and 2. The third token of each does not count.
    # -(1 * (1.2 + 1) - 0.5 * (4 + 2)) / (1 + 1 + 0.5 + 0.5) = 0.8 / 3
    told = found["numbers"]
    assert told["loss"] == pytest.approx(0.8 / 3, abs=1e-6)
    assert told["ratio/max"] == pytest.approx(10, rel=1e-5)
    assert told["ratio/mean"] == pytest.approx((2 + 1 + 10 + 2) / 4, rel=1e-5)
    # Where the clip or the cap holds, nothing moves; else weight * ratio * -advantage / 3.
    better, worse = told["gradient"]
    assert better == pytest.approx([0, 0, -1 / 3], abs=1e-6)
    assert worse == pytest.approx([0, 0.5 * 2 / 3, 0], abs=1e-6)


def test_attempts_that_came_out_alike_take_no_step(
    base: Path, tmp_path: Path, module_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTLAB_TRAIN_PYTHON", str(module_python))
    rows = rows_of("trl-grpo-replay")
    alike = [{**row, "reward": 1.0, "group_id": "alike"} for row in rows[:2]]
    reports: list[training.TrainReport] = []
    for name, given in (("mixed", rows), ("more", [*rows[:2], *alike, *rows[2:]])):
        request = TrainRequest(
            trainer="trl-grpo-replay",
            data=(write_export(tmp_path / f"{name}-data", "trl-grpo-replay", base, given),),
            base=base,
            out=tmp_path / name,
            parameters=Parameters(batch=2),
        )
        reports.append(training.train(request))
    mixed, more = reports
    assert (mixed.steps, more.steps, more.rows) == (3, 3, 8)
    assert mixed.weights_sha256 == more.weights_sha256
    assert "2 of 8 rows are of groups whose attempts came out alike" in " ".join(more.notes)
    assert "came out alike" not in " ".join(mixed.notes)


def test_of_a_conversation_the_replies_count_and_what_tools_said_does_not(
    found: dict[str, Any],
) -> None:
    told = found["chat"]
    call = '<tool_call>{"name": "go", "arguments": {"to": "a"}}</tool_call><|im_end|>'
    assert told["drawn"] == told["rest"] == call + "here<|im_end|>"
    assert told["prompt"].endswith("<|im_start|>user\ngo a<|im_end|>\n<|im_start|>assistant\n")
    assert "there<|im_end|>" in told["all"]
