"""A log for machines: one JSON object a line, of events and of this process's warnings.

Every line has `time` (UTC, ISO 8601), `level` (`info`, `warning` or `error`), `kind`, `run`,
`round` and `slot` (null where there is none). For an event, `kind` is its class and `data` holds
what it says, as `agentlab.events` has it. For a warning of agentlab or of a library that it uses,
`kind` is `log` and `data` holds `logger`, `message` and, where there was one, `error`, the class of
the exception. Fields may be added to `data`; none of the others changes its meaning.

Texts are bounded, this process's secrets are taken out, and a file is turned over at a size.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self, TextIO, cast

from agentlab.errors import UsageError
from agentlab.events import ROUND_SLOT, Event, RunFinished, RunPaused
from agentlab.models.redaction import known, look_again

LARGEST = 10_000_000
"""Bytes of a file before it is turned over."""
KEPT = 4
"""Older files that are kept beside it: `FILE.1` is the newest of them."""
LONGEST = 500
"""Characters of a text."""
MOST = 50
"""Values of a list or an object."""

Level = Literal["info", "warning", "error"]


class _Place(NamedTuple):
    """The run and the round that a line is of."""

    run: str | None
    round: int | None


class JsonLog:
    """Implements `protocols.Observer`. Close it, or use it in a `with`.

    Args:
        target: a file, which is appended to, or an open stream, which stays open.
        largest: bytes of a file before it is turned over.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, target: Path | str | TextIO, *, largest: int = LARGEST) -> None:
        look_again()
        self._lines = _File(Path(target), largest) if isinstance(target, Path | str) else target
        self._lock = threading.Lock()
        self._last = _Place(None, None)
        self._handler = _Handler(self)
        logging.getLogger().addHandler(self._handler)

    def notify(self, event: Event) -> None:
        """Write an event down."""
        failed = isinstance(event, RunFinished) and event.status == "failed"
        warns = isinstance(event, RunPaused) and bool(event.reason)
        level: Level = "error" if failed else "warning" if warns else "info"
        slot = None if event.slot == ROUND_SLOT else event.slot
        with self._lock:
            before = self._last.round if self._last.run == event.run_id else None
            self._last = _Place(event.run_id, before if event.lifecycle else event.round)
        place = _Place(event.run_id, event.round)
        self._write(level, event.kind, place, slot, event.payload())

    def log(self, record: logging.LogRecord) -> None:
        """Write a warning down, under the run and round that were last told of."""
        data: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info is not None and record.exc_info[0] is not None:
            data["error"] = record.exc_info[0].__name__
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        self._write(level, "log", self._last, None, data)

    def close(self) -> None:
        """Write no more. Safe to call twice."""
        logging.getLogger().removeHandler(self._handler)
        if isinstance(self._lines, _File):
            self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(
        self,
        level: Level,
        kind: str,
        place: _Place,
        slot: int | None,
        data: Mapping[str, object],
    ) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "kind": kind,
            "run": place.run,
            "round": place.round,
            "slot": slot,
            "data": _bounded(data),
        }
        # ASCII alone: no text can end a line, or show as what it is not.
        text = json.dumps(line, allow_nan=False) + "\n"
        with self._lock:
            self._lines.write(text)
            self._lines.flush()


class _Handler(logging.Handler):
    """Hands warnings to the log; one that cannot be written is lost and stops nothing."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log.log(record)
        except Exception:  # as `logging` wishes: told on stderr, and nobody's work is stopped
            self.handleError(record)


class _File:
    """A file that is turned over before it grows too large."""

    def __init__(self, path: Path, largest: int) -> None:
        self._path = path
        self._largest = largest
        try:
            self._stream = self._opened()
        except OSError as error:
            raise UsageError(
                f"The log {str(path)!r} cannot be written ({error.strerror}); name a file in a "
                "directory that is there and writable."
            ) from error

    def write(self, text: str) -> None:
        """Append a line."""
        if self._stream.tell() + len(text) > self._largest and self._stream.tell():
            self._turn_over()
        self._stream.write(text)

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._stream.flush()

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._stream.close()

    def _opened(self) -> TextIO:
        stream = self._path.open("a", encoding="ascii")
        stream.seek(0, os.SEEK_END)
        return stream

    def _turn_over(self) -> None:
        self._stream.close()
        for number in range(KEPT, 0, -1):
            newer = self._path if number == 1 else self._numbered(number - 1)
            with contextlib.suppress(FileNotFoundError):
                newer.replace(self._numbered(number))
        self._stream = self._opened()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _bounded(value: object, depth: int = 0) -> object:
    if isinstance(value, str):
        said = known().text(value)
        return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if depth > 3:
        return "…"
    if isinstance(value, Mapping):
        items = list(cast("Mapping[object, object]", value).items())[:MOST]
        return {str(_bounded(str(k))): _bounded(v, depth + 1) for k, v in items}
    if isinstance(value, Sequence):
        return [_bounded(each, depth + 1) for each in cast("Sequence[object]", value)[:MOST]]
    return _bounded(str(value), depth)
