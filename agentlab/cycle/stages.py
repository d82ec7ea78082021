"""What a cycle has done, as files: a stage that is written down is not done again.

    <workspace>/cycles/<name>/cycle.json            what it was asked, with the first line
    <workspace>/cycles/<name>/0001/practice.begun   the run, from when it began
    <workspace>/cycles/<name>/0001/practice.json    what it came to
    <workspace>/cycles/<name>/0001/export-1/        and export-1.json, train-1.json, gate.json …

Each file appears whole or not at all, so whatever killed the process, the next one reads what is
there and goes on. Nothing here does the work.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from agentlab.cycle.settings import CycleConfig
from agentlab.errors import RecordsError, UsageError, WorkspaceError
from agentlab.records import Workspace
from agentlab.records.files import refuse_strangers, replace_text
from agentlab.types import Frozen, JsonObject

FOLDER = "cycles"


class Stage(Frozen):
    """A stage that is done."""

    stage: str
    """`practice`, `watch`, `export-1`, `train-1`, `gate`."""
    told: str
    """In a sentence."""
    result: JsonObject = Field(default_factory=dict)
    seconds: float = 0.0
    tokens: int = 0


class Stages:
    """The files of one cycle.

    Args:
        workspace: where.
        config: what it is asked; the first time it is written down, later it is compared.

    Raises:
        UsageError: a cycle of that policy was asked something else.
        WorkspaceError: the files cannot be written.
    """

    def __init__(self, workspace: Workspace, config: CycleConfig) -> None:
        self._root = workspace.path
        self.folder = workspace.path / FOLDER / config.policy
        try:
            refuse_strangers(self._root, self._root / FOLDER, self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(self.folder, error) from error
        asked = config.model_dump_json(indent=1, exclude={"iterations", "budget", "serve"}) + "\n"
        path = self.folder / "cycle.json"
        if not path.exists():
            self._write(path, asked)
        elif path.read_text(encoding="utf-8") != asked:
            raise UsageError(
                f"A cycle of the policy {config.policy!r} is under way in {str(self.folder)!r} and "
                "was asked something else; go on with that file, name another policy, or move the "
                "folder away."
            )

    def place(self, iteration: int) -> Path:
        """The folder of an iteration, from 1; made."""
        place = self.folder / f"{iteration:04d}"
        try:
            place.mkdir(exist_ok=True)
        except OSError as error:
            raise self._refusal(place, error) from error
        return place

    def done(self, iteration: int, stage: str) -> Stage | None:
        """What a stage came to, or None.

        Raises:
            RecordsError: its file was damaged.
        """
        path = self.place(iteration) / f"{stage}.json"
        try:
            return Stage.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise RecordsError(
                f"The cycle's file {str(path)!r} cannot be read ({type(error).__name__}); remove "
                "it, and the stage is done again."
            ) from error

    def finish(self, iteration: int, stage: Stage) -> Stage:
        """Write down what a stage came to.

        Raises:
            WorkspaceError: the disk is full or cannot be written.
        """
        path = self.place(iteration) / f"{stage.stage}.json"
        self._write(path, stage.model_dump_json(indent=1) + "\n")
        return stage

    def begun(self, iteration: int, stage: str) -> str:
        """What a stage began with, or nothing."""
        try:
            return (self.place(iteration) / f"{stage}.begun").read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def begin(self, iteration: int, stage: str, what: str) -> None:
        """Write down what a stage begins with.

        Raises:
            WorkspaceError: the disk is full or cannot be written.
        """
        self._write(self.place(iteration) / f"{stage}.begun", f"{what}\n")

    def all(self) -> list[tuple[int, Stage]]:
        """Every stage that is done, by iteration and time."""
        found: list[tuple[int, Stage]] = []
        for place in sorted(self.folder.glob("[0-9]*")):
            files = sorted(place.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
            for file in files:
                stage = self.done(int(place.name), file.stem)
                if stage is not None:
                    found.append((int(place.name), stage))
        return found

    def _write(self, path: Path, text: str) -> None:
        try:
            replace_text(path, text)
        except OSError as error:
            raise self._refusal(path, error) from error

    def _refusal(self, path: Path, error: OSError) -> WorkspaceError:
        return WorkspaceError(
            f"The cycle cannot write {str(path)!r} ({error.strerror}); make room or make it "
            "writable, and run the same command again."
        )
