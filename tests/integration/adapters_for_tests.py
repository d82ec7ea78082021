"""Run under the trainers' Python: random adapters of a model, and what plain transformers says.

    python adapters_for_tests.py MODEL OUT

Writes `one`, `two` (LoRA, random weights), `whole` (all weights, perturbed) and
`references.json`: tokens, and for each of these and for `base` the log-probability of every token
but the first.
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


def open_model(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()


def log_probabilities(model: Any, ids: list[int]) -> list[float]:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].float()
    told = torch.log_softmax(logits, dim=-1)
    return cast("list[float]", told[range(len(ids) - 1), ids[1:]].tolist())


def main() -> None:
    base, out = Path(sys.argv[1]), Path(sys.argv[2])
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, local_files_only=True)
    text = "Task: Open the red chest. You are in the moss chamber. Ways: north, east. Here: bell."
    ids = cast("list[int]", tokenizer.encode(text, add_special_tokens=False))
    found = {"base": log_probabilities(open_model(base), ids)}
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        config = peft.LoraConfig(
            r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False
        )
        adapted = peft.get_peft_model(open_model(base), config).eval()
        adapted.save_pretrained(out / name)
        found[name] = log_probabilities(adapted, ids)
    whole = open_model(base)
    with torch.no_grad():
        for weight in whole.parameters():
            weight += 0.02 * torch.randn_like(weight)
    whole.save_pretrained(out / "whole")
    found["whole"] = log_probabilities(whole, ids)
    made = {"ids": ids, "log_probabilities": found}
    (out / "references.json").write_text(json.dumps(made), encoding="utf-8")


if __name__ == "__main__":
    main()
