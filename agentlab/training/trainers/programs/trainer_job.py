"""What a trainer's process was told to do, and how it answers.

These programs run under the trainers' Python, which knows nothing of agentlab, and nothing of
agentlab is imported here: a job comes as a file, answers go out as lines of JSON on the stdout
that the process began with. Whatever a library prints goes to stderr, which is a log file.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import threading
from pathlib import Path
from typing import Any, NoReturn, cast


class Refused(Exception):
    """Raised where training would not be truthful; the text is one sentence for a person."""


class Job:
    """The job file, and the places that it names."""

    def __init__(self, path: Path) -> None:
        self.inbox: queue.Queue[Any] = queue.Queue()
        """What the starter sends."""
        self.told = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
        self.work = Path(cast("str", self.told["work"]))
        self.trainer = cast("str", self.told["trainer"])
        self.base = Path(cast("str", self.told["base"]))
        self.adapter = Path(self.told["from"]) if self.told["from"] else None
        self.method = cast("str", self.told["method"])
        self.seed = cast("int", self.told["seed"])
        self.parameters = cast("dict[str, Any]", self.told["parameters"])

    def __getitem__(self, name: str) -> Any:
        """A parameter of the training."""
        return self.parameters[name]

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all data files, in order, each file the one that was checked.

        Raises:
            Refused: a file is not, byte for byte, what was looked at before.
        """
        found: list[dict[str, Any]] = []
        for part in cast("list[dict[str, str]]", self.told["data"]):
            sha = hashlib.sha256()
            with open(part["path"], "rb") as file:
                for line in file:
                    sha.update(line)
                    found.append(json.loads(line))
            if sha.hexdigest() != part["sha256"]:
                raise Refused(
                    f"{part['path']} changed while it was being read; export again and train on "
                    "the new folder."
                )
        return found

    def fits(self, tokens: int, number: int) -> None:
        """Look whether a row fits the model.

        Raises:
            Refused: it is longer than the model takes.
        """
        most = cast("int | None", self.told["context"])
        if most is not None and tokens > most:
            raise Refused(
                f"Row {number} has {tokens} tokens and the base takes {most}; practise with "
                "shorter attempts, or take another base."
            )

    def advantages(self) -> list[list[float]]:
        """For each row, one advantage for each token that the policy drew."""
        text = (self.work / "advantages.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


class Answers:
    """Lines of JSON to whoever started this process."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        # A library's banner is no answer.
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def say(self, kind: str, **what: object) -> None:
        """One line."""
        with self._lock:
            self._stream.write(json.dumps({"kind": kind, **what}) + "\n")
            self._stream.flush()


def end_with_starter(job: Job) -> None:
    """End this process when the one that started it is gone: its end of stdin closes.

    Lines that come before are put into the job's inbox.
    """

    def wait() -> NoReturn:
        # Below Python's buffers, whose lock this thread would hold while the process ends.
        begun = b""
        while piece := os.read(0, 65536):
            *lines, begun = (begun + piece).split(b"\n")
            for line in lines:
                job.inbox.put(json.loads(line))
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
