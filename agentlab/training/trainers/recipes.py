"""The recipes of verl and prime-rl: our figures in their words.

verl 0.9.1 takes Hydra overrides (its `trainer/config/sft_trainer_engine.yaml`), prime-rl a TOML
file (its `configs/sft.py`). Both have defaults that would go wrong in silence, which are set here:
verl logs to a service on the network and cuts rows at 1,024 tokens unless told otherwise; prime-rl
trains for ever without `max_steps`, on rows of 128 tokens.

Both imitate demonstrations. Their reinforcement learning draws its own attempts in environments of
its own kind, and reads no recorded ones.
"""

from __future__ import annotations

import json
import math
import shlex
from typing import cast

from agentlab.errors import TrainingRefusedError, UsageError
from agentlab.training.trainers.recipe import (
    Found,
    RecipeReport,
    RecipeRequest,
    Written,
    write_recipe,
)
from agentlab.types import JsonObject

VERL_NOTES = (
    "Written for verl 0.9; run launch.sh where verl and a graphics card are.",
    "The result lies in its checkpoints in Hugging Face's form; it has no agentlab.json.",
)
PRIME_NOTES = (
    "Written for prime-rl's SFT as of September 2026; run launch.sh in its checkout.",
    "Steps are of packed sequences and not of rows; the result has no agentlab.json.",
)
_HEAD = """#!/bin/sh
# {what}
# It stops where data or base are not what they were when this was written.
set -eu
cd "$(dirname "$0")"
sha256sum --check --quiet inputs.sha256
"""


def recipe(request: RecipeRequest) -> RecipeReport:
    """Write the recipe of a trainer.

    Raises:
        UsageError, TrainingRefusedError, WorkspaceError: as `write_recipe`.
    """
    if request.trainer == "verl":
        return write_recipe(request, "verl-sft", verl_files, VERL_NOTES)
    return write_recipe(request, "chat", prime_files, PRIME_NOTES)


def verl_overrides(found: Found) -> dict[str, str]:
    """Hydra overrides for verl's SFT trainer, by place."""
    request, told = found.request, found.request.parameters
    if told.schedule == "linear":
        raise UsageError("verl has no linear schedule; take constant or cosine.")
    lora = request.method == "lora"
    batch = min(told.batch, found.rows)
    device_batch = min(told.device_batch or batch, batch)
    return {
        "model.path": _hydra(str(found.base.path)),
        "model.trust_remote_code": "False",
        "model.lora_rank": str(told.rank if lora else 0),
        "model.lora_alpha": str(told.alpha),
        "model.target_modules": "all-linear",
        "model.enable_gradient_checkpointing": str(told.gradient_checkpointing),
        "data.train_files": _hydra(str(found.data)),
        "data.val_files": "null",
        "data.custom_cls.path": _hydra(str(found.folder / "verl_dataset.py")),
        "data.custom_cls.name": "ExportedConversations",
        "data.train_batch_size": str(batch),
        "data.micro_batch_size_per_gpu": str(device_batch),
        "data.max_length": str(found.context),
        "data.max_token_len_per_gpu": str(max(found.context, 8192)),
        "data.truncation": "error",
        "data.ignore_input_ids_mismatch": "False",
        "optim.lr": str(_rate(found)),
        "optim.weight_decay": str(told.weight_decay),
        "optim.clip_grad": str(told.clip_norm),
        "optim.lr_scheduler_type": told.schedule,
        "optim.lr_warmup_steps": str(told.warmup),
        "engine.seed": str(request.seed),
        "engine.full_determinism": "True",
        "checkpoint.save_contents": "[model,optimizer,extra,hf_model]",
        "trainer.default_local_dir": "checkpoints",
        "trainer.project_name": "agentlab",
        "trainer.experiment_name": "recipe",
        "trainer.total_epochs": str(math.ceil(told.epochs)),
        "trainer.total_training_steps": str(told.steps) if told.steps else "null",
        "trainer.logger": "[console]",
        "trainer.seed": str(request.seed),
        "trainer.save_freq": str(told.save_every or -1),
        "trainer.resume_mode": "auto",
    }


def verl_files(found: Found) -> Written:
    """Verl's files: its launcher, which holds the overrides."""
    if not (found.folder / "verl_dataset.py").is_file():
        raise TrainingRefusedError(
            f"{str(found.folder)!r} lacks verl_dataset.py, without which verl would train on "
            "replies that are masked; export again."
        )
    words = " \\\n  ".join(
        shlex.quote(f"{place}={value}") for place, value in verl_overrides(found).items()
    )
    head = _HEAD.format(
        what="VERL_PYTHON is a Python with verl 0.9, CARDS how many graphics cards to take."
    )
    text = f"""{head}PYTHON=${{VERL_PYTHON:-python3}}
CARDS=${{CARDS:-1}}
set -- \\
  {words} \\
  "trainer.n_gpus_per_node=$CARDS"
# Unknown places fail here, before a card is taken.
"$PYTHON" -m verl.trainer.sft_trainer --cfg job "$@" > composed.yaml
exec "$PYTHON" -m torch.distributed.run --standalone --nproc-per-node "$CARDS" \\
  -m verl.trainer.sft_trainer "$@"
"""
    return {"launch.sh": text.encode()}


