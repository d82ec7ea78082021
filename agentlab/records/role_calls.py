"""Model calls that belong to no attempt: those of proposers and curators, by node of a run."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from agentlab.records.database import Session, add
from agentlab.records.encoding import decode, encode
from agentlab.records.tables import ROLE_CALLS
from agentlab.types import ModelCall


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
                    "body": encode(call),
                }
                for position, call in enumerate(calls)
            ]
            if rows:
                add(connection, ROLE_CALLS, rows)
            return True

    def all(self, run_id: str, purpose: str | None = None) -> list[ModelCall]:
        """The calls of a run, by round, purpose and place."""
        query = select(ROLE_CALLS.c.position, ROLE_CALLS.c.body).where(
            ROLE_CALLS.c.run_id == run_id
        )
        if purpose is not None:
            query = query.where(ROLE_CALLS.c.purpose == purpose)
        query = query.order_by(ROLE_CALLS.c.round, ROLE_CALLS.c.purpose, ROLE_CALLS.c.position)
        with self._session.read() as connection:
            return [
                decode(ModelCall, body, table="role_calls", key=f"{run_id}, {position}")
                for position, body in connection.execute(query)
            ]
