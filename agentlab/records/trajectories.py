"""Attempts read in full, and the one way by which what happened may be learnt from.

`learnable` is the firewall's reading side: it asks the database for practice attempts at
admitted tasks of the practice split, so no caller can pass on anything else by mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from pydantic import BaseModel
from sqlalchemy import Connection, Table, select

from agentlab.errors import UnknownNameError
from agentlab.protocols import PastAttempt
from agentlab.records.database import Session
from agentlab.records.documents import batches, bodies
from agentlab.records.encoding import decode
from agentlab.records.tables import (
    ATTEMPTS,
    DRAWS,
    MODEL_CALLS,
    OUTCOMES,
    PLANS,
    SCORES,
    STEPS,
    TASKS,
)
from agentlab.types import AttemptKind, AttemptOutcome, ModelCall, Score, Step, Task, Trajectory

Model = TypeVar("Model", bound=BaseModel)


class DrawRow(NamedTuple):
    """One draw of attribution and what came of the attempt."""

    attempt_id: str
    run_id: str
    round: int
    slot: int
    kind: AttemptKind
    task_id: str
    template: str
    split: str
    item_id: str
    item_name: str
    probability: float
    """Probability of being withheld."""
    withheld: bool
    success: bool | None
    steps: int
    tool_calls: int
    tokens: int


class Trajectories:
    """Recorded attempts in full."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def outcome(self, attempt_id: str) -> AttemptOutcome:
        """An attempt's outcome as it was recorded.

        Raises:
            UnknownNameError: no attempt of that id is recorded.
        """
        with self._session.read() as connection:
            found = _outcomes(connection, [attempt_id])
        if attempt_id not in found:
            raise UnknownNameError("recorded attempt", attempt_id, ())
        return found[attempt_id]

    def trajectory(self, attempt_id: str) -> Trajectory | None:
        """What happened in an attempt; None when it ended before anything did.

        Raises:
            UnknownNameError: no attempt of that id is recorded.
        """
        return self.outcome(attempt_id).trajectory

    def outcomes(self, attempt_ids: Sequence[str]) -> list[AttemptOutcome]:
        """The outcomes of those attempts that are recorded, in the order asked for."""
        with self._session.read() as connection:
            found = _outcomes(connection, attempt_ids)
        return [found[key] for key in attempt_ids if key in found]

    def learnable(
        self, run_id: str, round_: int | None = None, *, solved: bool | None = None
    ) -> list[PastAttempt]:
        """What proposers, curators and exports may read, in (round, slot) order.

        Completed practice attempts at tasks that were admitted to the run and belong to the
        practice split; with `solved`, only those that succeeded, or that did not.
        """
        query = (
            select(ATTEMPTS.c.id, ATTEMPTS.c.success, ATTEMPTS.c.tool_calls, PLANS.c.task)
            .join(
                TASKS,
                (TASKS.c.run_id == ATTEMPTS.c.run_id) & (TASKS.c.id == ATTEMPTS.c.task_id),
            )
            .join(PLANS, PLANS.c.attempt_id == ATTEMPTS.c.id)
            .where(
                ATTEMPTS.c.run_id == run_id,
                ATTEMPTS.c.kind == "practice",
                ATTEMPTS.c.status == "completed",
                ATTEMPTS.c.split == "practice",
                TASKS.c.split == "practice",
                TASKS.c.admitted.is_(True),
            )
            .order_by(ATTEMPTS.c.round, ATTEMPTS.c.slot)
        )
        if round_ is not None:
            query = query.where(ATTEMPTS.c.round == round_)
        if solved is not None:
            query = query.where(ATTEMPTS.c.success.is_(solved))
        with self._session.read() as connection:
            rows = connection.execute(query).all()
            texts = bodies(connection, [row.task for row in rows])
            outcomes = _outcomes(connection, [row.id for row in rows])
        return [
            PastAttempt(
                task=decode(Task, texts[row.task]),
                attempt_id=row.id,
                success=row.success,
                trajectory=outcomes[row.id].trajectory,
                tool_calls=row.tool_calls,
            )
            for row in rows
        ]

    def draws(
        self,
        *,
        name: str | None = None,
        item_id: str | None = None,
        environment: str | None = None,
        run_id: str | None = None,
    ) -> list[DrawRow]:
        """Draws of attempts that completed, by run and place.

        Infrastructure failures and attempts under way are left out, and so is whatever was
        tried on a held-out task: draws decide what is served. `kind` and `split` tell
        practice, production and shadow attempts apart.
        """
        query = (
            select(*_DRAW_COLUMNS)
            .join(ATTEMPTS, ATTEMPTS.c.id == DRAWS.c.attempt_id)
            .where(ATTEMPTS.c.status == "completed", ATTEMPTS.c.split != "heldout")
            .order_by(ATTEMPTS.c.run_id, ATTEMPTS.c.round, ATTEMPTS.c.slot, DRAWS.c.item_id)
        )
        if name is not None:
            query = query.where(DRAWS.c.item_name == name)
        if item_id is not None:
            query = query.where(DRAWS.c.item_id == item_id)
        if environment is not None:
            query = query.where(DRAWS.c.environment == environment)
        if run_id is not None:
            query = query.where(ATTEMPTS.c.run_id == run_id)
        with self._session.read() as connection:
            return [DrawRow._make(row) for row in connection.execute(query)]


_DRAW_COLUMNS = [
    DRAWS.c[name] if name in DRAWS.c else ATTEMPTS.c["id" if name == "attempt_id" else name]
    for name in DrawRow._fields
]


def _outcomes(connection: Connection, attempt_ids: Sequence[str]) -> dict[str, AttemptOutcome]:
    found: dict[str, AttemptOutcome] = {}
    for part in batches(attempt_ids):
        steps = _parts(connection, STEPS, Step, part)
        calls = _parts(connection, MODEL_CALLS, ModelCall, part)
        query = (
            select(OUTCOMES.c.attempt_id, OUTCOMES.c.body, SCORES.c.body.label("score"))
            .join(SCORES, SCORES.c.attempt_id == OUTCOMES.c.attempt_id)
            .where(OUTCOMES.c.attempt_id.in_(part))
        )
        for row in connection.execute(query):
            outcome = decode(AttemptOutcome, row.body)
            trajectory = outcome.trajectory and outcome.trajectory.model_copy(
                update={
                    "steps": tuple(steps.get(row.attempt_id, ())),
                    "model_calls": tuple(calls.get(row.attempt_id, ())),
                }
            )
            score = decode(Score, row.score)
            found[row.attempt_id] = outcome.model_copy(
                update={"trajectory": trajectory, "score": score}
            )
    return found


def _parts(
    connection: Connection, table: Table, cls: type[Model], attempt_ids: Sequence[str]
) -> dict[str, list[Model]]:
    query = (
        select(table.c.attempt_id, table.c.body)
        .where(table.c.attempt_id.in_(attempt_ids))
        .order_by(table.c.attempt_id, table.c.position)
    )
    found: dict[str, list[Model]] = {}
    for key, body in connection.execute(query):
        found.setdefault(key, []).append(decode(cls, body))
    return found
