"""Which weights answer to a policy's name, and how that came to be.

    policy `lab`:  base  →  lab-v0001-1f0c33aa  →  lab-v0002-9be2…  →  (rolled back) lab-v0001-…

A config says `policy:lab` and never an adapter. A version's name never means other bytes, and
what serves changes only by a move, which is one transaction with whatever else belongs to it. A
candidate that was rejected has a version and no move: nothing that is served knows of it.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

from sqlalchemy import Connection, RowMapping, select, update

from agentlab.errors import RecordsError, UnknownNameError, UsageError
from agentlab.records.database import Session, add, now
from agentlab.records.encoding import decode_object, encode_object, plain, unreadable
from agentlab.records.policy_tables import POLICIES, POLICY_MOVES, VERSIONS
from agentlab.types import JsonObject

MoveKind = Literal["promotion", "rollback"]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Policy(NamedTuple):
    """A policy: what it began as and where it is served."""

    name: str
    base_model: str
    """As the server calls the base."""
    base_path: str
    """The folder of the base model."""
    base_sha256: str
    """Of the base's weights."""
    base_url: str
    """The server's address, such as `http://127.0.0.1:8000/v1`; empty where none is up."""


class PolicyVersion(NamedTuple):
    """Weights with a name."""

    adapter: str
    policy: str
    path: str
    weights_sha256: str
    body: JsonObject
    """What the trainer said of them, probes apart."""


class PolicyMove(NamedTuple):
    """A change of what serves."""

    serial: int
    policy: str
    kind: MoveKind
    before: str
    """An adapter; empty is the base model."""
    after: str
    reason: str
    evidence: JsonObject
    created_at: str


