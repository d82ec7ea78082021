"""What a run has reserved and not yet settled, and what was charged outside attempts.

An attempt's own consumption is summed from the attempts (`Attempts.spent`), so that it is
never counted twice; this keeps promises and the costs of admission, proposals and the like.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, select, update

from agentlab.errors import RecordsError
from agentlab.records.database import Session, add
from agentlab.records.encoding import check_amounts, decode, encode
from agentlab.records.runs import begin_round
from agentlab.records.tables import BUDGETS
from agentlab.types import Usage

ATTEMPTS_PURPOSE = "attempts"


class Budgets:
    """Reservations by run, round and purpose."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def reserve(
        self, run_id: str, round_: int, amount: Usage, *, purpose: str = ATTEMPTS_PURPOSE
    ) -> bool:
        """Set an amount aside before it is spent; False when that was done already."""
        here = _key(run_id, round_, purpose)
        with self._session.write() as connection:
            begin_round(connection, run_id, round_)
            if connection.execute(select(BUDGETS.c.run_id).where(*here)).one_or_none() is not None:
                return False
            row = {"run_id": run_id, "round": round_, "purpose": purpose, "settled": None}
            add(connection, BUDGETS, [row | {"reserved": encode(amount)}])
            return True

    def settle(
        self, run_id: str, round_: int, amount: Usage, *, purpose: str = ATTEMPTS_PURPOSE
    ) -> bool:
        """Say what a reservation came to; False when that was said already.

        Raises:
            RecordsError: nothing was reserved for it.
        """
        here = _key(run_id, round_, purpose)
        with self._session.write() as connection:
            row = connection.execute(select(BUDGETS.c.settled).where(*here)).one_or_none()
            if row is None:
                raise RecordsError(
                    f"Nothing is reserved for {purpose!r} in round {round_} of the run "
                    f"{run_id!r}; reserve before settling."
                )
            if row.settled is not None:
                return False
            connection.execute(update(BUDGETS).where(*here).values(settled=encode(amount)))
            return True

    def reserved(self, run_id: str) -> Usage:
        """What is set aside and not settled yet."""
        query = select(BUDGETS.c.reserved).where(
            BUDGETS.c.run_id == run_id, BUDGETS.c.settled.is_(None)
        )
        with self._session.read() as connection:
            return _total(run_id, list(connection.scalars(query)))

    def charged(self, run_id: str) -> Usage:
        """What was settled for other purposes than attempts, which count themselves."""
        query = select(BUDGETS.c.settled).where(
            BUDGETS.c.run_id == run_id,
            BUDGETS.c.settled.is_not(None),
            BUDGETS.c.purpose != ATTEMPTS_PURPOSE,
        )
        with self._session.read() as connection:
            texts = [text for text in connection.scalars(query) if text is not None]
        return _total(run_id, texts)


def _key(run_id: str, round_: int, purpose: str) -> tuple[ColumnElement[bool], ...]:
    return (
        BUDGETS.c.run_id == run_id,
        BUDGETS.c.round == round_,
        BUDGETS.c.purpose == purpose,
    )


def _total(run_id: str, texts: list[str]) -> Usage:
    parts = [decode(Usage, text, table="budgets", key=run_id) for text in texts]
    for part in parts:
        check_amounts(part, table="budgets", key=run_id)
    return sum(parts, Usage())
