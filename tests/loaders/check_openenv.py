"""OpenEnv reads every trace of an export. Run by a Python that has openenv: `... DIR`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> str:
    """What was read; raises where a trace is not one."""
    training: Any = importlib.import_module("openenv.core.harness.training")
    turns = drawn = 0
    for line in (folder / "data.jsonl").read_text(encoding="utf-8").splitlines():
        trace = training.TrainingTrace.model_validate(json.loads(line))
        again = training.TrainingTrace.from_entries(trace.to_trace_entries())
        assert [turn.completion_token_ids for turn in again.turns] == [
            turn.completion_token_ids for turn in trace.turns
        ]
        turns += len(trace.turns)
        drawn += sum(sum(turn.loss_mask) for turn in trace.turns)
    assert turns and drawn
    return f"{turns} turns, {drawn} tokens that count"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
