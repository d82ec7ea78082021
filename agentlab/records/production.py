"""Attempts outside practice, as an agent learns from them."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from agentlab.records.database import Session
from agentlab.records.documents import bodies
from agentlab.records.encoding import decode
from agentlab.records.tables import ATTEMPTS, PLANS
from agentlab.types import SHARED, Scope, Task


class Produced(NamedTuple):
    """A recorded attempt outside practice, without its trajectory."""

    attempt_id: str
    task: Task
    success: bool | None
    """As it counts now, with what people said of it."""


class Production:
    """Production attempts of every run."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def newest(
        self, environment: str, *, scope: Scope = SHARED, limit: int = 200
    ) -> list[Produced]:
        """The newest completed attempts of a scope alone, oldest first.

        Those at tasks of the practice split; whether a task is reserved by a rule is for the
        record store to say when it is taken into a run.
        """
        query = (
            select(ATTEMPTS.c.id, ATTEMPTS.c.success, PLANS.c.task)
            .join(PLANS, PLANS.c.attempt_id == ATTEMPTS.c.id)
            .where(
                ATTEMPTS.c.environment == environment,
                ATTEMPTS.c.scope == scope.path,
                ATTEMPTS.c.kind == "production",
                ATTEMPTS.c.status == "completed",
                ATTEMPTS.c.split == "practice",
            )
            .order_by(ATTEMPTS.c.recorded_at.desc(), ATTEMPTS.c.id)
            .limit(limit)
        )
        with self._session.read() as connection:
            rows = connection.execute(query).all()[::-1]
            texts = bodies(connection, [row.task for row in rows])
        tasks = {key: decode(Task, texts[key], table="documents", key=key) for key in texts}
        return [Produced(row.id, tasks[row.task], row.success) for row in rows]
