"""The served weights by name: a base model, and adapters that come and go while it serves.

A name means the same bytes for as long as the server runs. Taking an adapter out and another in
under its name is refused: whatever was drawn under a name could not be told apart afterwards.
Weights are read from safetensors alone, which hold no code, and code in a folder is never run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from agentlab.serve.local_server.asked import Refusal
from agentlab.serve.local_server.slots import shape_of
from agentlab.training.lora import why_not

MOST = 64
"""Names served at a time."""
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
MODEL, CONFIG = "model.safetensors", "config.json"
RECORD = "agentlab.json"
"""What a trainer says of the weights it wrote."""

_LARGEST_JSON = 64 * 1024 * 1024
"""Bytes of a file of settings or of a record; a longer one is something else."""
_LARGEST_HEADER = 100_000_000
"""Bytes; safetensors' own limit."""


class WrongFolderError(Exception):
    """A folder holds nothing that can be served; says what is wrong with it."""


class Served(NamedTuple):
    """One name."""

    name: str
    root: str
    """The folder."""
    parent: str | None
    """The base model's name, of an adapter."""
    sha256: str
    """Of the weights' file."""
    model: Any
    adapter: str | None
    """What peft calls it."""


class Weights:
    """A base model and its adapters. Used by one thread at a time.

    Args:
        libraries: torch, transformers and peft, the last imported when it is first needed.
        folder: of the base model.
        name: it is served under.
        device: such as `cpu`.

    Raises:
        WrongFolderError: it holds no model that can be served.
    """

    def __init__(self, libraries: Libraries, folder: Path, name: str, *, device: str) -> None:
        self._libraries = libraries
        self._device = device
        transformers = libraries.transformers
        options = {"local_files_only": True, "trust_remote_code": False}
        if not (folder / "config.json").is_file():
            raise WrongFolderError(f"The folder {str(folder)!r} holds no model: no config.json.")
        if (why := _strange(folder)) is not None:
            raise WrongFolderError(why)
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, **options)
            model = _load(libraries, folder, device)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WrongFolderError(
                f"The folder {str(folder)!r} holds no model that can be loaded: {error}"
            ) from error
        if not isinstance(self.tokenizer.chat_template, str):
            raise WrongFolderError(
                f"The model in {str(folder)!r} has no chat template; take one made for chat."
            )
        self.base = Served(name, str(folder), None, file_hash(folder / MODEL), model, None)
        self._peft: Any = None
        if (found := self._no_numbers(self.base)) is not None:
            raise WrongFolderError(f"The model in {str(folder)!r} cannot be served: {found}.")
        self._loaded = 0
        self._known = {name: self.base.sha256}
        self._names = {name: self.base}

    @property
    def names(self) -> tuple[Served, ...]:
        """What is served, the base model first."""
        return tuple(self._names.values())

    def get(self, name: str) -> Served:
        """What is served under a name.

        Raises:
            Refusal: nothing is.
        """
        found = self._names.get(name)
        if found is None:
            raise Refusal(
                f"The model {name[:200]!r} does not exist.",
                status=404,
                kind="NotFoundError",
                param="model",
            )
        return found

    def load(self, name: str, folder: Path) -> Served:
        """Serve an adapter, or weights trained in full, under a new name.

        Raises:
            Refusal: the name is taken or meant other bytes before, or the folder holds nothing
                that fits the base model.
        """
        if name in self._names:
            raise _unfit(f"The lora adapter {name!r} has already been loaded.")
        if len(self._names) >= MOST:
            raise _unfit(f"{MOST} models are served already; unload one.")
        if (why := _strange(folder)) is not None:
            raise _unfit(why)
        whole = (folder / CONFIG).is_file() and not (folder / ADAPTER).is_file()
        file = folder / (MODEL if whole else ADAPTER)
        if not file.is_file():
            raise Refusal(
                f"No adapter found for {str(folder)!r}: there is no {ADAPTER} in it.",
                status=404,
                kind="NotFoundError",
                param="lora_path",
            )
        digest = file_hash(file)
        meant = f"{digest} {file_hash(folder / (CONFIG if whole else ADAPTER_CONFIG))}"
        if self._known.get(name, meant) != meant:
            raise _unfit(
                f"The name {name!r} meant other weights before; give new weights a new name."
            )
        self._compare(folder, digest)
        try:
            served = self._whole(name, folder) if whole else self._adapter(name, folder)
            self._check_numbers(served)
        except Refusal:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise _unfit(f"The weights in {str(folder)!r} cannot be loaded: {error}") from error
        except Exception as error:  # safetensors' own error for a damaged file
            raise _unfit(f"The weights in {str(folder)!r} are damaged: {error}") from error
        self._known[name] = meant
        self._names[name] = served._replace(sha256=digest)
        return self._names[name]

    def unload(self, name: str) -> None:
        """Serve it no longer.

        Raises:
            Refusal: there is no adapter of that name.
        """
        served = self._names.get(name)
        if served is None or served is self.base:
            raise Refusal(
                f"The lora adapter {name[:200]!r} cannot be found.",
                status=404,
                kind="NotFoundError",
                param="lora_name",
            )
        del self._names[name]
        self._remove(served)

    @contextmanager
    def active(self, served: Served) -> Generator[Any]:
        """The model, computing with those weights."""
        adapted = self._peft
        if adapted is None or not adapted.peft_config or served.model is not self.base.model:
            yield served.model
        elif served.adapter is None:
            # Deleting an adapter leaves its name as the active one, where peft looks in vain.
            if adapted.active_adapter not in adapted.peft_config:
                adapted.set_adapter(next(iter(adapted.peft_config)))
            with adapted.disable_adapter():
                yield served.model
        else:
            adapted.set_adapter(served.adapter)
            yield served.model

    def _remove(self, served: Served) -> None:
        if served.adapter is not None:
            self._peft.delete_adapter(served.adapter)

    def _check_numbers(self, served: Served) -> None:
        try:
            found = self._no_numbers(served)
        except BaseException:
            self._remove(served)
            raise
        if found is not None:
            self._remove(served)
            raise _unfit(f"The weights in {served.root!r} are damaged: {found}; train them again.")

    def _no_numbers(self, served: Served) -> str | None:
        """Where something is no number that must be one, in the weights or in what they make."""
        torch = self._libraries.torch
        named: Iterable[tuple[str, Any]] = served.model.named_parameters()
        for name, weight in named:
            own = served.adapter is None or served.adapter in name.split(".")
            if own and not bool(torch.isfinite(weight).all()):
                return f"{name!r} holds what is no number"
        # Settings scale weights, so that good ones may come to nothing.
        with torch.no_grad(), self.active(served) as model:
            ids = torch.tensor([[0]], device=self._device)
            made = model(input_ids=ids, use_cache=False).logits
        return None if bool(torch.isfinite(made).all()) else "what they say is no number"

    def _adapter(self, name: str, folder: Path) -> Served:
        settings = _object(folder / ADAPTER_CONFIG)
        if (why := why_not(settings, _tensors(folder / ADAPTER))) is not None:
            raise _unfit(f"The adapter in {str(folder)!r} {why}.")
        peft = self._libraries.peft
        self._loaded += 1
        inner = f"a{self._loaded}"
        try:
            if self._peft is None:
                self._peft = peft.PeftModel.from_pretrained(
                    self.base.model, folder, adapter_name=inner, is_trainable=False
                )
            else:
                self._peft.load_adapter(folder, adapter_name=inner, is_trainable=False)
        except BaseException:
            if self._peft is not None and inner in self._peft.peft_config:
                self._peft.delete_adapter(inner)
            raise
        self._peft.eval()
        return Served(name, str(folder), self.base.name, "", self.base.model, inner)

    def _whole(self, name: str, folder: Path) -> Served:
        model = _load(self._libraries, folder, self._device)
        size = self.base.model.get_input_embeddings().weight.shape
        same = shape_of(model.config) == shape_of(self.base.model.config)
        if not same or model.get_input_embeddings().weight.shape != size:
            raise _unfit(f"The model in {str(folder)!r} is not of the base model's shape.")
        return Served(name, str(folder), self.base.name, "", model, None)

    def _compare(self, folder: Path, digest: str) -> None:
        """Refuse weights that are not those of their record, or of another base or template."""
        if not (folder / RECORD).is_file():
            return
        record = _object(folder / RECORD)
        if record.get("weights_sha256") not in (None, "", digest):
            raise _unfit(
                f"The weights in {str(folder)!r} are not those that its {RECORD} tells of; they "
                "were changed after training: train them again."
            )
        told = record.get("base")
        base = cast("dict[str, object]", told) if isinstance(told, dict) else {}
        trained = base.get("weights_sha256")
        if isinstance(trained, str) and trained and trained != self.base.sha256:
            raise _unfit(
                f"The weights in {str(folder)!r} were trained from another base model than "
                f"{self.base.name!r}; serve the one they were trained from."
            )
        template = hashlib.sha256(self.tokenizer.chat_template.encode()).hexdigest()
        if record.get("chat_template_sha256") not in (None, "", template):
            raise _unfit(
                f"The weights in {str(folder)!r} were trained with another chat template than "
                f"{self.base.name!r} has; train them again with this one."
            )