def prime_config(found: Found) -> dict[str, dict[str, object]]:
    """prime-rl's SFT configuration: sections by name, the top level under the empty one."""
    request, told = found.request, found.request.parameters
    if told.steps is None:
        raise UsageError(
            "prime-rl packs rows into sequences, so passes over the data cannot be told in its "
            "steps; give --steps."
        )
    batch = told.batch
    device_batch = told.device_batch or 1
    if batch % device_batch:
        raise UsageError(f"--batch {batch} is no multiple of --device-batch {device_batch}.")
    sections: dict[str, dict[str, object]] = {
        "": {"max_steps": told.steps, "output_dir": "outputs"},
        "model": {
            "name": str(found.base.path),
            "seq_len": found.context,
            "trust_remote_code": False,
            "optimization_dtype": told.dtype,
        },
        "data": {
            "type": "sft",
            "name": "dataset",
            "seq_len": found.context,
            "batch_size": batch,
            "micro_batch_size": device_batch,
            "seed": request.seed,
            "shuffle": True,
        },
        "data.loss_mask": {"system": False, "user": False, "assistant": True, "tool": False},
        "optim": {
            "type": "adamw",
            "lr": _rate(found),
            "weight_decay": told.weight_decay,
            "max_norm": told.clip_norm,
        },
        "scheduler": _prime_schedule(found),
        "ckpt": {},
    }
    if told.save_every:
        sections["ckpt"]["interval"] = told.save_every
    if request.method == "lora":
        sections["model.lora"] = {"rank": told.rank, "alpha": float(told.alpha)}
        sections["ckpt.weights"] = {"save_adapter_separately": True}
    return sections


def prime_files(found: Found) -> Written:
    """prime-rl's files: its TOML, the rows as it reads them, and the launcher."""
    lines: list[str] = []
    for name, values in prime_config(found).items():
        lines += [f"[{name}]"] if name else []
        lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
        lines.append("")
    head = _HEAD.format(what="Run it with prime-rl's `sft` on the path (PRIME_SFT names another).")
    launcher = f"""{head}SFT=${{PRIME_SFT:-sft}}
# prime-rl reads its configuration, and refuses what it does not know, before it takes a card.
"$SFT" @ sft.toml --dry-run
exec "$SFT" @ sft.toml
"""
    return {
        "sft.toml": "\n".join(lines).encode(),
        "dataset/train.jsonl": _prime_rows(found),
        "launch.sh": launcher.encode(),
    }


def _prime_rows(found: Found) -> bytes:
    """Conversations without weights, tools as JSON text so that no row gets another's fields.

    Raises:
        TrainingRefusedError: a reply is masked, which prime-rl cannot do.
    """
    rows: list[str] = []
    # Texts hold what else ends a line, such as U+2028.
    lines = found.data.read_bytes().removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        row = cast("JsonObject", json.loads(line))
        messages = cast("list[JsonObject]", row["messages"])
        replies = [message for message in messages if message["role"] == "assistant"]
        if any(message.get("weight") == 0 for message in replies):
            raise TrainingRefusedError(
                f"Row {number} of {str(found.data)!r} masks a reply, and prime-rl trains on all of "
                "them; export the view 'successes', or train with trl-sft."
            )
        plain = [{k: v for k, v in message.items() if k != "weight"} for message in messages]
        rows.append(json.dumps({"messages": plain, "tools": json.dumps(row.get("tools", []))}))
    return "".join(row + "\n" for row in rows).encode()


def _prime_schedule(found: Found) -> dict[str, object]:
    told = found.request.parameters
    if told.schedule == "constant":
        return {"type": "constant"}
    schedule: dict[str, object] = {"type": told.schedule, "warmup_steps": told.warmup}
    if told.schedule == "linear":
        schedule["decay_steps"] = max(0, (told.steps or 0) - told.warmup)
    return schedule


def _rate(found: Found) -> float:
    lr = found.request.parameters.lr
    return lr if lr is not None else (2e-4 if found.request.method == "lora" else 2e-5)


def _hydra(text: str) -> str:
    """A text as a quoted Hydra value."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _toml(value: object) -> str:
    # JSON's booleans, numbers and strings are TOML's too.
    return json.dumps(value)
