"""An export, looked at before anything is trained on it.

The folder may be months old, copied by hand or edited. Nothing in it is believed that can be
looked at: the rows against the hash in `export.json`, line by line against `provenance.jsonl`
(practice alone, trainable, one tokenizer and one chat template, those of the base), and each row
against its format (lengths, masks, log-probabilities, ids within the vocabulary).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, cast

from agentlab.errors import TrainingRefusedError, UsageError
from agentlab.training.provenance import LINE_BY_LINE
from agentlab.training.trainers.model_folder import ModelFolder, file_digest
from agentlab.training.trainers.rows import Reward, row_fault, tokens_in
from agentlab.types import JsonObject

DATA = "data.jsonl"


class CheckedExport(NamedTuple):
    """An export that may be trained on."""

    folder: Path
    data: Path
    sha256: str
    format: str
    rows: int
    tokens: int
    """Of rows that come as token ids; 0 of those that hold messages."""
    trained: int
    """Tokens that count in the loss."""
    rewards: tuple[Reward, ...]
    """Of rows of groups, in order."""
    notes: tuple[str, ...]
    """What could not be looked at, in sentences."""
    practised: tuple[str, ...] = ()
    """Templates of its tasks: what is trained on them has seen their structure."""
    scope: str = ""
    """Path of whose attempts they are; empty is everybody's."""

    @property
    def record(self) -> JsonObject:
        """What of it belongs into `agentlab.json`."""
        whose: JsonObject = {"scope": self.scope} if self.scope else {}
        return {
            "export": str(self.folder), "sha256": self.sha256, "format": self.format, **whose,
        }  # fmt: skip


def check_export(folder: Path, formats: tuple[str, ...], base: ModelFolder) -> CheckedExport:
    """Look at an export.

    Args:
        folder: as `agentlab export` wrote it.
        formats: that the trainer reads.
        base: the model that is to be trained.

    Raises:
        UsageError: the folder is no export, or of a format for another trainer.
        TrainingRefusedError: what is in it may not, or cannot truthfully, be trained on.
    """
    told = report_of(folder, formats)
    form = str(told["format"])
    if data_of(folder, told).name != DATA:
        raise UsageError(f"The export {str(folder)!r} lacks {DATA}; export it again.")
    notes = _same_language(told, form, base, f"The export {str(folder)!r}")
    looked = _look(folder, form, base)
    check_unchanged(folder, told, sha256=looked.sha256, rows=looked.rows)
    origins = check_origins(folder, looked.rows, form, base)
    notes += origins.notes
    of_view = told.get("notes")
    notes += tuple(str(each) for each in of_view) if isinstance(of_view, list) else ()
    scope = told.get("scope")
    return looked._replace(
        notes=notes, practised=origins.practised, scope=scope if isinstance(scope, str) else ""
    )


def report_of(folder: Path, formats: Sequence[str]) -> JsonObject:
    """What an export says of itself.

    Args:
        folder: as `agentlab export` wrote it.
        formats: that the trainer reads.

    Raises:
        UsageError: the folder is no export, or of a format for another trainer.
        TrainingRefusedError: what it says is cut short.
    """
    if not (folder / "export.json").is_file():
        raise UsageError(
            f"{str(folder)!r} is no export (it lacks export.json); write one with "
            f"`agentlab export RUN --format {formats[0]} --out DIR`."
        )
    told = _object(folder / "export.json", "export.json")
    if told.get("format") not in formats:
        raise UsageError(
            f"The export {str(folder)!r} is of the format {str(told.get('format'))!r}, and this "
            f"trainer reads {' or '.join(formats)}; export it again with --format {formats[0]}."
        )
    if not data_of(folder, told).is_file():
        raise UsageError(
            f"The export {str(folder)!r} lacks {data_of(folder, told).name}; export it again."
        )
    return told


def data_of(folder: Path, told: JsonObject) -> Path:
    """The file of its rows, which lies in the folder whatever `told` names."""
    return folder / Path(str(told.get("data", DATA))).name


def check_unchanged(folder: Path, told: JsonObject, *, sha256: str, rows: int | None = None) -> int:
    """How many rows an export has, whose files are those that were written.

    Args:
        folder: the export's.
        told: what it says of itself.
        sha256: of its rows as they are now.
        rows: how many those are, if they were counted.

    Raises:
        TrainingRefusedError: a file was changed since, or is gone, or there is no row.
    """
    data, wanted, said = data_of(folder, told), told.get("data_sha256"), told.get("rows")
    if not isinstance(wanted, str) or not wanted:
        raise TrainingRefusedError(
            f"The export {str(folder)!r} does not say the hash of its rows, so nobody can tell "
            "whether they were changed; export again with this version."
        )
    if sha256 != wanted:
        raise TrainingRefusedError(
            f"{str(data)!r} was changed after it was exported (its hash is {sha256[:8]}, not "
            f"{wanted[:8]}); export again."
        )
    if rows is not None and said != rows:
        raise TrainingRefusedError(
            f"{str(data)!r} has {rows} rows and export.json tells of {said}; export again."
        )
    if not isinstance(said, int) or not said:
        raise TrainingRefusedError(f"The export {str(folder)!r} holds no row; export again.")
    beside = told.get("beside_sha256")
    of_each = cast("dict[str, object]", beside) if isinstance(beside, dict) else {}
    for name in LINE_BY_LINE:
        path = folder / name
        if of_each and of_each.get(name) != (file_digest(path) if path.is_file() else None):
            raise TrainingRefusedError(
                f"{str(path)!r} is not what was exported with the rows beside it; export again."
            )
    return said


