"""Hugging Face `datasets` reads an export folder by its card, nothing added: `... DIR`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> str:
    """What was read; raises where it is not what was written."""
    datasets: Any = importlib.import_module("datasets")
    cache = str(folder / ".cache")
    found = datasets.load_dataset(str(folder), split="train", cache_dir=cache)
    lines = (folder / "data.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(found) == len(lines)
    for row, line in zip(found, lines, strict=True):
        written = json.loads(line)
        assert row == written
        assert len(json.loads(row["messages"])) == len(row["weights"])
    return f"{len(found)} rows as they were written"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
