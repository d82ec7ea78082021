"""Adapters that are trained further, and trainings that go wrong on the way."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import agentlab.training.trainers.training as training
from agentlab.training.adapters import check_base, read_adapter
from tests.trainers.test_resumed import ROOT
from tests.trainers.test_trained import record, train
from tests.trainers.written_exports import write_export

pytestmark = pytest.mark.timeout(300)
SMALL = ("--steps", "2", "--batch", "4", "--lr", "0.01")


@pytest.mark.usefixtures("train_python")
def test_a_full_disk_leaves_nothing_half_and_room_lets_it_go_on(base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base)
    out = tmp_path / "out"
    words = ["train", "trl-sft", "--data", str(data), "--base", str(base), "--out", str(out)]

    def little_room() -> None:
        # The kernel refuses what makes a file longer, as it does where the disk is full.
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))

    done = subprocess.run(
        [sys.executable, "-m", "agentlab", *words, *SMALL, "--rank", "16"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        preexec_fn=little_room,
        timeout=240,
    )
    assert done.returncode == 1
    assert "could not write" in done.stderr and "make room" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
    assert not list((tmp_path / "out.training").glob("checkpoints/checkpoint-*"))

    found = train("trl-sft", data, base, out, *SMALL, "--rank", "16")
    assert found.exit_code == 0, found.output
    first = record(out)
    assert first["started_from"] is None

    # And on from there, with preferences.
    pairs = write_export(tmp_path / "pairs", "trl-dpo", base)
    found = train("trl-dpo", pairs, base, tmp_path / "next", *SMALL, "--from", str(out))
    assert found.exit_code == 0, found.output
    assert _first_loss(tmp_path / "next") == pytest.approx(math.log(2), abs=1e-4), (
        "the reference is the adapter that it goes on from, not the base"
    )
    second = record(tmp_path / "next")
    assert second["started_from"] == first["name"]
    assert second["name"].startswith("lab-v0002-")
    assert second["base"] == first["base"]
    assert first["practised"] == ["tasks of trl-sft"]
    assert second["practised"] == ["tasks of trl-dpo", "tasks of trl-sft"]


@pytest.mark.usefixtures("train_python")
def test_weights_in_full_go_on_and_still_belong_to_their_base(base: Path, tmp_path: Path) -> None:
    more = (*SMALL, "--method", "full")
    data = write_export(tmp_path / "data", "trl-sft", base)
    found = train("trl-sft", data, base, tmp_path / "out", *more)
    assert found.exit_code == 0, found.output
    pairs = write_export(tmp_path / "pairs", "trl-dpo", base)
    found = train("trl-dpo", pairs, base, tmp_path / "next", *more, "--from", str(tmp_path / "out"))
    assert found.exit_code == 0, found.output
    assert _first_loss(tmp_path / "next") == pytest.approx(math.log(2), abs=1e-4), (
        "the reference is the weights that it goes on from"
    )
    first, second = record(tmp_path / "out"), record(tmp_path / "next")
    assert (second["started_from"], second["base"]) == (first["name"], first["base"])
    assert second["practised"] == ["tasks of trl-dpo", "tasks of trl-sft"]
    # As the gate looks at it, whose server has the base.
    check_base(read_adapter(tmp_path / "next"), base)
    started = {tuple(each["prompt_ids"]): each for each in first["probe"]}
    for probe in second["probe"]:
        assert probe["base_logprobs"] != probe["trained_logprobs"]
        before = started.get(tuple(probe["prompt_ids"]))
        assert before is None or probe["trained_logprobs"] != before["trained_logprobs"]


@pytest.mark.usefixtures("train_python")
def test_verdicts_are_trained_on_once_and_put_in_place_later(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_export(tmp_path / "data", "trl-kto", base)
    with monkeypatch.context() as patch:
        # The disk is full just when the folder is to appear.
        patch.setattr(training, "put_in_place", _no_room)
        found = train("trl-kto", data, base, tmp_path / "out", *SMALL)
        assert found.exit_code == 1 and "make room" in found.stderr
        assert not (tmp_path / "out").exists()
    monkeypatch.setattr(training, "run_program", _not_again)
    found = train("trl-kto", data, base, tmp_path / "out", *SMALL)
    assert found.exit_code == 0, found.output
    assert record(tmp_path / "out")["trainer"] == "trl-kto"
    # Where policy and reference are the same, KTO's loss is 1 - sigmoid(0) for each row.
    assert _first_loss(tmp_path / "out") == pytest.approx(0.5, abs=1e-4)


def _no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _not_again(*_: object, **__: object) -> None:
    raise AssertionError("the weights were written already")


def _first_loss(out: Path) -> float:
    return json.loads((out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])["loss"]


@pytest.mark.usefixtures("train_python")
def test_a_loss_that_is_no_number_is_refused(base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base)
    found = train("trl-sft", data, base, tmp_path / "out", "--method", "full", "--lr", "1e30",
                  "--clip-norm", "1e30", "--steps", "4", "--batch", "4")  # fmt: skip
    assert found.exit_code == 1
    assert "that is no number" in found.stderr and "smaller --lr" in found.stderr
    assert not (tmp_path / "out").exists()
