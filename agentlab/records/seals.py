"""What a row hashed to when it was written, so that one edited by something else is not trusted.

A skill is code that will be run, and a run's config decides what is done in its name. Both
would be read back as they stand in the file, whoever changed them there, so each has a seal in
a table of its own. This notices a hand that edits, not one that also computes new seals: who
may write the file may do that.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from sqlalchemy import Connection

from agentlab.records.database import add
from agentlab.records.tables import SEALS

Owner = Literal["item", "run"]


def seal(owner: Owner, key: str, text: str) -> str:
    """64 hexadecimal digits over a row's kind, key and content."""
    return hashlib.sha256(f"{owner}\n{key}\n{text}".encode()).hexdigest()


def set_seal(connection: Connection, owner: Owner, key: str, text: str) -> None:
    """Seal a row in the transaction that writes it."""
    add(connection, SEALS, [{"owner": owner, "key": key, "digest": seal(owner, key, text)}])


def is_sealed(owner: Owner, key: str, text: object, digest: str | None) -> bool:
    """Whether the text is the one that was sealed; not where there is no seal."""
    return isinstance(text, str) and digest == seal(owner, key, text)
