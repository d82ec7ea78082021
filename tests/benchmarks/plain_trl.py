# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUntypedBaseClass=false
# torch, transformers, trl and peft are in the trainers' environment, where no type checker runs.
"""Plain TRL on the rows of an export, written as its documentation shows: what ours is beside.

    python tests/benchmarks/plain_trl.py JOB

Runs under the trainers' Python; imports nothing of agentlab. The job is a JSON file; what was
measured is written to the file that it names.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

TRAINERS: dict[str, tuple[Any, Any]] = {
    "trl-sft": (SFTConfig, SFTTrainer),
    "trl-dpo": (DPOConfig, DPOTrainer),
}


class Timing(TrainerCallback):  # pyright: ignore[reportUntypedBaseClass]
    """Notes when each step is logged, its processor time, and how many tokens were seen by then."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.processor: list[float] = []
        self.tokens = 0
        self._since = time.monotonic()
        self._worked = time.process_time()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """A step."""
        told = logs or {}
        if "loss" not in told:  # the summary at the end
            return
        now = time.monotonic()
        self.seconds.append(now - self._since)
        self._since = now
        worked = time.process_time()
        self.processor.append(worked - self._worked)
        self._worked = worked
        self.tokens = int(told["num_tokens"])


def main() -> None:
    """Train, save, and write down what it took."""
    job = cast("dict[str, Any]", json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    torch.set_num_threads(job["threads"])
    data = Path(job["data"]).read_bytes()
    rows = [json.loads(line) for line in data.splitlines()]
    config, trainer = TRAINERS[job["trainer"]]
    model = AutoModelForCausalLM.from_pretrained(
        job["base"], dtype=getattr(torch, job["dtype"]), local_files_only=True
    )
    adapter = LoraConfig(
        task_type="CAUSAL_LM",
        r=job["rank"],
        lora_alpha=job["alpha"],
        lora_dropout=0.0,
        target_modules="all-linear",
    )
    timing = Timing()
    made = trainer(
        model=model.to(job["device"]),
        args=config(
            output_dir=job["out"],
            seed=job["seed"],
            per_device_train_batch_size=job["batch"],
            max_steps=job["steps"],
            learning_rate=job["lr"],
            lr_scheduler_type="constant",
            max_length=None,
            logging_steps=1,
            bf16=job["dtype"] == "bfloat16",
            use_cpu=job["device"] == "cpu",
            # TRL's default is True, which saves memory and takes time; ours is asked for none.
            gradient_checkpointing=False,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(job["base"], local_files_only=True),
        peft_config=adapter if job["method"] == "lora" else None,
    )
    made.add_callback(timing)
    made.train()
    made.save_model(job["out"])
    told = {
        "seconds": timing.seconds,
        "processor_seconds": timing.processor,
        "tokens": timing.tokens,
        "steps": made.state.global_step,
        "data_sha256": hashlib.sha256(data).hexdigest(),
    }
    Path(job["report"]).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
