"""How a cycle trains: `agentlab train` as a process of its own, so that torch is never ours.

Any other way fits too: whoever gives a `Trainer` gets a folder to fill, whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from agentlab.cycle.settings import TrainStage
from agentlab.errors import TrainerFaultError

SHOWN = 2_000
"""Characters of a trainer's last words that an error tells."""


class TrainOrder(NamedTuple):
    """One training that a cycle wants."""

    stage: TrainStage
    data: Path
    """An export's folder."""
    base: Path
    out: Path
    """The folder to make: absent, or left from an earlier try of the same order."""
    start: Path | None
    """An adapter to go on from; None is the base model."""
    seed: int
    version: int
    """In the name of what is made."""


class Trainer(Protocol):
    """Makes weights from an export."""

    async def train(self, order: TrainOrder) -> None:
        """Fill `order.out`, or go on where an earlier try of the same order stopped.

        Raises:
            TrainerFaultError: it failed; the text says why.
        """
        ...


class CommandTrainer:
    """Trains by `agentlab train`. Implements `Trainer`.

    Args:
        log: file that its output is added to.
        command: in place of this Python's `agentlab`.
    """

    def __init__(self, log: Path, command: tuple[str, ...] = ()) -> None:
        self._log = log
        self._command = command or (sys.executable, "-m", "agentlab")

    async def train(self, order: TrainOrder) -> None:
        """Run the command to its end; cancelled, it is ended too and goes on next time.

        Raises:
            TrainerFaultError: it failed, or left no folder.
        """
        log = await asyncio.to_thread(open, self._log, "ab")
        try:
            code = await self._run(self._words(order), log)
        finally:
            log.close()
        if code != 0 or not await asyncio.to_thread(order.out.is_dir):
            raise TrainerFaultError(
                f"Training with {order.stage.trainer!r} ended with {code} and left no weights; it "
                f"last said: {self._said()}"
            )

    async def _run(self, words: list[str], log: IO[Any]) -> int:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(os.environ),
            start_new_session=True,
        )
        try:
            return await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            await process.wait()
            raise

    def _words(self, order: TrainOrder) -> list[str]:
        words = [
            *(*self._command, "train", order.stage.trainer),
            *("--data", str(order.data), "--base", str(order.base), "--out", str(order.out)),
            *("--method", order.stage.method, "--seed", str(order.seed)),
            *("--version", str(order.version), "--display", "plain"),
        ]
        if order.start is not None:
            words += ["--from", str(order.start)]
        for name, value in order.stage.options.items():
            flag = f"--{name.replace('_', '-')}"
            if value is True:
                words.append(flag)
            elif value is not False and value is not None:
                words += [flag, str(value)]
        return words

    def _said(self) -> str:
        try:
            text = self._log.read_bytes()[-SHOWN:].decode("utf-8", "replace")
        except OSError:
            return "nothing"
        lines = [line for line in text.splitlines() if line.strip()]
        return " ".join(" ".join(lines[-4:]).split()) or "nothing"
