"""One SQLite database: how it is opened, who may write, what its failures are called.

Writes are serialised: one transaction at a time in a process (`BEGIN IMMEDIATE` keeps other
processes out as well), and a commit returns only after the log is synced. Reads go beside,
over connections of their own, and see what was committed. Nothing here knows a table.
"""

from __future__ import annotations

import errno
import re
import shutil
import sqlite3
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from agentlab.errors import RecordsError, WorkspaceError

BUSY_SECONDS = 30.0
FULL_BELOW_BYTES = 1 << 20
"""An I/O error with less than this left on the disk is called a full disk."""

_NOT_TEXT = re.compile(r"Could not decode to UTF-8 column '(\w+)'")
"""What the driver says of such a text, before it says the text."""

Row = Mapping[str, object]


class Session(Protocol):
    """Where the nouns of the store read and write: a database, or an open transaction."""

    def read(self) -> AbstractContextManager[Connection]:
        """A connection to query."""
        ...

    def write(self) -> AbstractContextManager[Connection]:
        """A connection inside a transaction, committed when the block ends well."""
        ...


class Database:
    """A database file. Safe to share between threads; one writes at a time."""

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self._writing = threading.Lock()
        self._writer: int | None = None
        engine = create_engine(
            f"sqlite:///{path}",
            connect_args={"check_same_thread": False, "timeout": busy_seconds},
        )
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        self._reader = engine
        self._busy_seconds = busy_seconds
        self._engine: Engine = engine.execution_options(agentlab_writes=True)
        self._relaxed: Engine = engine.execution_options(
            agentlab_writes=True, agentlab_relaxed=True
        )

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A connection that sees one committed state throughout the block.

        Raises:
            RecordsError: the database cannot be read; the text says why.
        """
        with self.faults(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, flushed: bool = True) -> Generator[Connection]:
        """One transaction: all of the block or nothing.

        Args:
            flushed: whether it is on the disk when the block ends. Without, it outlives this
                process, however that ends, but not a loss of power before the next transaction
                that is flushed.

        Raises:
            RecordsError: a transaction is open in this thread already, or the database
                cannot be written; the text says why.
            WorkspaceError: the disk is full or read-only.
        """
        here = threading.get_ident()
        if self._writer == here:
            raise RecordsError(
                "A transaction is open already; write through the object that it handed out, "
                "and await nothing inside it."
            )
        with self._writing:
            self._writer = here
            try:
                engine = self._engine if flushed else self._relaxed
                with self.faults(), engine.begin() as connection:
                    yield connection
            finally:
                self._writer = None

    @contextmanager
    def faults(self) -> Generator[None]:
        """Names what SQLite reports in our words.

        Raises:
            RecordsError: SQLite failed in the block; the text says why.
            WorkspaceError: it failed because the disk is full or read-only.
        """
        try:
            yield
        except DBAPIError as error:
            cause = error.orig
            if isinstance(cause, sqlite3.IntegrityError | sqlite3.InterfaceError):
                raise RecordsError(
                    f"The records in {str(self.path)!r} refused a write: {cause}; "
                    "check that the run and the tasks it names were recorded first."
                ) from error
            if isinstance(cause, sqlite3.Error):
                raise self.name(cause) from error
            raise
        except sqlite3.Error as error:
            raise self.name(error) from error

    @contextmanager
    def files(self) -> Generator[None]:
        """Names failures of files beside the database in our words.

        Raises:
            WorkspaceError: the block could not write; the text says why.
        """
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._disk_full() from error
            raise WorkspaceError(
                f"The directory of {str(self.path)!r} cannot be written ({error.strerror}); make "
                "it writable or choose another with --workspace."
            ) from error

    def name(self, error: sqlite3.Error) -> RecordsError:
        """The one sentence for a failure of SQLite."""
        where = f"The records in {str(self.path)!r}"
        code = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        if code.startswith("SQLITE_FULL") or (code.startswith("SQLITE_IOERR") and self._full()):
            return self._disk_full()
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return WorkspaceError(
                f"{where} cannot be written ({error}); make the directory writable or choose "
                "another with --workspace."
            )
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return RecordsError(
                f"{where} were locked by another process for {self._busy_seconds:g} s; wait for "
                "it to end, or end it, and try again."
            )
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return RecordsError(
                f"{where} are damaged ({error}); put back a copy, or save what can be read with "
                f"`sqlite3 {self.path.name} .recover` and choose another workspace."
            )
        if column := _NOT_TEXT.match(str(error)):
            return RecordsError(
                f"{where} hold something in a column {column[1]!r} that is no text, and were "
                "changed by something other than agentlab; put back a copy of the workspace."
            )
        if code.startswith("SQLITE_IOERR"):
            return WorkspaceError(
                f"{where} cannot be reached ({error}); check the disk and run the same command "
                "again."
            )
        return RecordsError(
            f"{where} cannot be used ({error}); check with `agentlab doctor` that this is a "
            "database of agentlab."
        )

    def close(self) -> None:
        """Give back every connection. Safe to call twice."""
        self._reader.dispose()

    def _disk_full(self) -> WorkspaceError:
        return WorkspaceError(
            f"The disk that holds {str(self.path)!r} is full; free some space and run the same "
            "command again, for nothing that was recorded is lost."
        )

    def _full(self) -> bool:
        try:
            return shutil.disk_usage(self.path.parent).free < FULL_BELOW_BYTES
        except OSError:
            return False


class Joined:
    """A session inside a transaction that someone else began and will end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self) -> AbstractContextManager[Connection]:
        """The transaction's connection; it sees what the transaction wrote."""
        return nullcontext(self._connection)

    def write(self) -> AbstractContextManager[Connection]:
        """The transaction's connection."""
        return nullcontext(self._connection)


def add(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert the rows; one whose key is taken already is left as it was."""
    if not rows:
        return
    connection.execute(_insertion(table, connection.dialect.name), [dict(row) for row in rows])


@cache
def _insertion(table: Table, dialect: str) -> Insert:
    # Building a statement takes longer than running it.
    make = postgresql_insert if dialect == "postgresql" else sqlite_insert
    return make(table).on_conflict_do_nothing()


def now() -> str:
    """The time, UTC, ISO 8601. For people: nothing compares or sorts by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _configure(connection: DBAPIConnection, _: object) -> None:
    raw: Any = connection
    # The driver's own transactions begin too late and cannot be IMMEDIATE; see `_begin`.
    raw.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    writes = options.get("agentlab_writes", False)
    if writes:
        # Said before each transaction, since connections are used again.
        level = "NORMAL" if options.get("agentlab_relaxed", False) else "FULL"
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
