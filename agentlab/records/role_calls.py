"""Model calls that belong to no attempt: those of proposers and curators, by node of a run."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from agentlab.records.calls import field_of
from agentlab.records.database import Session, add
from agentlab.records.encoding import decode, encode
from agentlab.records.tables import ATTEMPTS, MODEL_CALLS, ROLE_CALLS
from agentlab.types import ModelCall, Role, Usage


class RoleCalls:
    """Model calls by run, round and purpose."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def save(self, run_id: str, round_: int, purpose: str, calls: Sequence[ModelCall]) -> bool:
        """Keep a node's calls in their order; False when they were kept already."""
        here = (
            ROLE_CALLS.c.run_id == run_id,
            ROLE_CALLS.c.round == round_,
            ROLE_CALLS.c.purpose == purpose,
        )
        with self._session.write() as connection:
            if connection.execute(select(ROLE_CALLS.c.run_id).where(*here).limit(1)).first():
                return False
            rows = [
                {
                    "run_id": run_id,
                    "round": round_,
                    "purpose": purpose,
                    "position": position,
                    "role": call.role,
                    "model": call.model,
                    "tokens": call.tokens,
                    "usd": call.usd,
                    "body": encode(call, exact=True),
                }
                for position, call in enumerate(calls)
            ]
            if rows:
                add(connection, ROLE_CALLS, rows)
            return True

    def spent(self, run_id: str) -> dict[Role, Usage]:
        """Tokens and US dollars of a run's recorded calls by role, those of attempts included."""
        inside = (
            select(MODEL_CALLS.c.body, MODEL_CALLS.c.tokens, MODEL_CALLS.c.usd)
            .join(ATTEMPTS, ATTEMPTS.c.id == MODEL_CALLS.c.attempt_id)
            .where(ATTEMPTS.c.run_id == run_id)
        ).subquery()
        role = func.coalesce(field_of(inside.c.body, "role"), "executor")
        queries = (
            select(role, func.sum(inside.c.tokens), func.sum(inside.c.usd)).group_by(role),
            select(ROLE_CALLS.c.role, func.sum(ROLE_CALLS.c.tokens), func.sum(ROLE_CALLS.c.usd))
            .where(ROLE_CALLS.c.run_id == run_id)
            .group_by(ROLE_CALLS.c.role),
        )
        found: dict[Role, Usage] = {}
        with self._session.read() as connection:
            for query in queries:
                for whose, tokens, usd in connection.execute(query):
                    found[whose] = found.get(whose, Usage()) + Usage(tokens=tokens, usd=usd)
        return found

    def all(
        self, run_id: str, purpose: str | None = None, round_: int | None = None
    ) -> list[ModelCall]:
        """The calls of a run, by round, purpose and place."""
        query = select(ROLE_CALLS.c.position, ROLE_CALLS.c.body).where(
            ROLE_CALLS.c.run_id == run_id
        )
        if purpose is not None:
            query = query.where(ROLE_CALLS.c.purpose == purpose)
        if round_ is not None:
            query = query.where(ROLE_CALLS.c.round == round_)
        query = query.order_by(ROLE_CALLS.c.round, ROLE_CALLS.c.purpose, ROLE_CALLS.c.position)
        with self._session.read() as connection:
            return [
                decode(ModelCall, body, table="role_calls", key=f"{run_id}, {position}")
                for position, body in connection.execute(query)
            ]
