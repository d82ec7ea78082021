"""Times a training by `agentlab train` and by plain TRL, each in processes of its own.

Steps alone and the whole process are told apart: a short training is mostly the start of torch.
Of a step the median is taken, because a few of ours are lengthened by checkpoints, of which plain
TRL makes none in so few steps; what those cost is in the seconds of the training.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple, cast

from agentlab.serve.starting import environment
from agentlab.training.trainers.interpreter import TrainPython
from agentlab.training.trainers.request import Parameters
from agentlab.types import JsonObject
from tests.benchmarks.bench_speed_figures import FigureName, Run, Side
from tests.benchmarks.bench_speed_inputs import CASES, CaseName, tokens_of

ROOT = Path(__file__).parents[2]
PLAIN = Path(__file__).with_name("plain_trl.py")
RATE = 1e-3
"""Learning rate: high, so that a short training moves the weights far enough to be proven."""
SHOWN = 3000
"""Characters of a failed process's words."""


class Course(NamedTuple):
    """What both sides are told."""

    steps: int
    batch: int
    dtype: str
    device: str
    threads: int
    seed: int


class Took(NamedTuple):
    """What a process took, with those that it started."""

    seconds: float
    processor: float


class Export(NamedTuple):
    """Rows, and the tokens that are in them."""

    name: CaseName
    folder: Path
    tokens: int

    @classmethod
    def of(cls, name: CaseName, folder: Path) -> Export:
        """A written export."""
        lines = (folder / "data.jsonl").read_text(encoding="utf-8").splitlines()
        form = CASES[name].form
        return cls(name, folder, sum(tokens_of(form, json.loads(line)) for line in lines))


def ours(export: Export, base: Path, out: Path, course: Course, *, turn: int) -> Run:
    """Train by the command that users have.

    Raises:
        RuntimeError: it failed; its own words.
    """
    case = CASES[export.name]
    words: dict[str, object] = {
        "data": export.folder, "base": base, "out": out, "method": case.method, "lr": RATE,
        **course._asdict(),
    }  # fmt: skip
    line = [sys.executable, "-m", "agentlab", "train", case.trainer, "--json", "--display", "none"]
    line += [part for name, value in words.items() for part in (f"--{name}", str(value))]
    took, said = _timed(line)
    report = cast("JsonObject", json.loads(said))
    told = cast("JsonObject", json.loads((out / "agentlab.json").read_text(encoding="utf-8")))
    data = cast("list[JsonObject]", told["data"])
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [cast("dict[str, float]", json.loads(line)) for line in lines]
    return _run(
        export.name,
        "agentlab",
        turn,
        # A trainer of messages does not say how many tokens it made of them.
        tokens=cast("int", report["tokens"]) or export.tokens,
        sha256=str(data[0]["sha256"]),
        seconds=[each["seconds"] for each in steps],
        processor=[each["processor_seconds"] for each in steps],
        whole=took,
    )


def plain(
    export: Export, base: Path, out: Path, course: Course, *, turn: int, python: TrainPython
) -> Run:
    """Train by plain TRL, on the same rows with the same figures.

    Raises:
        RuntimeError: it failed; its own words.
    """
    case = CASES[export.name]
    defaults = Parameters()
    out.mkdir(parents=True)
    job, report = out / "job.json", out / "report.json"
    told: JsonObject = {
        "trainer": case.trainer,
        "data": str(export.folder / "data.jsonl"),
        "base": str(base),
        "out": str(out / "trained"),
        "report": str(report),
        "method": case.method,
        "lr": RATE,
        "rank": defaults.rank,
        "alpha": defaults.alpha,
        **course._asdict(),
    }
    job.write_text(json.dumps(told), encoding="utf-8")
    took, _ = _timed([python.path, str(PLAIN), str(job)], threads=course.threads)
    found = cast("JsonObject", json.loads(report.read_text(encoding="utf-8")))
    return _run(
        export.name,
        "plain",
        turn,
        tokens=cast("int", found["tokens"]),
        sha256=str(found["data_sha256"]),
        seconds=cast("list[float]", found["seconds"]),
        processor=cast("list[float]", found["processor_seconds"]),
        whole=took,
    )


def _run(
    name: CaseName,
    side: Side,
    turn: int,
    *,
    tokens: int,
    sha256: str,
    seconds: list[float],
    processor: list[float],
    whole: Took,
) -> Run:
    # The first step is also what came before it: the trainer's own preparations.
    step = median(seconds[1:])
    figures: dict[FigureName, float] = {
        "tokens_per_second": tokens / len(seconds) / step,
        "tokens_per_processor_second": tokens / len(seconds) / median(processor[1:]),
        "steps_per_second": 1 / step,
        "training_seconds": sum(seconds),
        "process_seconds": whole.seconds,
        "processor_seconds": whole.processor,
    }
    return Run(
        case=name, side=side, turn=turn, tokens=tokens, data_sha256=sha256,
        seconds=tuple(seconds), processor_seconds=tuple(processor), figures=figures,
    )  # fmt: skip


def _timed(line: list[str], *, threads: int | None = None) -> tuple[Took, str]:
    """Run a command; what it took, and what it said on stdout."""
    # Ours hands its own environment on to a trainer that sees little of it.
    told = None if threads is None else environment() | {"OMP_NUM_THREADS": str(threads)}
    worked, began = _of_children(), time.monotonic()
    done = subprocess.run(line, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    took = Took(time.monotonic() - began, _of_children() - worked)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(line[1:4])} ended with {done.returncode}: {done.stderr[-SHOWN:]}"
        )
    return took, done.stdout


def _of_children() -> float:
    """Processor seconds of all processes that ended below this one."""
    told = resource.getrusage(resource.RUSAGE_CHILDREN)
    return told.ru_utime + told.ru_stime
