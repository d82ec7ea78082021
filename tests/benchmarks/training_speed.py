"""How fast agentlab trains and serves, beside plain TRL and plain transformers on the same machine.

    python -m tests.benchmarks.training_speed [--parameters 30M] [--device cuda] [--turns 3]

On a model that is made here, with random weights: `agentlab train` beside plain TRL on the same
rows, `agentlab serve-local` beside plain `generate` on the same prompts (and vLLM, where its Python
is at hand), and the chain of both, an adapter that is trained, served and proven live. It prints a
table and writes all raw numbers with hardware, versions and date into `tests/benchmarks/results`.
On a graphics card nothing else is to be said; sizes are then larger by themselves.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from agentlab.training.serving.client import ServerFaultError
from agentlab.training.trainers.interpreter import VARIABLE, TrainPython, train_python
from agentlab.types import JsonObject
from tests.benchmarks.bench_speed_figures import (
    Chain,
    Result,
    Run,
    contrasts,
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
from tests.benchmarks.bench_speed_machine import Machine, machine, slug, vllm_at_hand
from tests.benchmarks.bench_speed_serving import (
    alike,
    complete,
    local_server,
    plain_process,
    process_of,
    prove,
    vllm_server,
)
from tests.benchmarks.bench_speed_training import Course, Export, ours, plain
from tests.trainers.tiny_model import Shape

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
VLLM = "AGENTLAB_VLLM_PYTHON"
TOLERANCE = {"float32": 0.005, "bfloat16": 0.05}
"""Nats a token that the server, which computes in float32, may differ from the trainer by."""
ROUNDS = 2
"""Prompts that each client asks, one after another."""


class Size(NamedTuple):
    """How much is measured, where nothing is said."""

    parameters: str
    steps: int
    batch: int
    length: int
    clients: int
    prompt: int
    new: int


SMALL = Size("3M", steps=30, batch=8, length=128, clients=8, prompt=128, new=64)
"""For a CPU: minutes."""
LARGE = Size("30M", steps=60, batch=16, length=512, clients=16, prompt=256, new=128)
"""For a graphics card."""


class Asked(NamedTuple):
    """What is measured."""

    size: Size
    course: Course
    turns: int
    cases: tuple[CaseName, ...]
    vllm: tuple[str, str] | None
    """The Python that has it, and its version."""


class Setting(NamedTuple):
    """What it is measured with."""

    asked: Asked
    python: TrainPython
    shape: Shape
    model: Path
    work: Path


def train_turns(setting: Setting) -> tuple[list[Run], Path]:
    """All trainings in turn, and the adapter that the first one made.

    Who of a turn comes first changes from turn to turn.
    """
    asked, work = setting.asked, setting.work
    size, course = asked.size, asked.course
    rows = course.steps * course.batch  # one pass, so that order is no difference
    exports: dict[CaseName, Export] = {}
    for name in asked.cases:
        folder = make_export(
            work / f"data-{name}", name, setting.model,
            rows=rows, length=size.length, seed=course.seed,
        )  # fmt: skip
        exports[name] = Export.of(name, folder)
    runs: list[Run] = []
    for turn in range(asked.turns):
        for name, export in exports.items():
            sides = ("agentlab", "plain") if turn % 2 == 0 else ("plain", "agentlab")
            for side in sides:
                out = work / f"{name}-{side}-{turn}"
                if side == "agentlab":
                    runs.append(ours(export, setting.model, out, course, turn=turn))
                elif CASES[name].plain:
                    runs.append(
                        plain(export, setting.model, out, course, turn=turn, python=setting.python)
                    )
                else:
                    continue
                _tell(runs[-1])
                if turn or side == "plain":
                    shutil.rmtree(out)
    return runs, work / f"{asked.cases[0]}-agentlab-0"


def serve_turns(setting: Setting, trained: Path) -> tuple[list[Run], Chain, list[str]]:
    """All completions in turn, the proof of the chain, and what is to be said of them."""
    asked, work, model = setting.asked, setting.work, setting.model
    size, course = asked.size, asked.course
    device, threads = course.device, course.threads
    runs: list[Run] = []
    shares: list[float] = []
    notes: list[str] = []
    with ExitStack() as stack:
        alone = stack.enter_context(
            plain_process(model, python=setting.python, device=device, threads=threads)
        )
        server = stack.enter_context(
            local_server(
                model, setting.shape, log=work / "server.log",
                device=device, threads=threads, clients=size.clients,
            )
        )  # fmt: skip
        urls = {"agentlab": server.base_url}
        own = process_of(work / "server.log")
        if asked.vllm is not None:
            log = work / "vllm.log"
            other = vllm_server(
                model, python=asked.vllm[0], log=log, device=device, clients=size.clients
            )
            try:
                urls["vllm"] = stack.enter_context(other).base_url
            except ServerFaultError as error:
                print(error, flush=True)  # its words name files of this machine
                notes.append(f"vLLM was not measured: {asked.vllm[1]} did not start.")
        for turn in range(-1, asked.turns):
            for batch in (1, size.clients):
                given = prompts(ROUNDS * batch, size.prompt, seed=f"{course.seed} {turn} {batch}")
                case = f"completions, {batch} at a time"
                reference = alone.complete(given, new=size.new, batch=batch)
                replies = {
                    side: complete(
                        url,
                        given,
                        new=size.new,
                        clients=batch,
                        process=own if side == "agentlab" else None,
                    )
                    for side, url in urls.items()
                }
                if turn < 0:  # the first requests are also the start of much else
                    continue
                runs.append(reference.run(case, "plain", turn))
                _tell(runs[-1])
                shares.append(alike(reference, replies["agentlab"]))
                for side, made in replies.items():
                    runs.append(made.run(case, "vllm" if side == "vllm" else "agentlab", turn))
                    _tell(runs[-1])
        (prompt,) = prompts(1, size.prompt, seed=f"{course.seed} chain")
        tolerance = TOLERANCE[course.dtype]
        chain = prove(server.base_url, trained, model, tolerance=tolerance, prompt=prompt)
    share = sum(shares) / len(shares)
    notes.append(f"{share:.0%} of served completions are token for token plain generate's.")
    return runs, chain, notes


def measure(setting: Setting, found: Machine) -> Result:
    """All of it."""
    asked = setting.asked
    began = [round(each, 1) for each in os.getloadavg()]
    trained_runs, trained = train_turns(setting)
    served_runs, chain, notes = serve_turns(setting, trained)
    runs = (*trained_runs, *served_runs)
    if any(not CASES[name].plain for name in asked.cases):
        notes.append("Plain TRL has no replay of recorded attempts, so ours stands alone.")
    if asked.vllm is None:
        notes.append(
            f"vLLM was not measured: {VLLM} names no Python that has a build for this device."
        )
    settings: JsonObject = {
        **asked.size._asdict(),
        **asked.course._asdict(),
        "turns": asked.turns,
        "parameters": parameters_of(setting.shape),
        "shape": dict(setting.shape._asdict()),
        "load_average_before": [*began],
    }
    return Result(
        date=datetime.now(UTC).date().isoformat(),
        device=asked.course.device,
        hardware=found.hardware,
        versions={**found.versions, "vllm": asked.vllm[1] if asked.vllm else None},
        settings=settings,
        contrasts=contrasts(runs),
        chain=chain,
        notes=tuple(notes),
        runs=runs,
    )


def _tell(run: Run) -> None:
    rate = run.figures["tokens_per_second"]
    whole = run.figures.get("process_seconds")
    beside = "" if whole is None else f", {whole:.1f} s in all"
    print(f"turn {run.turn + 1}, {run.case}, {run.side}: {rate:,.0f} tokens/s{beside}", flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="make bench-training", description="Speed of training and serving beside plain TRL."
    )
    made.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    made.add_argument("--parameters", help=f"of the model [{SMALL[0]}; {LARGE[0]} on cuda]")
    for name in Size._fields[1:]:
        usual = f"[{getattr(SMALL, name)}; {getattr(LARGE, name)} on cuda]"
        made.add_argument(f"--{name}", type=int, help=usual)
    made.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    made.add_argument("--turns", type=int, default=3, help="of each side, alternating [3]")
    made.add_argument("--dtype", choices=list(TOLERANCE), default="float32")
    made.add_argument("--threads", type=int, default=1, help="of torch on a CPU [1]")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--no-vllm", action="store_true", help="leave it out where it is at hand")
    made.add_argument("--out", type=Path, help="file of the result")
    return made


def read(given: argparse.Namespace, gpu: str | None) -> Asked:
    """What a command line asks of a machine.

    Raises:
        SystemExit: it cannot be done; says why.
    """
    device = given.device if given.device != "auto" else ("cuda" if gpu else "cpu")
    if device == "cuda" and gpu is None:
        raise SystemExit("torch sees no graphics card here; leave --device out, or mend its build.")
    usual = LARGE if device == "cuda" else SMALL
    told = {name: getattr(given, name) for name in Size._fields if getattr(given, name)}
    size = usual._replace(**told)
    if size.steps < 2 or given.turns < 1:
        raise SystemExit("A step's time is that of those after the first; ask for --steps 2.")
    if given.cases[0] != "sft-lora":
        raise SystemExit("The chain is proven with the adapter of sft-lora; name it first.")
    course = Course(size.steps, size.batch, given.dtype, device, given.threads, given.seed)
    named = [os.environ.get(VLLM, ""), str(ROOT / ".venv-vllm" / "bin" / "python")]
    vllm = None if given.no_vllm else vllm_at_hand([*named, sys.executable], device=device)
    return Asked(size, course, given.turns, tuple(given.cases), vllm)


def main(words: list[str] | None = None) -> None:
    """Measure, print and write."""
    given = parser().parse_args(words)
    python = train_python(start=ROOT)
    os.environ[VARIABLE] = python.path  # for the commands that are started, wherever they look
    # With several cards in sight, both trainers would share each batch among them.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    found = machine(python)
    asked = read(given, found.gpu)
    os.environ["OMP_NUM_THREADS"] = str(asked.course.threads)
    shape = shape_for(parameters_asked(asked.size.parameters))
    print(f"A model of {parameters_of(shape):,} parameters on {asked.course.device}.", flush=True)
    with TemporaryDirectory(prefix="training-speed-") as folder:
        work = Path(folder)
        model = make_model(work / "model", shape, seed=asked.course.seed)
        result = measure(Setting(asked, python, shape, model, work), found)
    name = slug(found.gpu) if asked.course.device == "cuda" and found.gpu else "cpu"
    out = given.out or RESULTS / f"training-{name}-{result.date}.json"
    write_result(result, out)
    print(f"\n{table(result.contrasts)}\n")
    for note in result.notes:
        print(note)
    chain = result.chain
    print(
        f"The adapter that was trained is live: {chain.error:.2g} nats a token from the trainer's "
        f"own, {chain.change:.2g} from the base; it answered with {chain.answered} tokens."
    )
    print(f"Written to {out.relative_to(ROOT) if out.is_relative_to(ROOT) else out.name}.")


if __name__ == "__main__":
    main()
