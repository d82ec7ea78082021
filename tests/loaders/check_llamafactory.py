"""LLaMA-Factory's own converter takes every row of an export by its registry: `... DIR`."""

from __future__ import annotations

import importlib
import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


def without_sound() -> None:
    """Let LLaMA-Factory be imported beside a CPU's torch.

    It imports torchaudio whatever it reads, whose only build on the index wants CUDA's libraries.
    No export holds sound, so that an empty module does where the real one cannot be loaded.
    """
    try:
        importlib.import_module("torchaudio")
    except OSError:
        for name in [name for name in sys.modules if name.startswith("torchaudio")]:
            del sys.modules[name]
        empty = ModuleType("torchaudio")
        empty.__spec__ = ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = empty


def main(folder: Path) -> str:
    """What was converted; raises where a row is skipped as broken."""
    without_sound()
    parser: Any = importlib.import_module("llamafactory.data.parser")
    converter: Any = importlib.import_module("llamafactory.data.converter")
    (attributes,) = parser.get_dataset_list(["agentlab"], str(folder))
    convert = (
        converter.get_dataset_converter(
            attributes.formatting, attributes, SimpleNamespace(media_dir=str(folder))
        )
        if hasattr(converter, "get_dataset_converter")
        else converter.SharegptDatasetConverter(attributes, SimpleNamespace(media_dir=str(folder)))
    )
    turns = 0
    for line in (folder / "data.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found = convert(row)
        assert found["_response"], "skipped as broken"
        assert len(found["_prompt"]) + 1 == len(row["conversations"])
        assert json.loads(found["_tools"])
        turns += len(row["conversations"])
    assert turns
    return f"{turns} turns converted"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