class Policies:
    """Policies by name, their versions and moves."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def register(self, policy: Policy) -> bool:
        """Put a policy on record; a known one takes the new address. False where it was known.

        Raises:
            UsageError: the name cannot be one.
            RecordsError: a policy of that name has another base.
        """
        if not _NAME.fullmatch(policy.name):
            raise UsageError(
                f"{policy.name[:80]!r} is no name for a policy; use up to 64 small letters, "
                "digits, '_' and '-', a letter or digit first."
            )
        with self._session.write() as connection:
            query = select(POLICIES).where(POLICIES.c.name == policy.name)
            known = connection.execute(query).mappings().one_or_none()
            if known is None:
                add(connection, POLICIES, [{**policy._asdict(), "created_at": now()}])
                return True
            if known["base_sha256"] != policy.base_sha256:
                raise RecordsError(
                    f"The policy {policy.name!r} has another base model (weights "
                    f"{known['base_sha256'][:8]}, not {policy.base_sha256[:8]}); give the new base "
                    "a policy of its own."
                )
            connection.execute(
                update(POLICIES)
                .where(POLICIES.c.name == policy.name)
                .values(
                    base_model=policy.base_model,
                    base_url=policy.base_url,
                    base_path=policy.base_path,
                )
            )
            return False

    def get(self, name: str) -> Policy:
        """One policy.

        Raises:
            UnknownNameError: there is none of that name.
        """
        with self._session.read() as connection:
            query = select(POLICIES).where(POLICIES.c.name == name)
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                known = [*connection.scalars(select(POLICIES.c.name))]
                also = "" if known else "Say where one is served by `agentlab serving register`."
                raise UnknownNameError("policy", name, known, also=also)
        return _policy(row)

    def all(self) -> list[Policy]:
        """Every policy, by name."""
        with self._session.read() as connection:
            rows = connection.execute(select(POLICIES).order_by(POLICIES.c.name)).mappings()
            return [_policy(row) for row in rows]

    def add_version(self, version: PolicyVersion) -> bool:
        """Put weights on record; False where they were known.

        Raises:
            RecordsError: the name stands for other bytes already.
        """
        with self._session.write() as connection:
            query = select(VERSIONS).where(VERSIONS.c.adapter == version.adapter)
            known = connection.execute(query).mappings().one_or_none()
            if known is not None:
                if known["weights_sha256"] != version.weights_sha256:
                    raise RecordsError(
                        f"The adapter name {version.adapter!r} stands for other weights already "
                        f"({known['weights_sha256'][:8]}, not {version.weights_sha256[:8]}); a "
                        "version that differs in bytes needs another name."
                    )
                connection.execute(
                    update(VERSIONS)
                    .where(VERSIONS.c.adapter == version.adapter)
                    .values(path=version.path)
                )
                return False
            row = {**version._asdict(), "body": encode_object(version.body), "created_at": now()}
            add(connection, VERSIONS, [row])
            return True

    def version(self, adapter: str) -> PolicyVersion:
        """One version.

        Raises:
            UnknownNameError: there is none of that name.
        """
        with self._session.read() as connection:
            query = select(VERSIONS).where(VERSIONS.c.adapter == adapter)
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                known = connection.scalars(select(VERSIONS.c.adapter))
                raise UnknownNameError("version of a policy", adapter, known)
        return _version(row)

    def versions(self, policy: str) -> list[PolicyVersion]:
        """The versions of a policy, oldest first."""
        query = select(VERSIONS).where(VERSIONS.c.policy == policy).order_by(VERSIONS.c.created_at)
        with self._session.read() as connection:
            return [_version(row) for row in connection.execute(query).mappings()]

    def current(self, policy: str) -> str:
        """The adapter that serves now; empty for the base model."""
        with self._session.read() as connection:
            return _current(connection, policy)

    def move(
        self, policy: str, kind: MoveKind, after: str, *, reason: str, evidence: JsonObject
    ) -> PolicyMove:
        """Let another version serve; an empty one is the base model.

        Raises:
            UsageError: it serves already.
        """
        with self._session.write() as connection:
            before = _current(connection, policy)
            if before == after:
                raise UsageError(
                    f"The policy {policy!r} is served by {after or 'the base model'} already; "
                    "there is nothing to change."
                )
            row = {
                "policy": policy,
                "kind": kind,
                "before": before,
                "after": after,
                "reason": plain(reason),
                "evidence": encode_object(evidence),
                "created_at": now(),
            }
            add(connection, POLICY_MOVES, [row])
            query = (
                select(POLICY_MOVES)
                .where(POLICY_MOVES.c.policy == policy)
                .order_by(POLICY_MOVES.c.serial.desc())
                .limit(1)
            )
            return _move(connection.execute(query).mappings().one())

    def moves(self, policy: str) -> list[PolicyMove]:
        """The moves of a policy, oldest first."""
        query = (
            select(POLICY_MOVES)
            .where(POLICY_MOVES.c.policy == policy)
            .order_by(POLICY_MOVES.c.serial)
        )
        with self._session.read() as connection:
            return [_move(row) for row in connection.execute(query).mappings()]


def _current(connection: Connection, policy: str) -> str:
    query = (
        select(POLICY_MOVES.c.after)
        .where(POLICY_MOVES.c.policy == policy)
        .order_by(POLICY_MOVES.c.serial.desc())
        .limit(1)
    )
    return connection.scalar(query) or ""


def _policy(row: RowMapping) -> Policy:
    return Policy(**{name: row[name] for name in Policy._fields})


def _version(row: RowMapping) -> PolicyVersion:
    body = decode_object(row["body"], table="policy_versions", key=row["adapter"])
    return PolicyVersion(row["adapter"], row["policy"], row["path"], row["weights_sha256"], body)


def _move(row: RowMapping) -> PolicyMove:
    if row["kind"] not in get_args(MoveKind):
        raise unreadable("policy_moves", row["serial"], f"{row['kind']!r} is no kind of move")
    evidence = decode_object(row["evidence"], table="policy_moves", key=row["serial"])
    return PolicyMove(
        row["serial"],
        row["policy"],
        row["kind"],
        row["before"],
        row["after"],
        row["reason"],
        evidence,
        row["created_at"],
    )
