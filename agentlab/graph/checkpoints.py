"""The checkpoints of a run: opened, sealed, and put aside where they are damaged.

They only say where in the round a run was; what it did is in the records, and every node has
its effect once. So damaged ones are kept under another name, with a warning in the log, and the
run goes on from its records. Each value has its SHA-256 before it, since SQLite itself does not
notice a byte that changed. Nothing that a checkpoint names is ever built but LangGraph's own
types, whoever imported LangGraph first and with whatever settings.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agentlab.errors import WorkspaceError

FILE = "checkpoints.db"
SEALED = "sha256:"
"""Before the kind of a value that has its digest before it."""
_DIGEST = hashlib.sha256().digest_size
_KINDS = ("null", "bytes", "bytearray", "msgpack")
"""What the graph's state is written as. `json` and `pickle`, which older versions of LangGraph
wrote, can name constructors."""

logger = logging.getLogger(__name__)


class CheckpointFault(Exception):
    """A stored value is not the one that was written; never leaves the graph."""


class SealedSerializer(JsonPlusSerializer):
    """LangGraph's serializer with a digest before each value, and without foreign types."""

    def __init__(self) -> None:
        """Allows LangGraph's own types alone, whatever the environment says."""
        super().__init__(allowed_msgpack_modules=None)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The value's kind and bytes."""
        kind, data = super().dumps_typed(obj)
        return SEALED + kind, hashlib.sha256(data).digest() + data

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value.

        Raises:
            CheckpointFault: it was changed, or is of a kind that is never written here.
        """
        kind, content = data
        if kind.startswith(SEALED):
            kind, digest, content = (
                kind.removeprefix(SEALED), content[:_DIGEST], content[_DIGEST:],
            )  # fmt: skip
            if hashlib.sha256(content).digest() != digest:
                raise CheckpointFault("a value is not the one that was written")
        if kind not in _KINDS:
            raise CheckpointFault(f"a value is of the unknown kind {kind!r}")
        return super().loads_typed((kind, content))


@asynccontextmanager
async def checkpoints(
    directory: Path, run_id: str, read: Callable[[AsyncSqliteSaver], Awaitable[object]]
) -> AsyncGenerator[AsyncSqliteSaver]:
    """The checkpoints of a run, new ones where there are none or damaged ones.

    Args:
        directory: the run's.
        run_id: the run.
        read: reads from them what the run goes on from; what it raises is damage.

    Raises:
        WorkspaceError: they cannot be read or written.
    """
    path = directory / FILE
    if path.exists():
        damage = _damage(path) or await _unreadable(path, run_id, read)
        if damage is not None:
            _put_aside(path, run_id, damage)
    try:
        async with _saver(path) as saver:
            yield saver
    except sqlite3.Error as error:
        raise _refusal(path, run_id, error) from error


@asynccontextmanager
async def _saver(path: Path) -> AsyncGenerator[AsyncSqliteSaver]:
    async with aiosqlite.connect(path) as connection:
        yield AsyncSqliteSaver(connection, serde=SealedSerializer())


def _damage(path: Path) -> str | None:
    """What SQLite finds wrong with the file itself."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if _is_damage(error):
            return str(error)
        raise _refusal(path, "", error) from error
    except UnicodeDecodeError as error:
        return str(error)
    return None if found == "ok" else str(found)


async def _unreadable(
    path: Path, run_id: str, read: Callable[[AsyncSqliteSaver], Awaitable[object]]
) -> str | None:
    """Why the last checkpoint cannot be read, or None when it can."""
    try:
        async with _saver(path) as saver:
            await read(saver)
    except sqlite3.Error as error:
        if _is_damage(error):
            return str(error)
        raise _refusal(path, run_id, error) from error
    # Damage can be any error of whatever takes the bytes apart, and none of them is worth more
    # than the records, from which the run goes on.
    except Exception as error:
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return None


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorname", None)
    if code is None:  # raised by the driver over what it read
        return isinstance(error, sqlite3.DatabaseError)
    # A table that is missing or has other columns is damage as well: the file was ours.
    return code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or code == "SQLITE_ERROR"


def _put_aside(path: Path, run_id: str, damage: str) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    try:
        path.rename(aside)
        # Its log belongs to it, and would be applied to the new file.
        for end in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    except OSError as error:
        raise WorkspaceError(
            f"The checkpoints in {str(path)!r} are damaged and cannot be put aside "
            f"({error.strerror}); make the directory writable and run the same command again."
        ) from error
    logger.warning(
        "The checkpoints of the run %r are damaged (%s) and are kept as %r; the run goes on from "
        "its records.",
        run_id,
        " ".join(damage.split())[:200],
        aside.name,
    )


def _refusal(path: Path, run_id: str, error: sqlite3.Error) -> WorkspaceError:
    if _is_damage(error):
        return WorkspaceError(
            f"The checkpoints in {str(path)!r} were damaged while they were in use ({error}); "
            f"`agentlab resume {run_id}` puts them aside and goes on from the records."
        )
    return WorkspaceError(
        f"The checkpoints in {str(path)!r} cannot be used ({error}); free some space or make "
        "the directory writable, and run the same command again."
    )
