"""ms-swift's own loader takes every row, and its template learns what `loss` says: `... DIR MODEL`.

MODEL is a folder with a tokenizer. Each row is encoded as it is, and with its first call left out.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def main(folder: Path, model: Path) -> str:
    """What was read; raises where a row is changed, or another reply is learnt than it says."""
    os.environ["MODELSCOPE_CACHE"] = str(folder / ".cache")
    loader: Any = importlib.import_module("swift.dataset")
    templates: Any = importlib.import_module("swift.template")
    transformers: Any = importlib.import_module("transformers")
    written = [
        json.loads(line)
        for line in (folder / "data.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    read, _ = loader.load_dataset(
        str(folder / "data.jsonl"), strict=True, load_from_cache_file=False
    )
    assert len(read) == len(written)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    # What ms-swift knows of a registered model; the template asks no more of it than this.
    tokenizer.model_info = SimpleNamespace(
        config=None, task_type="causal_lm", max_model_len=1 << 20, model_dir=str(model)
    )
    tokenizer.model_meta = SimpleNamespace(is_multimodal=False)
    template = templates.Template(
        tokenizer, templates.TEMPLATE_MAPPING["chatml"], agent_template="hermes"
    )
    template.set_mode("train")
    learnt = left = 0
    for row, line in zip(read, written, strict=True):
        for message, own in zip(row["messages"], line["messages"], strict=True):
            assert message["role"] == own["role"] and message["content"] == own["content"]
            assert message.get("loss") == own.get("loss")
        said = [message for message in row["messages"] if message["role"] == "tool_call"]
        for masked in (False, True):
            said[0]["loss"] = not masked
            found = template.encode(dict(row))
            text = tokenizer.decode([label for label in found["labels"] if label != -100])
            counts = sum(message["loss"] for message in said)
            assert text.count("<tool_call>") == counts, (text.count("<tool_call>"), counts)
            learnt, left = learnt + counts, left + len(said) - counts
    assert learnt and left
    return f"{len(written)} rows; {learnt} calls are learnt and {left} are not"


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