class Libraries:
    """The libraries of the trainers' environment."""

    def __init__(self, torch: Any, transformers: Any) -> None:
        self.torch = torch
        self.transformers = transformers

    @property
    def peft(self) -> Any:
        """Imported where an adapter is loaded: it takes seconds.

        Raises:
            Refusal: it is not installed.
        """
        from importlib import import_module

        try:
            return import_module("peft")
        except ModuleNotFoundError:
            raise _unfit("Adapters need the package 'peft', which is not installed.") from None


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _strange(folder: Path) -> str | None:
    """What is wrong with a folder that holds more than files and folders; None where nothing is.

    Whoever opens a pipe waits for somebody at its other end, and a device may never end.
    """
    try:
        held = [each.name for each in folder.iterdir() if not (each.is_file() or each.is_dir())]
    except OSError:
        return None  # there is no such folder, which is told by what is not found in it
    if not held:
        return None
    return (
        f"The folder {str(folder)!r} holds {min(held)!r}, which is neither a file nor a folder; "
        "remove it, or copy the weights again."
    )


def _tensors(path: Path) -> list[str]:
    """The names that a file of weights holds, by its header.

    Raises:
        Refusal: it has none that can be read.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            head: object = json.loads(file.read(length)) if length <= _LARGEST_HEADER else None
    except (OSError, ValueError, RecursionError):
        head = None
    if not isinstance(head, dict):
        raise _unfit(f"The file {str(path)!r} is damaged: it has no header of weights.")
    return [name for name in cast("dict[str, object]", head) if name != "__metadata__"]


def _load(libraries: Libraries, folder: Path, device: str) -> Any:
    model = libraries.transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=libraries.torch.float32,
        attn_implementation="sdpa",
    )
    return model.to(device).eval()


def _object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ValueError(f"it has more than {_LARGEST_JSON} bytes")
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unfit(f"The file {str(path)!r} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise _unfit(f"The file {str(path)!r} is no JSON object.")
    return cast("dict[str, Any]", value)


def _unfit(message: str) -> Refusal:
    return Refusal(message, kind="InvalidUserInput")
