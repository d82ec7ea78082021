"""A model folder as transformers writes it, looked at without torch: its hashes, its wholeness.

An adapter belongs to one base and a row of token ids to one tokenizer and one chat template. What
they are is said by hashes, so that training upon another of the same name is refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple, cast

from agentlab.errors import AdapterRefusedError, TrainingRefusedError, UsageError
from agentlab.training.adapters import LONGEST_HEADER, base_sha256, weight_files
from agentlab.types import JsonObject

WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class ModelFolder(NamedTuple):
    """What a model folder is."""

    path: Path
    weights_sha256: str
    """Of the weights' file; of several, of their names and hashes."""
    config_sha256: str
    tokenizer_sha256: str
    """Of `tokenizer.json`."""
    chat_template_sha256: str | None
    """Of the template's text; None where there is none."""
    vocabulary: int | None
    context: int | None
    """The most tokens that it takes, where its config says."""


def read_model(path: Path) -> ModelFolder:
    """Look at a model folder.

    Raises:
        UsageError: it is none.
        TrainingRefusedError: its weights are cut short or damaged.
    """
    if not (path / "config.json").is_file():
        raise UsageError(
            f"{str(path)!r} holds no model (no config.json); name a folder as transformers' "
            "save_pretrained writes it."
        )
    if not (path / "tokenizer.json").is_file():
        raise UsageError(
            f"{str(path)!r} has no tokenizer.json; save the tokenizer beside the model."
        )
    config = _object(path / "config.json")
    text = config.get("text_config")
    inner = text if isinstance(text, dict) else config
    return ModelFolder(
        path=path.absolute(),
        weights_sha256=weights_digest(path),
        config_sha256=file_digest(path / "config.json"),
        tokenizer_sha256=file_digest(path / "tokenizer.json"),
        chat_template_sha256=_template_digest(path),
        vocabulary=_whole(inner.get("vocab_size")),
        context=_whole(inner.get("max_position_embeddings")),
    )


def weights_digest(path: Path) -> str:
    """The hash of a model's weights, whose files are looked at on the way.

    Raises:
        UsageError: there are none in safetensors.
        TrainingRefusedError: a file is cut short or damaged, or the index of several is.
    """
    if not (path / WEIGHTS).is_file() and not (path / _INDEX).is_file():
        raise UsageError(
            f"{str(path)!r} has no {WEIGHTS}; save the model with safetensors, other formats can "
            "run code."
        )
    try:
        for part in weight_files(path):
            check_tensors(part)
        # By the very rule that whoever serves and gates reckons it by.
        return base_sha256(path)
    except AdapterRefusedError as error:
        raise TrainingRefusedError(str(error)) from error


def check_tensors(path: Path) -> tuple[str, ...]:
    """Look whether a safetensors file is as long as its head says; the names in it.

    Raises:
        TrainingRefusedError: it is not, or has no head that can be read.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size, LONGEST_HEADER):
                raise ValueError("its head has no length")
            head = cast("object", json.loads(file.read(length)))
        if not isinstance(head, dict):
            raise ValueError("its head is no object")
        held = cast("dict[str, dict[str, object]]", head)
        names = tuple(name for name in held if name != "__metadata__")
        ends = [int(cast("list[int]", held[name]["data_offsets"])[1]) for name in names]
        wanted = 8 + length + max(ends, default=0)
        if wanted != size:
            raise ValueError(f"it has {size} bytes and its head tells of {wanted}")
        return names
    except FileNotFoundError:
        raise TrainingRefusedError(f"{str(path)!r} is missing; copy the folder again.") from None
    except (
        ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        raise TrainingRefusedError(
            f"{str(path)!r} is cut short or damaged ({error}); copy it again, or train it again."
        ) from None


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _template_digest(path: Path) -> str | None:
    if (path / "chat_template.jinja").is_file():
        return file_digest(path / "chat_template.jinja")
    if not (path / "tokenizer_config.json").is_file():
        return None
    template = _object(path / "tokenizer_config.json").get("chat_template")
    return hashlib.sha256(template.encode()).hexdigest() if isinstance(template, str) else None


def _object(path: Path) -> JsonObject:
    try:
        found = cast("object", json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TrainingRefusedError(f"{str(path)!r} is no JSON object; copy the folder again.")
    return cast("JsonObject", found)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
