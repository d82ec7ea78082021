"""A training from request to trained folder: looked at, run, put in place, gone on with if killed.

Beside the folder that is asked for stands another while it is made:

    DIR.training/job.json        what was asked; another request is refused
    DIR.training/checkpoints/    sealed, so that one cut short is not taken for whole
    DIR.training/metrics.jsonl   a line for each step
    DIR.training/trainer.log     what the libraries print
    DIR.training/result/         the weights, when they are written

The same command goes on from the last checkpoint, and gives the weights that it would have given
without a stop. When the folder is in place the other one is removed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import cast

from pydantic import Field

from agentlab.errors import TrainerFaultError, UsageError, WorkspaceError
from agentlab.events import TrainingStepped
from agentlab.protocols import Observer
from agentlab.training.trainers.comparing import advantages
from agentlab.training.trainers.export_folder import check_export
from agentlab.training.trainers.interpreter import train_python, versions
from agentlab.training.trainers.live import LiveAttempts, LivePlan, check_plan, drawn_in
from agentlab.training.trainers.model_folder import ModelFolder, read_model
from agentlab.training.trainers.process import alone_in, run_program
from agentlab.training.trainers.request import TRAINERS, TrainRequest, settled
from agentlab.training.trainers.trained_folder import (
    RECORD,
    TrainedFolder,
    check_going_on,
    put_in_place,
    read_trained,
)
from agentlab.types import Frozen, JsonObject, digest

METRICS = "metrics.jsonl"
LIVE = "live"
"""The folder of what a live training practises, in that of its work."""


class TrainReport(Frozen):
    """What a training came to."""

    out: str
    name: str
    kind: str
    trainer: str
    base: str
    steps: int
    rows: int
    tokens: int
    trained: int
    """Of the tokens, those that count in the loss."""
    weights_sha256: str
    started_from: str | None = None
    estimator: str | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    first_ratio: dict[str, float] | None = None
    """Of a replay's first step, how likely the rows' tokens were under the weights begun with,
    over what was recorded: `p05`, `p50`, `p95`, and the share `off_by_a_tenth`."""
    moved: float
    """Mean distance of the probes' log-probabilities from the base's, in nats."""
    resumed_from: int | None = None
    """The step of the checkpoint that it went on from."""
    existed: bool = False
    """Whether it had been trained before, by the same request, and nothing was done."""
    notes: tuple[str, ...] = Field(default=())


def train(
    request: TrainRequest, *, observers: Sequence[Observer] = (), live: LivePlan | None = None
) -> TrainReport:
    """Train, or go on with a training that was stopped.

    Args:
        request: what is asked.
        observers: told each step as `TrainingStepped`.
        live: where `trl-grpo-live` draws its attempts.

    Raises:
        UsageError: it was asked for wrongly, the folder exists and is another's, or there is no
            Python to train with.
        TrainingRefusedError: data, base or adapter are not what training on them supposes.
        TrainerFaultError: the trainer ended without weights.
        WorkspaceError: the folder cannot be written.
    """
    return _Training(request, observers, live).done()


class _Training:
    """One training under way."""

    def __init__(
        self, request: TrainRequest, observers: Sequence[Observer], live: LivePlan | None
    ) -> None:
        trainer = TRAINERS[request.trainer]
        self._request = request
        self._observers = observers
        self._out = request.out.absolute()
        self._work = self._out.with_name(f"{self._out.name}.training")
        self._base = read_model(request.base)
        self._from = self._going_on()
        self._exports = [
            check_export(folder, trainer.formats, self._base) for folder in request.data
        ]
        self._live = self._checked_live(live)
        self._attempts: LiveAttempts | None = None
        self._estimator: str | None = None
        self._advantages: list[list[float]] = []
        if request.trainer == "trl-grpo-replay":
            self._estimator, self._advantages = advantages(
                self._exports, request.parameters.estimator
            )
        lines = (json.dumps(row) + "\n" for row in self._advantages)
        self._compared = sha256("".join(lines).encode()).hexdigest()
        self._python = train_python()
        self._versions = versions(self._python)
        self._resumed: int | None = None

    def done(self) -> TrainReport:
        """Train where nothing is in place yet."""
        if self._out.exists():
            return self._existing()
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            with alone_in(self._work) as lock:
                self._begin()
                if not (self._work / "result").is_dir():
                    run_program(
                        self._work / "job.json",
                        self._python,
                        self._follow,
                        lock=lock,
                        threads=self._request.parameters.threads,
                    )
                shutil.copyfile(self._work / METRICS, self._work / "result" / METRICS)
                trained = put_in_place(
                    self._work / "result", self._out, self._record(), version=self._version()
                )
        except OSError as error:
            raise WorkspaceError(
                f"The training cannot be written to {str(self._work)!r} ({error.strerror}); make "
                "room, then the same command goes on."
            ) from error
        shutil.rmtree(self._work, ignore_errors=True)
        return self._report(trained)

    def _checked_live(self, live: LivePlan | None) -> LivePlan | None:
        request = self._request
        if request.trainer == "trl-grpo-live":
            plan = check_plan(None if request.data else live, request.method)
            if request.parameters.steps is None:
                raise UsageError("trl-grpo-live has no passes over data; give --steps.")
            if request.parameters.device_batch is not None:
                raise UsageError(
                    "trl-grpo-live takes all rows of a step at once; leave --device-batch out, and "
                    "practise fewer attempts a step."
                )
            return plan
        if live is not None or not request.data:
            raise UsageError(
                f"{request.trainer} trains on exports; give --data, and no --environment."
            )
        return None

    def _going_on(self) -> TrainedFolder | None:
        if self._request.adapter is None:
            return None
        trained = read_trained(self._request.adapter)
        check_going_on(trained, self._base, self._request.method)
        return trained

    def _existing(self) -> TrainReport:
        """The folder that is there, if this very request made it.

        Raises:
            UsageError: it is another's.
        """
        if (self._out / RECORD).is_file():
            trained = read_trained(self._out)
            if trained.record.get("request_sha256") == self._digest():
                shutil.rmtree(self._work, ignore_errors=True)
                return self._report(trained).model_copy(update={"existed": True})
        raise UsageError(
            f"{str(self._out)!r} exists and is not what this command would train; name a new "
            "folder with --out."
        )

    def _begin(self) -> None:
        """Write the job, or see that the one which is there is the same.

        Raises:
            WorkspaceError: an unfinished training of another request is there.
        """
        job = self._work / "job.json"
        if job.exists():
            try:
                told = cast("JsonObject", json.loads(job.read_text(encoding="utf-8")))
            except ValueError:
                told = {}
            if told.get("request_sha256") != self._digest():
                raise WorkspaceError(
                    f"{str(self._work)!r} holds an unfinished training of another request (other "
                    "data, base, parameters or library versions); remove it, or name another --out."
                )
            return
        with open(self._work / "advantages.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in self._advantages)
        part = job.with_suffix(".part")
        part.write_text(json.dumps(self._job()), encoding="utf-8")
        os.replace(part, job)

    def _job(self) -> JsonObject:
        request = self._request
        return {
            "request_sha256": self._digest(),
            "work": str(self._work),
            "trainer": request.trainer,
            "base": str(self._base.path),
            "from": str(self._from.path) if self._from else None,
            "method": request.method,
            "seed": request.seed,
            "context": self._base.context,
            "chat_template_sha256": self._base.chat_template_sha256,
            "data": [
                {"path": str(e.data), "sha256": e.sha256, "format": e.format} for e in self._exports
            ],
            "parameters": settled(request),
        }

    def _digest(self) -> str:
        """Of everything that the weights depend on."""
        request = self._request
        return digest(
            request.trainer,
            request.method,
            request.seed,
            settled(request),
            _described(self._base),
            [each.sha256 for each in self._exports],
            self._compared,
            self._live.described if self._live else None,
            self._from.record["weights_sha256"] if self._from else None,
            self._versions,
        )

    def _version(self) -> int:
        if self._request.version is not None:
            return self._request.version
        return self._from.version + 1 if self._from else 1

    def _record(self) -> JsonObject:
        request = self._request
        return {
            "base": {
                "path": str(self._base.path),
                "weights_sha256": self._base.weights_sha256,
                "config_sha256": self._base.config_sha256,
            },
            "tokenizer_sha256": self._base.tokenizer_sha256,
            "chat_template_sha256": self._base.chat_template_sha256,
            "trainer": request.trainer,
            "method": request.method,
            "seed": request.seed,
            "parameters": settled(request),
            "estimator": self._estimator,
            "live": self._live.described if self._live else None,
            "drawn": self._drawn_rows() if self._live else None,
            "data": [each.record for each in self._exports],
            "started_from": self._from.name if self._from else None,
            "practised": [*sorted(self._practised())],
            "request_sha256": self._digest(),
        }

    def _practised(self) -> set[str]:
        """Templates of all that these weights learnt from, those that it goes on from included."""
        found = {each for export in self._exports for each in export.practised}
        before = self._from.record.get("practised") if self._from else None
        found |= set(map(str, before)) if isinstance(before, list) else set()
        return found | set(drawn_in(self._work / LIVE).practised)

    def _idle(self) -> tuple[str, ...]:
        """What is to be said of recorded rows that no loss is formed of."""
        if settled(self._request)["beta"]:
            return ()
        scales = [row.replay_weight for each in self._exports for row in each.rewards]
        rows = list(zip(scales, self._advantages, strict=True))
        alike = sum(not any(row) for _, row in rows)
        weightless = sum(any(row) and not scale for scale, row in rows)
        notes: list[str] = []
        if alike:
            notes.append(
                f"{alike} of {len(rows)} rows are of groups whose attempts came out alike: they "
                "have no advantage, no part in the loss and no place in a step."
            )
        if weightless:
            notes.append(
                f"{weightless} of {len(rows)} rows are replayed with the weight 0, SPEAR's in a "
                "run's first round: they have no part in the loss and no place in a step."
            )
        return tuple(notes)

    def _drawn_rows(self) -> JsonObject:
        drawn = drawn_in(self._work / LIVE)
        return {"rows": drawn.rows, "tokens": drawn.tokens, "trained": drawn.trained}

    def _follow(self, told: JsonObject) -> JsonObject | None:
        if told.get("kind") == "wanted":
            adapter = told.get("adapter")
            return self._drawn().of(
                _count(told.get("step")), Path(adapter) if isinstance(adapter, str) else None
            )
        self._show(told)
        return None

    def _drawn(self) -> LiveAttempts:
        if self._attempts is None:
            assert self._live is not None
            self._attempts = LiveAttempts(
                self._live,
                self._base,
                self._work / LIVE,
                seed=self._request.seed,
                estimator=self._request.parameters.estimator,
            )
        return self._attempts

    def _show(self, told: JsonObject) -> None:
        if told.get("kind") == "phase" and told.get("phase") == "training":
            step = told.get("step")
            self._resumed = step if isinstance(step, int) and step else None
        if told.get("kind") not in ("step", "phase"):
            return
        metrics = told.get("metrics")
        event = TrainingStepped(
            run_id="",
            trainer=self._request.trainer,
            phase=str(told.get("phase", "training")),
            step=_count(told.get("step")),
            steps=_count(told.get("total")),
            metrics=cast("dict[str, float]", metrics) if isinstance(metrics, dict) else {},
        )
        for observer in self._observers:
            observer.notify(event)

    def _report(self, trained: TrainedFolder) -> TrainReport:
        record = trained.record
        steps = _steps(trained.path / METRICS)
        losses = [step["loss"] for step in steps]
        drawn = record.get("drawn")
        live: JsonObject = drawn if isinstance(drawn, dict) else {}
        return TrainReport(
            out=str(trained.path),
            name=trained.name,
            kind=str(record["kind"]),
            trainer=self._request.trainer,
            base=str(self._base.path),
            steps=_count(record["steps"]),
            rows=sum(each.rows for each in self._exports) + _count(live.get("rows")),
            tokens=sum(each.tokens for each in self._exports) + _count(live.get("tokens")),
            trained=sum(each.trained for each in self._exports) + _count(live.get("trained")),
            weights_sha256=str(record["weights_sha256"]),
            started_from=self._from.name if self._from else None,
            estimator=self._estimator,
            first_loss=losses[0] if losses else None,
            last_loss=losses[-1] if losses else None,
            first_ratio=_ratio(steps),
            moved=_moved(record),
            resumed_from=self._resumed,
            notes=(*(note for each in self._exports for note in each.notes), *self._idle()),
        )


def _described(base: ModelFolder) -> JsonObject:
    return {
        "weights": base.weights_sha256,
        "config": base.config_sha256,
        "tokenizer": base.tokenizer_sha256,
        "template": base.chat_template_sha256,
    }


def _steps(metrics: Path) -> list[dict[str, float]]:
    try:
        lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
        return [{name: float(value) for name, value in line.items()} for line in lines]
    except (OSError, ValueError, AttributeError) as error:
        raise TrainerFaultError(f"{str(metrics)!r} is cut short; train again.") from error


def _ratio(steps: list[dict[str, float]]) -> dict[str, float] | None:
    if not steps or "ratio/p50" not in steps[0]:
        return None
    names = ("p05", "p50", "p95", "off_by_a_tenth")
    return {name: steps[0][f"ratio/{name}"] for name in names}


def _moved(record: JsonObject) -> float:
    probes = cast("list[dict[str, list[float]]]", record["probe"])
    apart = [
        abs(one - other)
        for probe in probes
        for one, other in zip(probe["base_logprobs"], probe["trained_logprobs"], strict=True)
    ]
    return sum(apart) / len(apart)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
