"""A trained adapter as a folder: weights, and `agentlab.json`, which says what they are.

The folder comes from a trainer in another process, perhaps on another machine and perhaps by
hand, so nothing in it is believed before it is compared: the weights with their hash, the name
with the weights, the base and its chat template with the model that is served. What does not fit
is refused before a server hears of it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError

from agentlab.errors import AdapterRefusedError
from agentlab.types import JsonObject, canonical_json

MANIFEST = "agentlab.json"
WEIGHTS = "adapter_model.safetensors"
MODEL_WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
CONFIG: dict[Literal["adapter", "model"], str] = {
    "adapter": "adapter_config.json",
    "model": "config.json",
}
"""The file of settings by kind: an adapter's scale is one, and turns what it learnt round."""
LONGEST = 64 * 1024 * 1024
"""Bytes of a manifest; a longer one is something else."""
LONGEST_HEADER = 100_000_000
"""Bytes of the head of a file of weights; safetensors' own limit."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,118}-[0-9a-f]{8}")
_CHUNK = 1 << 20


class _Part(BaseModel):
    """A part of a manifest. A later trainer may say more; what is not known here is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Base(_Part):
    """The model that an adapter was trained on."""

    path: str
    weights_sha256: str
    config_sha256: str = ""


class Probe(_Part):
    """A fixed text, and how likely each of its tokens was where it was trained."""

    prompt_ids: tuple[int, ...] = Field(min_length=1)
    output_ids: tuple[int, ...] = Field(min_length=1)
    base_logprobs: tuple[FiniteFloat, ...]
    """Under the base model, one for each output token, in nats. What is no number differs from
    nothing by more than is allowed, and would prove anything."""
    trained_logprobs: tuple[FiniteFloat, ...]
    """Under the trained weights."""


class Manifest(_Part):
    """What `agentlab.json` says."""

    schema_: Literal[1] = Field(alias="schema")
    name: str
    kind: Literal["adapter", "model"]
    base: Base
    tokenizer_sha256: str | None = None
    chat_template_sha256: str | None = None
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    config_sha256: str | None = None
    """Of the file that says what the weights do; see `CONFIG`."""
    trainer: str = ""
    trainer_versions: JsonObject = Field(default_factory=dict)
    seed: int | None = None
    data: tuple[JsonObject, ...] = ()
    steps: JsonValue = None
    started_from: str | None = None
    practised: tuple[str, ...] = ()
    """Templates of all tasks that it was trained on, here or before: a gate asks it others."""
    probe: tuple[Probe, ...] = ()

    def spoken(self) -> JsonObject:
        """What of it belongs on record: all but the probes."""
        return self.model_dump(mode="json", by_alias=True, exclude={"probe", "practised"})


class Adapter(BaseModel):
    """A folder that was read and holds what it says."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The name, which ends with the first digits of the weights' hash."""
        return self.manifest.name


def read_adapter(folder: Path) -> Adapter:
    """Read a trained adapter and compare it with what it says of itself.

    Raises:
        AdapterRefusedError: it is not whole, not what it says, or says too little to be proven.
    """
    manifest = _manifest(folder)
    weights = folder / WEIGHTS
    if manifest.kind == "model":
        for part in folder.glob("*.safetensors"):
            check_safetensors(part, folder)
        found = base_sha256(folder)
    elif not weights.is_file():
        raise AdapterRefusedError(
            str(folder), f"it has no {weights.name}; train it again, or name the folder that has"
        )
    else:
        check_safetensors(weights, folder)
        found = sha256_of(weights)
    if found != manifest.weights_sha256:
        raise AdapterRefusedError(
            str(folder),
            f"its weights hash to {found[:8]} and {MANIFEST} says {manifest.weights_sha256[:8]}; "
            "they were changed or cut after training: train it again",
        )
    config = folder / CONFIG[manifest.kind]
    if manifest.config_sha256 is not None and sha256_of(config) != manifest.config_sha256:
        raise AdapterRefusedError(
            str(folder),
            f"its {config.name} is not the one that {MANIFEST} speaks of; it was changed after "
            "training: train it again",
        )
    if not NAME.fullmatch(manifest.name) or not manifest.name.endswith(found[:8]):
        raise AdapterRefusedError(
            str(folder),
            f"its name {manifest.name[:80]!r} does not end with -{found[:8]}, the first digits of "
            "its weights' hash, so it could stand for other weights",
        )
    if not manifest.probe:
        raise AdapterRefusedError(
            str(folder),
            f"{MANIFEST} holds no probe, so nobody can prove that it is what is served; train it "
            "with a trainer that writes one",
        )
    return Adapter(folder=folder.absolute(), manifest=manifest)


def check_base(adapter: Adapter, base: Path) -> None:
    """Return, unless an adapter belongs to another base model, tokenizer or chat template.

    Args:
        adapter: the adapter.
        base: the folder of the base model that is served.

    Raises:
        AdapterRefusedError: it does; says which differs.
    """
    manifest = adapter.manifest
    found = base_sha256(base)
    if found != manifest.base.weights_sha256:
        raise AdapterRefusedError(
            str(adapter.folder),
            f"it was trained on a base whose weights hash to {manifest.base.weights_sha256[:8]}, "
            f"and those in {str(base)!r} hash to {found[:8]}; serve the base that it belongs to",
        )
    tokenizer = base / TOKENIZER
    if manifest.tokenizer_sha256 and tokenizer.is_file():
        found = sha256_of(tokenizer)
        if found != manifest.tokenizer_sha256:
            raise AdapterRefusedError(
                str(adapter.folder),
                f"it was trained with the tokenizer {manifest.tokenizer_sha256[:8]}, and "
                f"{str(base)!r} has {found[:8]}; put the tokenizer back, or train with this one",
            )
    template = chat_template_sha256(base)
    if manifest.chat_template_sha256 and template != manifest.chat_template_sha256:
        raise AdapterRefusedError(
            str(adapter.folder),
            f"it was trained with the chat template {manifest.chat_template_sha256[:8]}, and "
            f"{str(base)!r} has {template[:8] if template else 'none'}; put the template back, or "
            "train with this one",
        )


