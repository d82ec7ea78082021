# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUntypedBaseClass=false
# torch and trl are in the trainers' environment, where no type checker runs.
"""GRPO on attempts that are drawn for each step by the weights of that step.

The loss is that of `train_grpo_replay`, ratios to what was recorded included: server and trainer
do not reckon the same numbers to the last digit, and the ratio is what makes that right. Where
attempts come from is the starter's affair; here an adapter is written, and rows are waited for.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, cast

from train_grpo_replay import Batch, Recorded, Replay, recorded
from trainer_job import Answers, Job, Refused
from training_session import Prepared, run
from training_weights import load_tokenizer


def train(job: Job, answers: Answers) -> None:
    """See `training_session.run`."""
    run(job, answers, lambda job: prepare(job, answers))


def prepare(job: Job, answers: Answers) -> Prepared:
    """The rows of the first step, which the probes are taken from."""
    if not job["steps"]:
        raise Refused("trl-grpo-live needs to know for how long: give --steps.")
    tokenizer = load_tokenizer(job)
    kept = job.work / "first.json"
    if not kept.exists():
        told = _wanted(answers, job, 1, job.adapter)
        part = kept.with_suffix(".part")
        part.write_text(json.dumps(told), encoding="utf-8")
        part.rename(kept)
    first = read_rows(json.loads(kept.read_text(encoding="utf-8")))

    def build(model: Any) -> Live:
        return Live(job, answers, first, model, tokenizer)

    sequences = [
        ([*row.prompt, *row.completion], [False] * len(row.prompt) + [m == 1 for m in row.mask])
        for row in first
    ]
    return Prepared(len(first), sequences, build)


def read_rows(told: dict[str, Any]) -> list[Recorded]:
    """The rows that were practised, each file the one that was checked.

    Raises:
        Refused: it is not.
    """
    body = Path(told["rows"]).read_bytes()
    if hashlib.sha256(body).hexdigest() != told["sha256"]:
        raise Refused(f"{told['rows']} changed while it was being read; run the command again.")
    rows = [json.loads(line) for line in body.decode().splitlines()]
    values = Path(told["advantages"]).read_text(encoding="utf-8").splitlines()
    return [recorded(row, json.loads(line)) for row, line in zip(rows, values, strict=True)]


def _wanted(answers: Answers, job: Job, step: int, adapter: Path | None) -> dict[str, Any]:
    answers.say("wanted", step=step, adapter=str(adapter) if adapter else None)
    return cast("dict[str, Any]", job.inbox.get())


class Live(Replay):
    """The replay trainer, whose rows are asked for before each step."""

    def __init__(
        self, job: Job, answers: Answers, first: list[Recorded], model: Any, tokenizer: Any
    ) -> None:
        super().__init__(job, first, model, tokenizer)
        self._job = job
        self._answers = answers
        self._first = first

    def _generate_and_score_completions(self, inputs: list[Batch]) -> Batch:
        """All rows that were practised for this step, as many as they are."""
        step = cast("int", self.state.global_step) + 1
        self._recorded = self._first if step == 1 else self._drawn(step)
        return super()._generate_and_score_completions(
            [{"row": at} for at in range(len(self._recorded))]
        )

    def _drawn(self, step: int) -> list[Recorded]:
        place = self._job.work / "adapters" / f"step-{step:05d}"
        shutil.rmtree(place, ignore_errors=True)
        part = place.with_name(f".{place.name}")
        shutil.rmtree(part, ignore_errors=True)
        model = self.accelerator.unwrap_model(self.model)
        model.save_pretrained(part, selected_adapters=["default"])
        part.rename(place)
        told = _wanted(self._answers, self._job, step, place)
        self._metrics["train"]["rows/rewarded"].append(told["solved"] / told["of"])
        found = read_rows(told)
        shutil.rmtree(place, ignore_errors=True)
        for number, row in enumerate(found, start=1):
            self._job.fits(len(row.prompt) + len(row.completion), number)
        return found
