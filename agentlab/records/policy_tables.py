"""The tables of served policies and of the gates that decide about them.

A policy is a name that a config uses; which weights answer to it changes by a move, and each move
stays on record. Nothing here runs a query, and a change here needs a migration.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from agentlab.records.tables import METADATA

POLICIES = Table(
    "policies",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("base_model", String(256), nullable=False),
    Column("base_path", Text, nullable=False),
    Column("base_sha256", String(64), nullable=False),
    Column("base_url", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
)
"""What each policy began as, and where its server is now."""

VERSIONS = Table(
    "policy_versions",
    METADATA,
    Column("adapter", String(128), primary_key=True),
    Column("policy", String(64), ForeignKey("policies.name"), nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("weights_sha256", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
)
"""Weights that were ever put to a gate, under names that never mean other bytes."""

POLICY_MOVES = Table(
    "policy_moves",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("policy", String(64), ForeignKey("policies.name"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("before", String(128), nullable=False),
    Column("after", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    sqlite_autoincrement=True,
)
"""Promotions and rollbacks; an empty adapter is the base model. The last row is what serves."""

GATES = Table(
    "gates",
    METADATA,
    Column("serial", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("policy", String(64), nullable=False),
    Column("environment", String(128), nullable=False),
    Column("candidate", String(128), nullable=False),
    Column("weights_sha256", String(64), nullable=False),
    Column("incumbent", String(128), nullable=False),
    Column("incumbent_sha256", String(64), nullable=False),
    Column("order_sha256", String(64), nullable=False),
    Column("alpha", Float, nullable=False),
    Column("carried_wins", BigInteger, nullable=False),
    Column("carried_losses", BigInteger, nullable=False),
    Column("run_id", String(128), ForeignKey("runs.id"), nullable=False),
    Column("status", String(16), nullable=False),
    Column("plan", Text, nullable=False),
    Column("verdict", Text, nullable=True),
    Column("afterwards", Text, nullable=True),
    Column("created_at", String(40), nullable=False),
    Column("updated_at", String(40), nullable=False),
    Index("ix_gates_weights", "weights_sha256"),
    sqlite_autoincrement=True,
)
"""Comparisons, each recorded with its order before its first task."""

LOOKS = Table(
    "looks",
    METADATA,
    Column("gate", String(64), ForeignKey("gates.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("task_id", String(64), nullable=False),
    Column("control", Boolean(create_constraint=False), nullable=True),
    Column("candidate", Boolean(create_constraint=False), nullable=True),
    Column("wins", BigInteger, nullable=False),
    Column("losses", BigInteger, nullable=False),
    Column("promote", Float, nullable=False),
    Column("reject", Float, nullable=False),
    Column("created_at", String(40), nullable=False),
)
"""Every pair that a gate read, in its order, with the evidence after it. A pair without a verdict
on one side counts nothing."""
