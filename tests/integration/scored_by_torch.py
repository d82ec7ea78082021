"""Run under the trainers' Python: how likely plain transformers finds recorded replies.

    python scored_by_torch.py BASE CALLS

CALLS is a JSON file: a list of `{"prompt": ids, "output": ids, "adapters": {name: folder}}`. Prints
as JSON, for each call and each of its adapters, the log-probability of every token of the output;
the adapter with an empty folder is the base model alone.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, cast

torch = cast("Any", import_module("torch"))
transformers = cast("Any", import_module("transformers"))
peft = cast("Any", import_module("peft"))


def open_model(base: str, adapter: str) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(base, local_files_only=True)
    return (peft.PeftModel.from_pretrained(model, adapter) if adapter else model).eval()


def log_probabilities(model: Any, prompt: list[int], output: list[int]) -> list[float]:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + output])).logits[0].float()
    told = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    return cast("list[float]", told[range(len(output)), output].tolist())


def main() -> None:
    base, file = sys.argv[1:]
    calls = cast("list[dict[str, Any]]", json.loads(Path(file).read_text(encoding="utf-8")))
    folders = {folder for call in calls for folder in call["adapters"].values()}
    models = {folder: open_model(base, folder) for folder in folders}
    found = [
        {
            name: log_probabilities(models[folder], call["prompt"], call["output"])
            for name, folder in call["adapters"].items()
        }
        for call in calls
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
