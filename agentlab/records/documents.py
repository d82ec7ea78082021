"""Tasks and skills as texts kept once, however many attempts, runs and rounds name them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from pydantic import BaseModel
from sqlalchemy import Connection, select

from agentlab.errors import RecordsError
from agentlab.records.database import add
from agentlab.records.encoding import encode, unreadable
from agentlab.records.tables import DOCUMENTS

LOOKUP = 500
"""Keys per query: below every database's limit on bound parameters."""


def keep(connection: Connection, models: Iterable[BaseModel]) -> list[str]:
    """Keep the models; their digests, in order."""
    bodies: dict[str, str] = {}
    # An object that recurs is spelt once; `held` keeps its identity from being reused.
    held: dict[int, tuple[BaseModel, str]] = {}
    digests: list[str] = []
    for model in models:
        known = held.get(id(model))
        if known is None:
            body = encode(model)
            digest = hashlib.sha256(body.encode()).hexdigest()
            bodies[digest] = body
            held[id(model)] = known = (model, digest)
        digests.append(known[1])
    add(
        connection,
        DOCUMENTS,
        [{"digest": digest, "body": body} for digest, body in bodies.items()],
    )
    return digests


def bodies(connection: Connection, digests: Iterable[str]) -> dict[str, str]:
    """The texts of the digests.

    Raises:
        RecordsError: one of them is missing, or is not the text that was kept.
    """
    wanted = sorted(set(digests))
    found: dict[str, str] = {}
    for part in batches(wanted):
        query = select(DOCUMENTS.c.digest, DOCUMENTS.c.body).where(DOCUMENTS.c.digest.in_(part))
        found.update(
            (row.digest, checked(row.digest, row.body)) for row in connection.execute(query)
        )
    if len(found) < len(wanted):
        missing = next(digest for digest in wanted if digest not in found)
        raise RecordsError(
            f"The document {missing!r} is missing from the records; put back a copy of the "
            "workspace."
        )
    return found


def checked(digest: str, body: object) -> str:
    """The text of a document.

    Raises:
        RecordsError: it is not the text that was kept under the digest. It may hold code that
            would be run, so it is never given out.
    """
    if isinstance(body, str) and hashlib.sha256(body.encode()).hexdigest() == digest:
        return body
    raise unreadable("documents", digest, "it was changed by something other than agentlab")


def batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """The keys in parts that fit in one query."""
    for start in range(0, len(keys), LOOKUP):
        yield keys[start : start + LOOKUP]