def base_sha256(base: Path) -> str:
    """The hash of a base model's weights; of several files, of their names and hashes.

    Raises:
        AdapterRefusedError: the folder holds no weights, or an index that cannot be read.
    """
    alone, *more = files = weight_files(base)
    if not more and alone.name == MODEL_WEIGHTS:
        return sha256_of(alone)
    found = {file.name: sha256_of(file) for file in files}
    return hashlib.sha256(canonical_json(found).encode()).hexdigest()


def weight_files(base: Path) -> tuple[Path, ...]:
    """The files that a base model's weights are in, at least one.

    Raises:
        AdapterRefusedError: the folder names none, or in an index that cannot be read.
    """
    if (base / MODEL_WEIGHTS).is_file():
        return (base / MODEL_WEIGHTS,)
    index = base / f"{MODEL_WEIGHTS}.index.json"
    if not index.is_file():
        raise AdapterRefusedError(
            str(base), f"there is no {MODEL_WEIGHTS} in it; name the folder of the base model"
        )
    try:
        parts: object = json.loads(index.read_bytes())["weight_map"].values()
        names = sorted({str(name) for name in cast("Iterable[object]", parts)})
        if not names:
            raise ValueError("it names no file")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterRefusedError(
            str(base), f"its {index.name} cannot be read; copy the base model again"
        ) from error
    for name in names:
        if Path(name).name != name:
            raise AdapterRefusedError(
                str(base),
                f"its {index.name} names weights outside of its folder, {name[:200]!r}; copy "
                "the base model again",
            )
    return tuple(base / name for name in names)


def chat_template_sha256(model: Path) -> str:
    """The hash of a model's chat template; empty where it has none."""
    alone = model / "chat_template.jinja"
    if alone.is_file():
        return hashlib.sha256(alone.read_bytes()).hexdigest()
    config = model / "tokenizer_config.json"
    try:
        told: object = json.loads(config.read_bytes())
    except (OSError, ValueError):
        return ""
    template = told.get("chat_template") if isinstance(told, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - any JSON
    return hashlib.sha256(template.encode()).hexdigest() if isinstance(template, str) else ""


def sha256_of(path: Path) -> str:
    """The hash of a file, read piece by piece.

    Raises:
        AdapterRefusedError: it cannot be read.
    """
    found = hashlib.sha256()
    try:
        with _opened(path) as file:
            while piece := file.read(_CHUNK):
                found.update(piece)
    except OSError as error:
        raise AdapterRefusedError(
            str(path), f"it cannot be read ({error.strerror}); make it readable"
        ) from error
    return found.hexdigest()


def check_safetensors(path: Path, folder: Path) -> None:
    """Return, unless a file of weights is cut off: its header says how long it must be.

    Raises:
        AdapterRefusedError: it is shorter, longer, or no such file.
    """
    size = length = 0
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            fits = 0 < length <= min(size - 8, LONGEST_HEADER)
            header: object = json.loads(file.read(length)) if fits else None
        if not isinstance(header, dict):
            raise ValueError("no header")
        ends = [
            int(part["data_offsets"][1])  # pyright: ignore[reportUnknownArgumentType] - any JSON
            for name, part in header.items()  # pyright: ignore[reportUnknownVariableType] - any JSON
            if name != "__metadata__"
        ]
    except (
        *(OSError, ValueError, KeyError, TypeError, IndexError),
        *(AttributeError, OverflowError, RecursionError),
    ) as error:
        raise AdapterRefusedError(
            str(folder), f"its {path.name} is no file of weights, or is cut off; train it again"
        ) from error
    if 8 + length + max(ends, default=0) != size:
        raise AdapterRefusedError(
            str(folder),
            f"its {path.name} has {size} bytes and its header speaks of "
            f"{8 + length + max(ends, default=0)}; it is cut off: copy or train it again",
        )


def _opened(path: Path) -> BinaryIO:
    """A file, opened to be read.

    Raises:
        OSError: it is none: a pipe or a device would be waited for without end.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no plain file")
    return open(path, "rb")


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        with _opened(path) as file:
            told = file.read(LONGEST + 1)
        if len(told) > LONGEST:
            raise AdapterRefusedError(str(folder), f"its {MANIFEST} is too long to be one")
        manifest = Manifest.model_validate_json(told)
    except OSError as error:
        raise AdapterRefusedError(
            str(folder),
            f"it has no {MANIFEST} that can be read ({error.strerror}); name a folder that "
            "`agentlab train` made",
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AdapterRefusedError(
            str(folder), f"its {MANIFEST} is wrong at {where!r}: {first['msg']}"
        ) from error
    for number, probe in enumerate(manifest.probe):
        if not len(probe.output_ids) == len(probe.base_logprobs) == len(probe.trained_logprobs):
            raise AdapterRefusedError(
                str(folder),
                f"probe {number} in its {MANIFEST} has other numbers of tokens and of "
                "log-probabilities",
            )
    return manifest
