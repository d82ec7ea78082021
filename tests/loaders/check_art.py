"""ART reads every group of an export: `... DIR`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> str:
    """What was read; raises where a group is not one."""
    spec: Any = importlib.util.spec_from_file_location("groups", folder / "art_groups.py")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    choices = tokens = 0
    for group in module.read(folder / "data.jsonl"):
        assert len(group.trajectories) > 1
        for trajectory in group.trajectories:
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
