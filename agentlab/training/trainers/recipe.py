"""Recipes: trainings written down for trainers that run elsewhere, with their launcher.

verl and prime-rl want graphics cards and an environment of their own, so they are not started
here: what they are to do is written as they read it, in a folder that can be taken to such a
machine. Data and base are looked at now, and their hashes go along; the launcher compares them and
has the trainer read its own configuration before it takes a card.

    DIR/launch.sh        does it; says what it needs in its head
    DIR/inputs.sha256    what data, base and recipe were
    DIR/recipe.json      what was asked
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, cast

from pydantic import Field

from agentlab.errors import UsageError, WorkspaceError
from agentlab.training.trainers.export_folder import (
    check_origins,
    check_unchanged,
    data_of,
    report_of,
)
from agentlab.training.trainers.model_folder import ModelFolder, file_digest, read_model
from agentlab.training.trainers.request import Method, Parameters
from agentlab.types import Frozen, JsonObject

RecipeName = Literal["verl", "prime-rl"]
PLAIN = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "config.json",
)
"""Files of the base, beside its weights, whose change would change what is trained."""


class RecipeRequest(Frozen):
    """A training that is to be written down."""

    trainer: RecipeName
    data: tuple[Path, ...] = Field(min_length=1)
    base: Path
    out: Path
    method: Method = "lora"
    seed: int = Field(default=0, ge=0, lt=2**31)
    parameters: Parameters = Field(default_factory=Parameters)


class Found(NamedTuple):
    """What a recipe is written from."""

    request: RecipeRequest
    base: ModelFolder
    folder: Path
    """The export's."""
    data: Path
    rows: int

    @property
    def context(self) -> int:
        """The most tokens that a row may have."""
        return self.base.context or 4096


class RecipeReport(Frozen):
    """What was written."""

    out: str
    trainer: str
    files: tuple[str, ...]
    rows: int
    notes: tuple[str, ...]


Written = Mapping[str, bytes]
"""Files by name, `launch.sh` among them."""


def write_recipe(
    request: RecipeRequest, form: str, spell: Callable[[Found], Written], notes: tuple[str, ...]
) -> RecipeReport:
    """Look at data and base, and write the folder.

    Args:
        request: what is asked.
        form: the format of export that the trainer reads.
        spell: from what was found to the trainer's own files.
        notes: what is to be known of running it.

    Raises:
        UsageError: it cannot be asked of this trainer, or the folder exists.
        TrainingRefusedError: data or base are not what they say.
        WorkspaceError: the folder cannot be written.
    """
    base = read_model(request.base)
    if len(request.data) > 1:
        raise UsageError(f"{request.trainer} takes one export; export the runs together.")
    found = _found(request, base, form)
    out = request.out.absolute()
    if out.exists():
        raise UsageError(f"{str(out)!r} exists; name a new folder with --out.")
    files = dict(spell(found))
    inputs = [found.data, *sorted(base.path.glob("*.safetensors"))]
    inputs += [base.path / name for name in PLAIN if (base.path / name).is_file()]
    if any(character in str(path) for path in inputs for character in "\n\\"):
        raise UsageError("A path of data or base has a line break or a backslash; move it.")
    lines = [f"{file_digest(path)}  {path}\n" for path in inputs]
    lines += [f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in files.items()]
    files["inputs.sha256"] = "".join(lines).encode()
    files["recipe.json"] = (_told(found) + "\n").encode()
    _put(files, out)
    return RecipeReport(
        out=str(out), trainer=request.trainer, files=tuple(sorted(files)), rows=found.rows,
        notes=notes,
    )  # fmt: skip


def _found(request: RecipeRequest, base: ModelFolder, form: str) -> Found:
    folder = request.data[0].absolute()
    told = report_of(folder, (form,))
    data = data_of(folder, told)
    rows = check_unchanged(folder, told, sha256=file_digest(data))
    check_origins(folder, rows, form, base)
    return Found(request, base, folder, data, rows)


def _told(found: Found) -> str:
    told: JsonObject = {
        **cast("JsonObject", found.request.model_dump(mode="json")),
        "base_weights_sha256": found.base.weights_sha256,
        "tokenizer_sha256": found.base.tokenizer_sha256,
        "chat_template_sha256": found.base.chat_template_sha256,
        "rows": found.rows,
    }
    return json.dumps(told, indent=1)


def _put(files: Mapping[str, bytes], out: Path) -> None:
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        for name, body in files.items():
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        (part / "launch.sh").chmod(0o755)
        part.rename(out)
    except OSError as error:
        raise WorkspaceError(
            f"The recipe cannot be written to {str(out)!r} ({error.strerror}); make room, or name "
            "another folder."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
