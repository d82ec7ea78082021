"""verl's datasets read both exports, with a tokenizer made here: `... RL_DIR SFT_DIR MODEL_DIR`."""

from __future__ import annotations

import importlib
import importlib.util
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
    shown = module.ExportedConversations(str(sft / "data.parquet"), tokenizer, asked)
    learnt = sum(int(shown[number]["loss_mask"].sum()) for number in range(len(shown)))
    assert learnt > 0
    return f"{len(tasks)} tasks; {len(shown)} conversations, {learnt} tokens that count"


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
