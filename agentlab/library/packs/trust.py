"""Which key speaks for which pack: trust on first use, and a full stop when it changes.

A small SQLite file at a path that the caller names. The first key under which the user approves
`owner/name` is kept; a pack of that name by another key, or by none, is refused until the user
forgets the old one by hand. Nothing is kept here by looking: `pin` is called on approval only.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

from agentlab.errors import SigningKeyError
from agentlab.library.packs.canonical import sha256
from agentlab.library.packs.keys import load_public
from agentlab.library.packs.limits import PACK, PACK_ENVELOPE
from agentlab.library.packs.refusal import refuse
from agentlab.version import PACKAGE

_TABLE = """
CREATE TABLE IF NOT EXISTS trusted (
    pack TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    public BLOB NOT NULL,
    version TEXT NOT NULL
) STRICT
"""
TRUSTED = "trusted.db"
"""The file of a folder of keys that says whose are believed."""
Standing = Literal["unsigned", "first", "known"]


OURS = "agentlab/"
"""The owner of the packs that ship with agentlab: nobody else's key speaks for it, not even the
first time."""


def keys_folder(given: Path | None = None) -> Path:
    """The folder of keys, made for its owner alone where it is not there.

    Args:
        given: where it is; `agentlab/keys` in the user's settings otherwise.

    Raises:
        SigningKeyError: others could put keys into it.
    """
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    folder = given or Path(base) / "agentlab" / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if stat.S_IMODE(folder.stat().st_mode) & 0o022:
        raise SigningKeyError(
            f"The folder of keys {str(folder)!r} can be changed by others; `chmod 700` it."
        )
    return folder


def our_key() -> str | None:
    """The id of the key whose public half ships with agentlab; None where it does not."""
    for place in (PACKAGE / "skills", PACKAGE.parent / "skills"):
        path = place / "agentlab.pub"
        if path.is_file():
            return sha256(load_public(path))
    return None


def _require_our_key(pack: str, key_id: str | None) -> None:
    if key_id is None or key_id != our_key():
        by = "unsigned" if key_id is None else f"by key {key_id[:16]}"
        raise refuse(
            PACK_ENVELOPE,
            "changed-key",
            f"is {by}, but {pack} can only come from agentlab's own key (skills/agentlab.pub)",
        )


class TrustedKey(NamedTuple):
    """The key that was approved for a pack."""

    pack: str
    key_id: str
    public: bytes
    version: str
    """Of the pack, when it was approved."""


class TrustStore:
    """The keys that the user has approved. Several processes may use one file."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def trusted(self) -> list[TrustedKey]:
        """Every approved key, by pack."""
        with closing(self._connect()) as connection:
            rows = connection.execute(
                "SELECT pack, key_id, public, version FROM trusted ORDER BY 1"
            )
            return [TrustedKey(*row) for row in rows]

    def key_of(self, pack: str) -> TrustedKey | None:
        """The key that speaks for a pack, if one was approved."""
        with closing(self._connect()) as connection:
            query = "SELECT pack, key_id, public, version FROM trusted WHERE pack = ?"
            row = connection.execute(query, (pack,)).fetchone()
            return None if row is None else TrustedKey(*row)

    def standing(self, pack: str, key_id: str | None) -> Standing:
        """What is known of the key under which a pack came; None is an unsigned pack.

        Raises:
            PackRefusedError: another key was approved for this pack, which is a full stop.
        """
        kept = self.key_of(pack)
        if kept is None and pack.startswith(OURS):
            _require_our_key(pack, key_id)
        if kept is None:
            return "unsigned" if key_id is None else "first"
        if key_id is None:
            raise refuse(
                PACK, "changed-key", f"is unsigned, but {pack} was approved with a key; stop here"
            )
        if kept.key_id != key_id:
            raise refuse(
                PACK_ENVELOPE,
                "changed-key",
                f"is by key {key_id[:16]}, but {pack} was approved with {kept.key_id[:16]}; "
                "ask its owner by another way before you forget the old key",
            )
        return "known"

    def pin(self, pack: str, key_id: str, public: bytes, *, version: str) -> None:
        """Keep the key as the one that speaks for the pack, on the user's approval.

        Raises:
            PackRefusedError: another key was approved meanwhile.
        """
        with closing(self._connect()) as connection, connection:
            connection.execute(
                "INSERT INTO trusted VALUES (?, ?, ?, ?) ON CONFLICT (pack) DO NOTHING",
                (pack, key_id, public, version),
            )
        self.standing(pack, key_id)

    def forget(self, pack: str) -> bool:
        """Let the next key be a first one again; False if none was kept."""
        with closing(self._connect()) as connection, connection:
            return connection.execute("DELETE FROM trusted WHERE pack = ?", (pack,)).rowcount > 0

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self._path, timeout=10.0)
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(_TABLE)
        except sqlite3.Error as error:
            connection.close()
            raise self._unusable(error) from None
        return connection

    def _unusable(self, error: sqlite3.Error) -> SigningKeyError:
        return SigningKeyError(
            f"The store of trusted keys {str(self._path)!r} cannot be used: {error}."
        )
