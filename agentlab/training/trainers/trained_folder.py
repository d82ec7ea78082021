"""What a trainer leaves: weights in a folder that says what they are, `agentlab.json`.

    adapter_config.json, adapter_model.safetensors      of an adapter, as peft reads it
    config.json, model.safetensors, tokenizer.json, …   of weights in full
    agentlab.json       name, base, data, trainer, hashes, and probes that prove what is served
    metrics.jsonl       a line for each step

The name ends in the first digits of the weights' hash and is never given twice: a version that
differs in a byte has another name. The folder appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Literal, NamedTuple, cast

from agentlab.errors import TrainingRefusedError, UsageError
from agentlab.training.adapters import CONFIG
from agentlab.training.lora import why_not
from agentlab.training.trainers.model_folder import (
    ModelFolder,
    check_tensors,
    file_digest,
    weights_digest,
)
from agentlab.types import JsonObject

RECORD = "agentlab.json"
ADAPTER = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"
_VERSION = re.compile(r"lab-v(\d{4,})-[0-9a-f]{8}")


class TrainedFolder(NamedTuple):
    """A trained adapter or model, as its folder says and as was looked at."""

    path: Path
    name: str
    record: JsonObject

    @property
    def version(self) -> int:
        """The number in its name; 0 of a name that has none."""
        match = _VERSION.fullmatch(self.name)
        return int(match[1]) if match else 0


def read_trained(path: Path) -> TrainedFolder:
    """Look at a trained folder.

    Raises:
        UsageError: it is none.
        TrainingRefusedError: its weights are cut short, damaged or not those of its record, or an
            adapter would be loaded over more than itself.
    """
    if not (path / RECORD).is_file():
        raise UsageError(f"{str(path)!r} is no trained folder (no {RECORD}); name one.")
    try:
        found = cast("object", json.loads((path / RECORD).read_text(encoding="utf-8")))
    except ValueError:
        found = None
    record = cast("JsonObject", found) if isinstance(found, dict) else {}
    name, kind = record.get("name"), record.get("kind")
    if not isinstance(name, str) or kind not in ("adapter", "model"):
        raise TrainingRefusedError(
            f"{RECORD} in {str(path)!r} is cut short or another's; train it again."
        )
    if kind == "adapter":
        names = check_tensors(path / ADAPTER)
        sha256 = file_digest(path / ADAPTER)
    else:
        names = ()
        sha256 = weights_digest(path)
    if record.get("weights_sha256") != sha256:
        raise TrainingRefusedError(
            f"The weights in {str(path)!r} are not those that {name!r} was given with (their hash "
            f"is {sha256[:8]}); train it again."
        )
    if kind == "adapter" and (why := why_not(_settings(path), names)) is not None:
        raise TrainingRefusedError(f"The adapter in {str(path)!r} {why}.")
    return TrainedFolder(path.absolute(), name, record)


def _settings(path: Path) -> object:
    try:
        return cast("object", json.loads((path / SETTINGS).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


def check_going_on(
    trained: TrainedFolder, base: ModelFolder, method: Literal["lora", "full"]
) -> None:
    """Look whether what was trained on a base may be trained further.

    Raises:
        UsageError: it is an adapter and all weights are to be trained, or the other way round.
        TrainingRefusedError: it belongs to another base or another chat template.
    """
    whole = trained.record["kind"] != "adapter"
    if whole and method == "lora":
        raise UsageError(
            f"{trained.name!r} is a whole model and no adapter; train all of it with --method "
            "full, or give its folder as --base for an adapter of its own."
        )
    if not whole and method == "full":
        raise UsageError(
            f"{trained.name!r} is an adapter, which --method full does not train; leave --from or "
            "--method full out."
        )
    told = trained.record.get("base")
    belongs = told.get("weights_sha256") if isinstance(told, dict) else None
    if belongs != base.weights_sha256:
        raise TrainingRefusedError(
            f"{trained.name!r} belongs to another base (its weights' hash is {str(belongs)[:8]}, "
            f"that of {str(base.path)!r} is {base.weights_sha256[:8]}); give the base that it was "
            "trained on."
        )
    for field, mine, what in (
        ("chat_template_sha256", base.chat_template_sha256, "chat template"),
        ("tokenizer_sha256", base.tokenizer_sha256, "tokenizer"),
    ):
        if trained.record.get(field) != mine:
            raise TrainingRefusedError(
                f"{trained.name!r} was trained with another {what} than {str(base.path)!r} has "
                "now; put it back, or train anew."
            )


def put_in_place(result: Path, out: Path, record: JsonObject, *, version: int) -> TrainedFolder:
    """Turn a program's result into a trained folder, and only then give it its name.

    Args:
        result: what the program wrote.
        out: where it is to lie; nothing is there.
        record: of `agentlab.json`, but for what is read from the result.
        version: in its name.
    """
    told = cast("JsonObject", json.loads((result / "trained.json").read_text(encoding="utf-8")))
    adapter = (result / ADAPTER).is_file()
    if adapter:
        check_tensors(result / ADAPTER)
    sha256 = file_digest(result / ADAPTER) if adapter else weights_digest(result)
    name = f"lab-v{version:04d}-{sha256[:8]}"
    whole: JsonObject = {
        "schema": 1,
        "name": name,
        "kind": "adapter" if adapter else "model",
        **record,
        "weights_sha256": sha256,
        "config_sha256": file_digest(result / CONFIG["adapter" if adapter else "model"]),
        "trainer_versions": told["versions"],
        "steps": told["steps"],
        "probe": told["probe"],
    }
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(result, part)
    (part / "trained.json").unlink()
    with open(part / RECORD, "w", encoding="utf-8") as file:
        file.write(json.dumps(whole, indent=1, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(out)
    return TrainedFolder(out.absolute(), name, whole)
