"""Brings a database to the schema of this version, or refuses one of a later version.

Alembic takes long to import, so the version is read with plain SQLite first and Alembic is
loaded only when there is something to do.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from agentlab.errors import NewerDatabaseError, WorkspaceError
from agentlab.records.database import Database

REVISIONS: tuple[str, ...] = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")
"""Every revision, oldest first; a test compares them with the scripts."""
HEAD = REVISIONS[-1]
APPLICATION_ID = 0x61676C62
"""Marks a SQLite file as ours, from revision 0002 on."""
_FIRST_TABLES = frozenset({"runs", "attempts", "items", "documents"})
"""By which a file of the first revision, which had no mark yet, is known."""


def migrate(database: Database) -> None:
    """Create or upgrade the schema.

    Raises:
        NewerDatabaseError: a later version of agentlab wrote the database.
        WorkspaceError: it is the database of another program.
        RecordsError: it cannot be read or written, or is no database.
    """
    if current(database) == HEAD:
        return
    with _alone(database):
        # Another process may have done it while this one waited.
        if current(database) != HEAD:
            _upgrade(database)


def current(database: Database) -> str | None:
    """The revision of a database; None for one without tables.

    Raises:
        NewerDatabaseError: it is not among ours.
        WorkspaceError: the file is the database of another program.
    """
    if not database.path.exists():
        return None
    with database.faults(), closing(sqlite3.connect(database.path)) as connection:
        tables = {
            row[0]
            for row in connection.execute("SELECT name FROM sqlite_master WHERE type != 'index'")
        }
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        _check_ours(database, tables, mark)
        if "alembic_version" not in tables:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        return None
    revision = str(row[0])
    if revision not in REVISIONS:
        raise NewerDatabaseError(
            f"The records in {str(database.path)!r} were written by a newer agentlab (schema "
            f"{revision!r}, this one knows up to {HEAD!r}); upgrade agentlab, or choose another "
            "workspace."
        )
    return revision


def _check_ours(database: Database, tables: set[str], mark: int) -> None:
    if mark == APPLICATION_ID or (not tables and mark == 0):
        return
    # Another program may use Alembic as well, and number its revisions as we do.
    if mark == 0 and "alembic_version" in tables and tables >= _FIRST_TABLES:
        return
    raise WorkspaceError(
        f"The records in {str(database.path)!r} cannot be used, for the file is the database of "
        "another program; move it away, or choose another workspace with --workspace."
    )


def _upgrade(database: Database) -> None:
    # Slow to import, and needed once in the life of a database.
    from alembic import command
    from alembic.config import Config

    config = Config()
    location = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(location).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _alone(database: Database) -> Generator[None]:
    # The directory itself is the lock, so that nothing is left behind.
    with database.files():
        handle = os.open(database.path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
