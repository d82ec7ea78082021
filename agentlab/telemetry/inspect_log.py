"""A run as logs that Inspect View reads: one JSON file for each split and each arm.

This is for looking, and nothing else: it carries none of what an export for training must (terms,
token ids, provenance). Attempts at tasks that are reserved for `dev` and `heldout` are left out
unless they are asked for, and then stand in files of their own, which say that they are not to be
learnt from. Shadow attempts count in no rate and are left out always.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, cast

from agentlab.errors import NothingToExportError, UsageError, WorkspaceError
from agentlab.graph.evaluation import ARM_SLOTS
from agentlab.models.redaction import known, look_again
from agentlab.records import AttemptRow, Records, RunRow
from agentlab.statistics import wilson
from agentlab.telemetry.inspect_samples import fault, moment, sample, usage_by
from agentlab.types import AttemptOutcome, AttemptSpec, Frozen, JsonObject, ModelCall, Split
from agentlab.version import __version__

VERSION = 2
"""Of the log format."""
BATCH = 32
"""Attempts that are held at a time."""
STATUS = {"finished": "success", "running": "started", "stopped": "cancelled", "failed": "error"}
RESERVED = "reserved: not to be learnt from or selected by"
LONGEST_NAME = 100
"""Characters of each part of a file's name."""


class InspectFile(Frozen):
    """One log that was written."""

    path: str
    run_id: str
    split: Split
    samples: int


class InspectReport(Frozen):
    """What was written."""

    files: tuple[InspectFile, ...]
    reserved: int = 0
    """Attempts at reserved tasks that were left out."""


class _Part(NamedTuple):
    """The attempts of one file."""

    split: Split
    arm: int
    """Which arm of an evaluation; 0 for the first, and for everything else."""
    rows: list[AttemptRow]


def export_inspect(
    records: Records, run_ids: Sequence[str], out: Path, *, reserved: bool = False
) -> InspectReport:
    """Write runs as logs into a new folder.

    Args:
        records: of the workspace.
        run_ids: practice runs, evaluations and agents alike.
        out: the folder, which must not exist yet.
        reserved: whether attempts at tasks of `dev` and `heldout` are written too.

    Raises:
        UnknownNameError: there is no such run.
        NothingToExportError: there is no attempt to write.
        UsageError: the folder exists.
        WorkspaceError: it cannot be written.
    """
    look_again()
    runs = [records.runs.get(run_id) for run_id in dict.fromkeys(run_ids)]
    found = [(run, part) for run in runs for part in _parts(records, run.run_id)]
    chosen = [(run, part) for run, part in found if reserved or part.split == "practice"]
    left = sum(len(part.rows) for _, part in found) - sum(len(part.rows) for _, part in chosen)
    if not chosen:
        why = f"; {left} are at reserved tasks, which --reserved writes" if left else ""
        raise NothingToExportError(f"There is no attempt to look at in these runs{why}.")
    if out.exists():
        raise UsageError(f"{str(out)!r} exists; name a new folder with --out.")
    try:
        out.mkdir(parents=True)
        files = [_write(records, run, part, out) for run, part in chosen]
    except OSError as error:
        raise WorkspaceError(
            f"The logs cannot be written to {str(out)!r} ({error.strerror}); make room, or name "
            "another folder with --out."
        ) from error
    return InspectReport(files=tuple(files), reserved=left)


def _parts(records: Records, run_id: str) -> list[_Part]:
    parts: dict[tuple[str, int], _Part] = {}
    for row in records.attempts.all(run_id):
        if row.kind == "shadow":
            continue
        arm = row.slot // ARM_SLOTS if row.kind == "evaluation" else 0
        split = cast("Split", row.split)
        parts.setdefault((split, arm), _Part(split, arm, [])).rows.append(row)
    return [parts[key] for key in sorted(parts)]


def _write(records: Records, run: RunRow, part: _Part, out: Path) -> InspectFile:
    """One log, a sample at a time."""
    begun = datetime.fromisoformat(run.created_at)
    name = "-".join(p for p in (run.run_id, part.split, f"arm{part.arm}" if part.arm else "") if p)
    # Inspect lists only files of such names: a time, the task, an id.
    task = _safe(str(run.config.get("environment") or "agentlab"))
    path = out / f"{begun:%Y-%m-%dT%H-%M-%S}+00-00_{task}_{_safe(name)}.json"
    temporary, aside = path.with_suffix(".part"), path.with_suffix(".samples")
    tally = _Tally()
    with aside.open("w+", encoding="ascii") as samples:
        for number, body in enumerate(_samples(records, run, part, tally)):
            samples.write(f"{',' if number else ''}\n{_text(body)}")
        # Whoever reads the head alone stops at the samples, so what they came to is before them.
        head = {**_head(run, part, name), **_came_to(run, part, tally)}
        samples.seek(0)
        with temporary.open("w", encoding="ascii") as stream:
            for number, (key, value) in enumerate(head.items()):
                stream.write(f"{',' if number else '{'}\n{_text(key)}: {_text(value)}")
            stream.write(',\n"samples": [')
            shutil.copyfileobj(samples, stream)
            stream.write("\n]\n}\n")
            stream.flush()
            os.fsync(stream.fileno())
    aside.unlink()
    temporary.replace(path)
    return InspectFile(path=str(path), run_id=run.run_id, split=part.split, samples=len(part.rows))


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "-" for c in name)[:LONGEST_NAME]


