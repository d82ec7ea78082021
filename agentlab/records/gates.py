"""Gates: what was compared, in which order, every look, and what was decided.

A gate is on record with its order before its first task. A look is added once and never changed,
so that evidence cannot be read a second time in a better light. The verdict and the promotion it
brings are one transaction of the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import RowMapping, select, update

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.records.database import Session, add, now
from agentlab.records.encoding import decode_object, encode_object, unreadable
from agentlab.records.policy_tables import GATES, LOOKS
from agentlab.types import JsonObject

GateStatus = Literal["running", "promoted", "rejected", "undecided", "void"]
"""`void` is a gate that could not be told from broken infrastructure: it says nothing of either."""


class GateRow(NamedTuple):
    """A gate as it stands."""

    id: str
    policy: str
    environment: str
    candidate: str
    weights_sha256: str
    incumbent: str
    """An adapter; empty is the base model."""
    incumbent_sha256: str
    order_sha256: str
    alpha: float
    carried_wins: int
    """Pairs of earlier gates of the same weights against the same incumbent."""
    carried_losses: int
    run_id: str
    plan: JsonObject
    """What was fixed in advance."""
    status: GateStatus = "running"
    verdict: JsonObject | None = None
    afterwards: JsonObject | None = None
    """What was measured after the verdict and decided nothing: held-out success."""
    created_at: str = ""


class Look(NamedTuple):
    """One pair, and where the evidence stood after it."""

    position: int
    task_id: str
    control: bool | None
    candidate: bool | None
    wins: int
    losses: int
    promote: float
    reject: float


class Gates:
    """Gates, oldest first, and their looks."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def begin(self, gate: GateRow) -> bool:
        """Put a gate on record before its first task; False where it was already.

        Raises:
            RecordsError: a gate of that id fixed something else in advance.
        """
        with self._session.write() as connection:
            query = select(GATES).where(GATES.c.id == gate.id)
            known = connection.execute(query).mappings().one_or_none()
            if known is not None:
                if _gate(known).plan != gate.plan:
                    raise RecordsError(
                        f"The gate {gate.id!r} is on record with another plan; a comparison is "
                        "fixed before its first task and not changed after it."
                    )
                return False
            time = now()
            row = gate._asdict() | {
                "plan": encode_object(gate.plan),
                "verdict": None,
                "afterwards": None,
                "created_at": time,
                "updated_at": time,
            }
            add(connection, GATES, [row])
            return True

    def get(self, gate_id: str) -> GateRow:
        """One gate.

        Raises:
            UnknownNameError: there is none of that id.
        """
        with self._session.read() as connection:
            query = select(GATES).where(GATES.c.id == gate_id)
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                raise UnknownNameError("gate", gate_id, connection.scalars(select(GATES.c.id)))
        return _gate(row)

    def find(self, gate_id: str) -> GateRow | None:
        """One gate, or None."""
        with self._session.read() as connection:
            query = select(GATES).where(GATES.c.id == gate_id)
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _gate(row)

    def all(self, *, policy: str | None = None, weights: str | None = None) -> list[GateRow]:
        """Every gate, oldest first, of a policy or of these weights where they are named."""
        query = select(GATES).order_by(GATES.c.serial)
        if policy is not None:
            query = query.where(GATES.c.policy == policy)
        if weights is not None:
            query = query.where(GATES.c.weights_sha256 == weights)
        with self._session.read() as connection:
            return [_gate(row) for row in connection.execute(query).mappings()]

    def look(self, gate_id: str, looks: Sequence[Look]) -> None:
        """Add looks after the ones there are.

        Raises:
            RecordsError: one of them was taken before, or is out of its place.
        """
        if not looks:
            return
        with self._session.write() as connection:
            query = select(LOOKS.c.position).where(LOOKS.c.gate == gate_id)
            taken = len(connection.scalars(query).all())
            if [each.position for each in looks] != list(range(taken, taken + len(looks))):
                raise RecordsError(
                    f"The gate {gate_id!r} has {taken} looks, and the next cannot be number "
                    f"{looks[0].position}; each is taken once and in order."
                )
            time = now()
            rows = [{"gate": gate_id, **each._asdict(), "created_at": time} for each in looks]
            add(connection, LOOKS, rows)

    def looks(self, gate_id: str) -> list[Look]:
        """The looks of a gate, in order."""
        query = select(LOOKS).where(LOOKS.c.gate == gate_id).order_by(LOOKS.c.position)
        with self._session.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [Look(**{name: row[name] for name in Look._fields}) for row in rows]

    def decide(self, gate_id: str, status: GateStatus, verdict: JsonObject) -> None:
        """Write down what was decided.

        Raises:
            RecordsError: it was decided before.
        """
        with self._session.write() as connection:
            done = connection.execute(
                update(GATES)
                .where(GATES.c.id == gate_id, GATES.c.status == "running")
                .values(status=status, verdict=encode_object(verdict), updated_at=now())
            )
            if done.rowcount == 0:
                raise RecordsError(
                    f"The gate {gate_id!r} was decided before, or there is none; a verdict stands."
                )

    def add_afterwards(self, gate_id: str, told: JsonObject) -> None:
        """Write down what was measured after the verdict; the first that is written stays."""
        with self._session.write() as connection:
            connection.execute(
                update(GATES)
                .where(GATES.c.id == gate_id, GATES.c.afterwards.is_(None))
                .values(afterwards=encode_object(told), updated_at=now())
            )


def _gate(row: RowMapping) -> GateRow:
    if row["status"] not in get_args(GateStatus):
        raise unreadable("gates", row["id"], f"{row['status']!r} is no status of a gate")
    values: dict[str, Any] = {name: row[name] for name in GateRow._fields} | {
        "plan": decode_object(row["plan"], table="gates", key=row["id"]),
        "verdict": _told(row, "verdict"),
        "afterwards": _told(row, "afterwards"),
    }
    return GateRow(**values)


def _told(row: RowMapping, column: str) -> JsonObject | None:
    text = row[column]
    return None if text is None else decode_object(text, table="gates", key=row["id"])
