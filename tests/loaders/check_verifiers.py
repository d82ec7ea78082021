"""verifiers reads every trace of an export, and its branches are our rows: `... DIR ROWS`.

ROWS is an export of the same samples as `trl-grpo-replay`, against which the branches are held.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main(folder: Path, replay: Path) -> str:
    """What was read; raises where a trace is not one, or says something else than the rows."""
    trace_module: Any = importlib.import_module("verifiers.v1.trace")
    expected: dict[str, list[dict[str, Any]]] = {}
    for row in rows_of(replay / "data.jsonl"):
        expected.setdefault(row["rollout_id"], []).append(row)
    branches = 0
    for line in rows_of(folder / "data.jsonl"):
        trace = trace_module.WireTrace.model_validate(line)
        rows = expected.pop(trace.id)
        assert len(trace.branches) == len(rows)
        for branch, row in zip(trace.branches, rows, strict=True):
            start = len(row["prompt_ids"])
            assert branch.token_ids == row["prompt_ids"] + row["completion_ids"]
            assert branch.sampled_mask[start:] == [bool(each) for each in row["env_mask"]]
            drawn = [
                value
                for value, mask in zip(branch.logprobs, branch.sampled_mask, strict=True)
                if mask
            ]
            assert drawn == row["logprobs"]
            branches += 1
        assert trace.reward == rows[0]["reward"]
    assert branches and not expected
    return f"{branches} branches equal to the rows"


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