def _look(folder: Path, form: str, base: ModelFolder) -> CheckedExport:
    """Every row against its format."""
    sha = hashlib.sha256()
    rows = tokens = trained = 0
    rewards: list[Reward] = []
    with open(folder / DATA, "rb") as file:
        for line in file:
            sha.update(line)
            rows += 1
            try:
                row = cast("object", json.loads(line))
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict) or not line.endswith(b"\n"):
                _refuse(folder, rows, "is cut short or no JSON object; export again")
            told = cast("dict[str, object]", row)
            why = row_fault(form, told, base.vocabulary, base.context)
            if why is not None:
                _refuse(folder, rows, why)
            all_, mine = tokens_in(form, told)
            tokens, trained = tokens + all_, trained + mine
            if form == "trl-grpo-replay":
                rewards.append(Reward.of(told))
    if not rows:
        raise TrainingRefusedError(f"{str(folder / DATA)!r} holds no row; export again.")
    return CheckedExport(
        folder.absolute(), (folder / DATA).absolute(), sha.hexdigest(), form, rows, tokens,
        trained, tuple(rewards), (),
    )  # fmt: skip


class Origins(NamedTuple):
    """What all rows' origins come to."""

    notes: tuple[str, ...]
    """What could not be looked at, or is otherwise than in practice, in sentences."""
    practised: tuple[str, ...]
    """Templates of the tasks, each once, sorted."""


def check_origins(folder: Path, rows: int, form: str, base: ModelFolder) -> Origins:
    """Look at every row's origin.

    Raises:
        TrainingRefusedError: a row is not of practice, may not be trained on, or has none.
    """
    path = folder / "provenance.jsonl"
    number = untold = other = 0
    practised: set[str] = set()
    for number, line in enumerate(_lines(path), start=1):
        split = line.get("split")
        if split != "practice":
            _refuse(folder, number, f"is of the split {split!r}, which is never trained on")
        if line.get("trainable") is not True:
            _refuse(folder, number, "may not be trained on, as its provenance says")
        terms = line.get("terms")
        if not isinstance(terms, dict) or not all(terms.values()):
            _refuse(folder, number, "comes from a model whose terms are unknown; give --terms")
        untold += bool(_same_language(line, form, base, f"Row {number} of {str(folder)!r}"))
        structure = line.get("template")
        if isinstance(structure, str):
            practised.add(structure)
        templates = line.get("chat_template_sha256")
        known = templates if isinstance(templates, list) else []
        other += any(each != base.chat_template_sha256 for each in known)
    if number != rows:
        raise TrainingRefusedError(
            f"{str(path)!r} has {number} lines for {rows} rows, so the origin of some is unknown; "
            "export again."
        )
    notes: list[str] = []
    if untold:
        notes.append(
            f"{untold} of {rows} rows of {str(folder)!r} do not say which tokenizer and chat "
            "template made their ids, so nobody can tell whether those are the base's; export with "
            "--tokenizer."
        )
    if other:  # of messages: ids of another template were refused
        notes.append(
            f"{other} of {rows} rows of {str(folder)!r} were practised with another chat template "
            "than the base has now, which renders them."
        )
    return Origins(tuple(notes), tuple(sorted(practised)))


def _same_language(told: JsonObject, form: str, base: ModelFolder, whose: str) -> tuple[str, ...]:
    """Whether rows of tokens were made with the base's tokenizer and chat template.

    Raises:
        TrainingRefusedError: they were made with others.
    """
    if form not in ("trl-sft", "trl-grpo-replay"):
        return ()  # messages, which the base's own template renders
    notes: list[str] = []
    for name, mine, what in (
        ("tokenizer_sha256", base.tokenizer_sha256, "tokenizer"),
        ("chat_template_sha256", base.chat_template_sha256, "chat template"),
    ):
        said = told.get(name)
        theirs = [said] if isinstance(said, str) else said
        if not isinstance(theirs, list) or not theirs:
            notes.append(f"{whose} does not say with which {what} its ids were made.")
        elif any(each != mine for each in theirs):
            raise TrainingRefusedError(
                f"{whose} was made with another {what} ({str(theirs[0])[:8]}) than the base has "
                f"({str(mine)[:8]}); train the model that practised, as it was then, or practise "
                "again."
            )
    return tuple(notes)


def _lines(path: Path) -> Iterator[JsonObject]:
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                found = cast("object", json.loads(line))
                if not isinstance(found, dict):
                    raise ValueError
                yield cast("JsonObject", found)
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        raise TrainingRefusedError(
            f"{str(path)!r} is missing or cut short, so the origin of rows is unknown; export "
            "again."
        ) from None


def _object(path: Path, name: str) -> JsonObject:
    try:
        found = cast("object", json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TrainingRefusedError(f"{name} in {str(path.parent)!r} is cut short; export again.")
    return cast("JsonObject", found)


def _refuse(folder: Path, number: int, why: str) -> NoReturn:
    raise TrainingRefusedError(f"Row {number} of {str(folder / DATA)!r} {why}.")
