"""Runs, their rounds, and which nodes of the graph have had their effect."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from sqlalchemy import Connection, RowMapping, func, select, update

from agentlab.errors import RecordsError, UnknownNameError, UsageError
from agentlab.records.database import Session, add, now
from agentlab.records.encoding import PUT_BACK, decode_object, encode_object, plain, unreadable
from agentlab.records.seals import is_sealed, set_seal
from agentlab.records.tables import NODES, ROUNDS, RUNS, SEALS
from agentlab.types import SHARED, JsonObject, Scope

RunStatus = Literal["running", "finished", "stopped", "failed"]
_STATUSES: frozenset[str] = frozenset(get_args(RunStatus))


class RunRow(NamedTuple):
    """A run as it stands."""

    run_id: str
    status: RunStatus
    reason: str
    config: JsonObject
    versions: JsonObject
    seed: int
    created_at: str
    updated_at: str
    scope: str = ""
    """Path of the scope in which it is made; empty where it is everybody's."""


class Runs:
    """Runs, oldest first."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def create(
        self,
        run_id: str,
        *,
        config: JsonObject,
        versions: JsonObject,
        seed: int,
        scope: Scope = SHARED,
    ) -> bool:
        """Record a run before its first attempt; False when it was recorded already.

        Raises:
            RecordsError: a run of that id has another config, seed or scope.
            UsageError: the seed does not fit in 64 bits.
        """
        if not -(1 << 63) <= seed < 1 << 63:
            raise UsageError(f"The seed {seed} is too large; use one below {1 << 63}.")
        spelt = encode_object(config)
        with self._session.write() as connection:
            query = select(RUNS.c.config, RUNS.c.seed, RUNS.c.scope).where(RUNS.c.id == run_id)
            known = connection.execute(query).one_or_none()
            if known is not None:
                if (known.config, known.seed, known.scope) != (spelt, seed, scope.path):
                    raise RecordsError(
                        f"The run {run_id!r} exists with another config or seed, or in another "
                        "scope; resume it as it is, or choose another id."
                    )
                return False
            time = now()
            row = {
                "id": run_id,
                "seed": seed,
                "status": "running",
                "reason": "",
                "config": spelt,
                "versions": encode_object(versions),
                "created_at": time,
                "updated_at": time,
                "scope": scope.path,
            }
            add(connection, RUNS, [row])
            set_seal(connection, "run", run_id, _sealed_text(seed, spelt, scope.path))
            return True

    def get(self, run_id: str) -> RunRow:
        """One run.

        Raises:
            UnknownNameError: there is none of that id; suggests near ones.
            RecordsError: its config or seed is not the one that it was started with.
        """
        with self._session.read() as connection:
            query = select(RUNS).where(RUNS.c.id == run_id)
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                raise UnknownNameError("run", run_id, connection.scalars(select(RUNS.c.id)))
            sealed = connection.scalar(
                select(SEALS.c.digest).where(SEALS.c.owner == "run", SEALS.c.key == run_id)
            )
        text = _sealed_text(row["seed"], row["config"], row["scope"])
        if not is_sealed("run", run_id, text, sealed):
            raise RecordsError(
                f"The config or seed of the run {run_id!r} in the records was changed by something "
                f"other than agentlab; {PUT_BACK}, or start a run with the config that you want."
            )
        return _run_row(row)

    def ids(self) -> list[str]:
        """The id of every run, oldest first; reads nothing else of them."""
        with self._session.read() as connection:
            return list(connection.scalars(select(RUNS.c.id).order_by(RUNS.c.serial)))

    def all(self) -> list[RunRow]:
        """Every run, oldest first."""
        with self._session.read() as connection:
            rows = connection.execute(select(RUNS).order_by(RUNS.c.serial)).mappings().all()
        return [_run_row(row) for row in rows]

    def set_status(self, run_id: str, status: RunStatus, reason: str = "") -> None:
        """Say how a run stands.

        Raises:
            UnknownNameError: there is none of that id.
        """
        with self._session.write() as connection:
            done = connection.execute(
                update(RUNS)
                .where(RUNS.c.id == run_id)
                .values(status=status, reason=plain(reason), updated_at=now())
            )
            if done.rowcount == 0:
                raise UnknownNameError("run", run_id, connection.scalars(select(RUNS.c.id)))

    def rounds(self, run_id: str) -> list[int]:
        """The rounds that have begun, in order."""
        query = select(ROUNDS.c.round).where(ROUNDS.c.run_id == run_id).order_by(ROUNDS.c.round)
        with self._session.read() as connection:
            return list(connection.scalars(query))


class Nodes:
    """Markers that make a node of the graph have one effect however often it runs.

    A node asks `done` first. What it writes and its marker (`finish`) go in one transaction.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def done(self, run_id: str, round_: int, node: str) -> JsonObject | None:
        """What the node returned when it had its effect, or None when it has not yet."""
        with self._session.read() as connection:
            return _result(connection, run_id, round_, node)

    def finish(self, run_id: str, round_: int, node: str, result: JsonObject) -> bool:
        """Mark the node; False when it was marked already, and the first result stays."""
        with self._session.write() as connection:
            if _result(connection, run_id, round_, node) is not None:
                return False
            begin_round(connection, run_id, round_)
            row = {
                "run_id": run_id,
                "round": round_,
                "node": node,
                "result": encode_object(result),
                "created_at": now(),
            }
            add(connection, NODES, [row])
            return True

    def count(self, run_id: str) -> int:
        """How many markers the run has."""
        query = select(func.count()).select_from(NODES).where(NODES.c.run_id == run_id)
        with self._session.read() as connection:
            return connection.scalar(query) or 0


def begin_round(connection: Connection, run_id: str, round_: int) -> None:
    """Record that the round exists; for writers of what belongs to it."""
    add(connection, ROUNDS, [{"run_id": run_id, "round": round_, "created_at": now()}])


def _result(connection: Connection, run_id: str, round_: int, node: str) -> JsonObject | None:
    query = select(NODES.c.result).where(
        NODES.c.run_id == run_id, NODES.c.round == round_, NODES.c.node == node
    )
    text = connection.scalar(query)
    key = f"{run_id}, round {round_}, {node}"
    return None if text is None else decode_object(text, table="nodes", key=key)


def _sealed_text(seed: int, config: str, scope: str) -> str:
    # What is shared is sealed as it was before there were scopes.
    return f"{seed}\n{config}" if scope == "" else f"{seed}\n{config}\n{scope}"


def _run_row(values: RowMapping) -> RunRow:
    run_id = values["id"]
    if values["status"] not in _STATUSES:
        raise unreadable("runs", run_id, f"{values['status']!r} is no status of a run")
    return RunRow(
        run_id=run_id,
        status=values["status"],
        reason=values["reason"],
        config=decode_object(values["config"], table="runs", key=run_id),
        versions=decode_object(values["versions"], table="runs", key=run_id),
        seed=values["seed"],
        created_at=values["created_at"],
        updated_at=values["updated_at"],
        scope=values["scope"],
    )
