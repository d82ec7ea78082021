"""The record store: tables, migrations, blobs, transactions, and the workspace they lie in."""

from __future__ import annotations

from agentlab.records.attempts import AttemptRow
from agentlab.records.blobs import Blobs
from agentlab.records.draws import DrawRow, KnownDraws
from agentlab.records.eventlog import EventRow
from agentlab.records.feedback import FeedbackRow
from agentlab.records.item_rows import ItemKind, ItemRow
from agentlab.records.moves import Move
from agentlab.records.packs import PackRow, PackSkillRow, PackState
from agentlab.records.requests import RequestRow
from agentlab.records.runs import RunRow, RunStatus
from agentlab.records.store import Records, Transaction
from agentlab.records.tasks import ProposalCounts, TaskRow, Verdict
from agentlab.records.vectors import VectorTable
from agentlab.records.workspace import RunLock, Workspace

__all__ = [
    "AttemptRow",
    "Blobs",
    "DrawRow",
    "EventRow",
    "FeedbackRow",
    "ItemKind",
    "ItemRow",
    "KnownDraws",
    "Move",
    "PackRow",
    "PackSkillRow",
    "PackState",
    "ProposalCounts",
    "Records",
    "RequestRow",
    "RunLock",
    "RunRow",
    "RunStatus",
    "TaskRow",
    "Transaction",
    "VectorTable",
    "Verdict",
    "Workspace",
]
