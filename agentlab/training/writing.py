"""Rows into files: JSON lines, or parquet where a trainer reads nothing else.

Both are written as rows come, so that an export holds a batch of them and no more. Parquet needs
pyarrow, which is the extra `export`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

import orjson

from agentlab.errors import MissingExtraError
from agentlab.training.formats.format import Body

BATCH = 256
"""Rows that parquet is written by."""


class Sink(Protocol):
    """What takes rows, one after another."""

    def add(self, row: Body) -> None:
        """Write a row."""
        ...


def open_sink(path: Path, columns: Mapping[str, str] | None) -> Lines | Table:
    """Where rows go: JSON lines, or a table where columns are named.

    Raises:
        MissingExtraError: the table needs pyarrow.
    """
    return Lines(path) if columns is None else Table(path, columns)


def spelt(row: object) -> bytes:
    """A row as a line of JSON: UTF-8, no spaces, a newline at its end."""
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        # Halves of surrogate pairs and whole numbers beyond 64 bits, which it does not spell.
        text = json.dumps(row, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        return text.encode() + b"\n"


class Lines:
    """A file of JSON lines; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", buffering=1 << 20)

    def add(self, row: Body) -> None:
        """Write a row."""
        self._file.write(spelt(row))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


class Table:
    """A parquet file with named columns; use it as a context manager.

    Args:
        path: of the file.
        columns: name to kind; see `_kind`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        try:
            self._arrow = cast("Any", importlib.import_module("pyarrow"))
            parquet = cast("Any", importlib.import_module("pyarrow.parquet"))
        except ModuleNotFoundError as error:
            raise MissingExtraError("Parquet", "export") from error
        self._schema = self._arrow.schema(
            [(name, self._kind(kind)) for name, kind in columns.items()]
        )
        self._writer = parquet.ParquetWriter(path, self._schema)
        self._rows: list[Body] = []

    def _kind(self, name: str) -> Any:
        arrow = self._arrow
        call = arrow.struct(
            [
                ("id", arrow.string()),
                ("type", arrow.string()),
                (
                    "function",
                    arrow.struct([("name", arrow.string()), ("arguments", arrow.string())]),
                ),
            ]
        )
        message = arrow.struct(
            [
                ("role", arrow.string()),
                ("content", arrow.string()),
                ("tool_calls", arrow.list_(call)),
                ("tool_call_id", arrow.string()),
            ]
        )
        kinds = {
            "text": arrow.string(),
            "number": arrow.float64(),
            "messages": arrow.list_(message),
            "prompt": arrow.list_(
                arrow.struct([("role", arrow.string()), ("content", arrow.string())])
            ),
            "reward_model": arrow.struct(
                [("style", arrow.string()), ("ground_truth", arrow.string())]
            ),
            "extra_info": arrow.struct(
                [
                    ("index", arrow.int64()),
                    ("split", arrow.string()),
                    ("need_tools_kwargs", arrow.bool_()),
                    ("task", arrow.string()),
                ]
            ),
        }
        return kinds[name]

    def add(self, row: Body) -> None:
        """Keep a row, and write what has come together."""
        self._rows.append(row)
        if len(self._rows) == BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(
                self._arrow.RecordBatch.from_pylist(self._rows, schema=self._schema)
            )
            self._rows = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
