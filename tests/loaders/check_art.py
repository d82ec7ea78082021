"""ART reads every group of an export: `... DIR`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> str:
    """What was read; raises where a group is not one."""
    art: Any = importlib.import_module("art")
    choices = tokens = 0
    for line in (folder / "data.jsonl").read_text(encoding="utf-8").splitlines():
        group = json.loads(line)
        found = [art.Trajectory.model_validate(each) for each in group["trajectories"]]
        assert len(found) > 1
        for trajectory in found:
            for each in trajectory.messages_and_choices:
                # Only a Choice with log-probabilities is trained on.
                drawn = getattr(each, "logprobs", None)
                if drawn is None:
                    continue
                choices += 1
                assert all(token.token.startswith("token_id:") for token in drawn.content)
                tokens += len(drawn.content)
    assert choices and tokens
    return f"{choices} choices, {tokens} tokens"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
