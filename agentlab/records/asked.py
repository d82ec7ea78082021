"""Which attempt answered a question that was asked under a mark of its own.

A caller that may be killed after an attempt is on record and before it has noted so asks for the
task under a mark: a source that it uses once. The attempt keeps the task as it was asked, so what
is here already can be found and need not be done again. Nothing is written for that.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from sqlalchemy import select

from agentlab.records.database import Session
from agentlab.records.encoding import encode
from agentlab.records.tables import ATTEMPTS, PLANS, TASKS
from agentlab.types import Scope, Task


class Answer(NamedTuple):
    """A recorded attempt, and the run that it belongs to."""

    run_id: str
    attempt_id: str


class Asked:
    """Attempts by the task that was asked for, to the letter."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def answer(self, task: Task, *, scope: Scope | None = None) -> Answer | None:
        """The first completed attempt at exactly this task, its source included; None for none.

        One that failed for reasons outside the agent, or was broken off, is no answer.

        Args:
            task: as it was asked for.
            scope: whose attempt it must be; None for anybody's.
        """
        document = hashlib.sha256(encode(task).encode()).hexdigest()
        query = (
            select(ATTEMPTS.c.run_id, ATTEMPTS.c.id)
            .join(TASKS, (TASKS.c.run_id == ATTEMPTS.c.run_id) & (TASKS.c.id == ATTEMPTS.c.task_id))
            .join(PLANS, PLANS.c.attempt_id == ATTEMPTS.c.id)
            .where(
                TASKS.c.id == task.id,
                PLANS.c.task == document,
                ATTEMPTS.c.status == "completed",
            )
            .order_by(ATTEMPTS.c.recorded_at, ATTEMPTS.c.id)
        )
        if scope is not None:
            query = query.where(ATTEMPTS.c.scope == scope.path)
        with self._session.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else Answer(*row)
