"""verl's datasets read both exports, with a tokenizer made here: `... RL_DIR SFT_DIR MODEL_DIR`."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def main(rl: Path, sft: Path, model: Path) -> str:
    """What was read; raises where it is not what was written."""
    transformers: Any = importlib.import_module("transformers")
    omegaconf: Any = importlib.import_module("omegaconf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    tasks_of: Any = importlib.import_module("verl.utils.dataset.rl_dataset").RLHFDataset
    config = omegaconf.OmegaConf.create(
        {
            "max_prompt_length": 8192,
            "cache_dir": str(rl / ".cache"),
            "filter_overlong_prompts": False,
        }
    )
    tasks = tasks_of(str(rl / "data.parquet"), tokenizer, config)
    assert len(tasks) > 0
    assert tasks[0]["reward_model"]["ground_truth"].startswith("task-")
    spec: Any = importlib.util.spec_from_file_location("exported", sft / "verl_dataset.py")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    asked = omegaconf.OmegaConf.create(
        {"max_length": 8192, "pad_mode": "no_padding", "ignore_input_ids_mismatch": True}
    )
    learnt = left = 0
    # As it was exported, and with the first reply of each row left out.
    for data in (sft / "data.parquet", masked(sft / "data.parquet", sft / "masked.parquet")):
        shown = module.ExportedConversations(str(data), tokenizer, asked)
        for number in range(len(shown)):
            row = shown[number]
            text = tokenizer.decode(row["input_ids"][row["loss_mask"] == 1])
            said = json.loads(shown.dataframe["messages"][number])
            counted = [each["counts"] for each in said if each["role"] == "assistant"]
            assert text.count("<|im_end|>") == sum(counted), text
            learnt, left = learnt + sum(counted), left + len(counted) - sum(counted)
    assert learnt and left
    return f"{len(tasks)} tasks; {learnt} replies learnt and {left} not"


def masked(data: Path, other: Path) -> Path:
    """A copy whose rows leave their first reply out of the loss."""
    pandas: Any = importlib.import_module("pandas")
    frame = pandas.read_parquet(data)
    for number, text in enumerate(frame["messages"]):
        messages = json.loads(text)
        next(each for each in messages if each["role"] == "assistant")["counts"] = False
        frame.loc[number, "messages"] = json.dumps(messages)
    frame.to_parquet(other)
    return other


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
