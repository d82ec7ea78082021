# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUntypedBaseClass=false
# torch, transformers and trl are in the trainers' environment, where no type checker runs.
"""What all trainers have in common: settings, seeds, checkpoints, figures of each step.

The same job gives the same weights, interrupted or not: one thread unless told otherwise,
deterministic kernels, data in an order that depends on the seed and the epoch alone, and
checkpoints with the state of optimizer, schedule and random generators.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from row_order import RowOrder
from sealed_checkpoints import newest, seal, step_of
from trainer_job import Answers, Job, Refused
from training_weights import (
    Before,
    load_base,
    log_probabilities,
    probes_of,
    save,
    to_train,
)
from transformers import TrainerCallback, set_seed

_LEFT_OUT = ("epoch", "num_tokens", "step_time")
"""Figures that begin anew in a process that goes on, or that `seconds` says for all trainers."""


class Prepared(NamedTuple):
    """What a trainer is made of."""

    rows: int
    sequences: Sequence[tuple[Sequence[int], Sequence[bool]]]
    """Token ids, and of each token whether the policy wrote it: where probes come from."""
    build: Callable[[Any], Any]
    """From the model to the trainer."""


def deterministic(job: Job) -> None:
    """Make torch repeat itself as far as it can, on the device that there is."""
    if job["device"] == "auto":
        job.parameters["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(job["threads"])
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Along with it torch fills all new memory with NaN, to show who reads what nobody wrote; on a
    # CPU that was an eighth of a step, and no result depends on it.
    torch.utils.deterministic.fill_uninitialized_memory = False
    set_seed(job.seed)


def settings(job: Job, rows: int) -> dict[str, Any]:
    """Arguments that each of TRL's configurations takes.

    Args:
        job: what is asked.
        rows: of the data; a batch is never larger.
    """
    batch = min(cast("int", job["batch"]), rows)
    device_batch = min(cast("int", job["device_batch"] or batch), batch)
    while batch % device_batch:  # a step is so many device batches, all of one size
        device_batch -= 1
    half = job["dtype"] == "bfloat16"
    return {
        "output_dir": str(job.work / "checkpoints"),
        "seed": job.seed,
        "data_seed": job.seed,
        "per_device_train_batch_size": device_batch,
        "gradient_accumulation_steps": batch // device_batch,
        "learning_rate": job["lr"],
        "lr_scheduler_type": job["schedule"],
        "warmup_steps": job["warmup"],
        "weight_decay": job["weight_decay"],
        "max_grad_norm": job["clip_norm"],
        # All passes over the data are one sequence, see `row_order`.
        "num_train_epochs": 1,
        "max_steps": job["steps"] or math.ceil(job["epochs"] * rows / batch),
        "logging_steps": 1,
        # Otherwise a loss that is no number is logged as the average of those before it.
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": job["save_every"] or 0.1,
        "save_total_limit": 2,
        "bf16": half,
        "fp16": False,
        "use_cpu": job["device"] == "cpu",
        "gradient_checkpointing": job["gradient_checkpointing"],
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "push_to_hub": False,
    }


class Following(TrainerCallback):  # pyright: ignore[reportUntypedBaseClass]
    """Writes down each step, tells of it, and stops where a figure is none."""

    def __init__(self, answers: Answers, metrics: Path) -> None:
        self._answers = answers
        self._metrics = metrics
        self._since = time.monotonic()
        self._worked = time.process_time()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """A line for each step."""
        told = dict(logs or {})
        if "loss" not in told:  # the summary at the end
            return
        figures = {
            name: value
            for name, value in told.items()
            if isinstance(value, int | float) and name not in _LEFT_OUT
        }
        for name in ("loss", "grad_norm"):
            if not math.isfinite(figures.get(name, 0.0)):
                raise Refused(
                    f"Step {state.global_step} has a {name.replace('_', ' ')} that is no number "
                    f"({figures[name]}); train with a smaller --lr, and look at the rows."
                )
        # A share of nothing (the shortest of no finished replies) is no figure.
        figures = {name: value for name, value in figures.items() if math.isfinite(value)}
        now = time.monotonic()
        figures["seconds"], self._since = now - self._since, now
        # What other work on a shared machine lengthens less.
        worked = time.process_time()
        figures["processor_seconds"], self._worked = worked - self._worked, worked
        line = {"step": state.global_step, **dict(sorted(figures.items()))}
        with open(self._metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._answers.say("step", step=state.global_step, total=state.max_steps, metrics=figures)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A checkpoint is there: seal it."""
        seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")
        self._answers.say("checkpoint", step=state.global_step)


def run(job: Job, answers: Answers, prepare: Callable[[Job], Prepared]) -> None:
    """Train from the last whole checkpoint, or from the start, to the result.

    Raises:
        Refused: training would not be truthful, or came to nothing.
    """
    deterministic(job)
    answers.say("phase", phase="reading the rows")
    prepared = prepare(job)
    probes = probes_of(prepared.sequences)
    if not probes:
        raise Refused(
            "No row has a prompt before its first reply, so nothing could prove later that a "
            "server serves what was trained; export whole attempts."
        )
    answers.say("phase", phase="loading the model")
    base = load_base(job)
    before = log_probabilities(base, probes)
    model = to_train(job, base)
    known = Before(before, before if model is base else log_probabilities(model, probes))
    del base  # weights that go on in full do not need it any more
    trainer = prepared.build(model)
    trainer.row_order = order(job, trainer.args, prepared.rows)
    trainer.add_callback(Following(answers, job.work / "metrics.jsonl"))
    checkpoints = job.work / "checkpoints"
    resumed = newest(checkpoints)
    _cut(job.work / "metrics.jsonl", step_of(resumed))
    answers.say("phase", phase="training", step=step_of(resumed))
    trainer.train(resume_from_checkpoint=str(resumed) if resumed is not None else None)
    answers.say("phase", phase="writing the weights")
    steps = cast("int", trainer.state.global_step)
    trained = trainer.accelerator.unwrap_model(trainer.model)
    save(job, trained, probes, known, steps, job.work / "result")


def order(job: Job, arguments: Any, rows: int) -> RowOrder:
    """The order of rows for a trainer's arguments."""
    accumulated = cast("int", arguments.gradient_accumulation_steps)
    # GRPO reads the rows of a whole step at once, and that as often as it is cut up.
    whole = hasattr(arguments, "steps_per_generation")
    return RowOrder(
        rows,
        batch=arguments.per_device_train_batch_size * accumulated,
        steps=arguments.max_steps,
        seed=job.seed,
        repeats=accumulated if whole else 1,
    )


def sweep(job: Job) -> None:
    """Remove what a failed write left behind, so that there is room again."""
    newest(job.work / "checkpoints")
    shutil.rmtree(job.work / ".result.part", ignore_errors=True)


def _cut(metrics: Path, step: int) -> None:
    """Keep the lines up to a step: those after it will be written again."""
    if not metrics.exists():
        return
    kept: list[str] = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:  # cut short by the end of the process before
            break
    part = metrics.with_suffix(".part")
    part.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    os.replace(part, metrics)
