"""What users said in conversations with an agent, and what was attempted for it.

Kept in the order of asking, by scope: what one tenant's users say is read in that scope alone.
What follows from a request that was said again in other words is found out in `library.rephrasing`.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from agentlab.records.database import Session, add, now
from agentlab.records.encoding import plain
from agentlab.records.tables import ATTEMPTS, REQUESTS
from agentlab.types import SHARED, Scope

LONGEST_REQUEST = 4_000
"""Characters that are kept of what was said."""


class RequestRow(NamedTuple):
    """One request of a conversation."""

    attempt_id: str
    session: str
    said: str
    asked: str
    """What was attempted: what was said, or what it was rewritten to."""
    success: bool | None
    """Of the attempt, as far as that is known now."""
    scope: str = ""
    """The path of whose it is; the same name of a conversation elsewhere is another one."""


class Requests:
    """Requests of every scope."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self,
        attempt_id: str,
        *,
        environment: str,
        session: str,
        said: str,
        asked: str,
        scope: Scope = SHARED,
    ) -> bool:
        """Keep a request whose attempt is planned or recorded; False when it was kept before."""
        query = select(REQUESTS.c.serial).where(REQUESTS.c.attempt_id == attempt_id)
        with self._session.write() as connection:
            if connection.scalar(query) is not None:
                return False
            row = {
                "attempt_id": attempt_id,
                "environment": environment,
                "scope": scope.path,
                "session": plain(session),
                "said": plain(said[:LONGEST_REQUEST]),
                "asked": plain(asked[:LONGEST_REQUEST]),
                "created_at": now(),
            }
            add(connection, REQUESTS, [row])
            return True

    def latest(
        self, environment: str, *, scope: Scope = SHARED, limit: int = 10_000
    ) -> list[RequestRow]:
        """The newest requests that the scope may read, in the order of asking.

        Of attempts that completed: one whose environment failed, or whose caller did not wait,
        says nothing of the words.
        """
        columns = [ATTEMPTS.c.success if n == "success" else REQUESTS.c[n] for n in _COLUMNS]
        query = (
            select(*columns)
            .join(ATTEMPTS, ATTEMPTS.c.id == REQUESTS.c.attempt_id)
            .where(
                REQUESTS.c.environment == environment,
                REQUESTS.c.scope.in_(scope.readable),
                ATTEMPTS.c.status == "completed",
            )
            .order_by(REQUESTS.c.serial.desc())
            .limit(limit)
        )
        with self._session.read() as connection:
            rows = [RequestRow._make(row) for row in connection.execute(query)]
        return rows[::-1]


_COLUMNS = RequestRow._fields