class _Tally:
    """What the samples came to."""

    def __init__(self) -> None:
        self.scored = 0
        self.correct = 0
        self.completed = 0
        self.ended = 0.0
        self.calls: list[ModelCall] = []

    def add(self, outcome: AttemptOutcome) -> None:
        """Count a sample."""
        self.completed += outcome.status == "completed"
        self.scored += outcome.success is not None
        self.correct += outcome.success is True
        if outcome.times is not None:
            self.ended = max(self.ended, outcome.times.ended)
        if outcome.trajectory is not None:
            self.calls += [_counted(call) for call in outcome.trajectory.model_calls]


def _counted(call: ModelCall) -> ModelCall:
    """The call with its figures alone: a run may have made a great many."""
    figures = ("prompt_tokens", "output_tokens", "cached_tokens")
    return ModelCall(
        model=call.model,
        role=call.role,
        request={},
        response={name: call.response[name] for name in figures if name in call.response},
        tokens=call.tokens,
        usd=call.usd,
    )


def _samples(records: Records, run: RunRow, part: _Part, tally: _Tally) -> Iterator[JsonObject]:
    epochs: Counter[str] = Counter()
    begun = datetime.fromisoformat(run.created_at).timestamp()
    for at in range(0, len(part.rows), BATCH):
        rows = part.rows[at : at + BATCH]
        outcomes = records.trajectories.outcomes([row.attempt_id for row in rows])
        for row, outcome in zip(rows, outcomes, strict=True):
            spec: AttemptSpec = records.attempts.spec(row.attempt_id)
            epochs[spec.task.id] += 1
            tally.add(outcome)
            body = sample(spec, outcome, epoch=epochs[spec.task.id], began=begun)
            yield cast("JsonObject", known().json(body))


def _head(run: RunRow, part: _Part, name: str) -> dict[str, object]:
    config = run.config
    model, environment = str(config.get("model") or ""), str(config.get("environment") or "")
    kind, colon, rest = model.partition(":")
    tags = [part.split, *([RESERVED] if part.split != "practice" else [])]
    executor = str(config.get("executor") or "") or (model if not colon else "react")
    about: JsonObject = {
        "agentlab": {"run": run.run_id, "status": run.status, "reason": run.reason},
        "split": part.split,
        "arm": part.arm,
    }
    return {
        "version": VERSION,
        "status": STATUS[run.status],
        "eval": {
            "eval_id": name,
            "run_id": run.run_id,
            "created": run.created_at,
            "task": f"agentlab/{environment}",
            "task_id": name,
            "task_version": 0,
            "task_args": known().json(config),
            "solver": executor,
            "tags": list(tags),
            "dataset": {
                "name": f"{environment} ({part.split})",
                "samples": len({row.task_id for row in part.rows}),
                "sample_ids": sorted({row.task_id for row in part.rows}),
                "shuffled": False,
            },
            "model": f"{kind}/{rest}" if colon else f"agentlab/{model}",
            "config": {"epochs": max(Counter(row.task_id for row in part.rows).values())},
            "packages": {"agentlab": __version__},
            "metadata": about,
            "scorers": [{"name": "success"}],
        },
        "plan": {"name": "plan", "steps": [{"solver": executor, "params": {}}], "config": {}},
        **({"error": fault(run.reason or "it failed")} if run.status == "failed" else {}),
    }


def _came_to(run: RunRow, part: _Part, tally: _Tally) -> dict[str, object]:
    metrics: JsonObject = {}
    if tally.scored:
        low, high = wilson(tally.correct, tally.scored)
        rate = tally.correct / tally.scored
        metrics = {
            name: {"name": name, "value": round(value, 9)}
            for name, value in (("accuracy", rate), ("wilson_low", low), ("wilson_high", high))
        }
    score: JsonObject = {
        "name": "success",
        "scorer": "success",
        "scored_samples": tally.scored,
        "unscored_samples": len(part.rows) - tally.scored,
        "metrics": metrics,
    }
    return {
        "results": {
            "total_samples": len(part.rows),
            "completed_samples": tally.completed,
            "scores": [score],
        },
        "stats": {
            "started_at": run.created_at,
            "completed_at": moment(tally.ended) if tally.ended else "",
            "model_usage": usage_by(tally.calls, lambda call: call.model),
            "role_usage": usage_by(tally.calls, lambda call: call.role),
        },
    }


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
