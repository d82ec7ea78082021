"""The record store: everything that a run leaves behind, by noun.

    with Records.open(Workspace.open(".agentlab")) as records:
        records.attempts.record(spec, outcome, events)      # a transaction of its own
        with records.transaction() as part:                  # several writes, all or nothing
            part.tasks.add_proposals(...)
            part.nodes.finish(run_id, round, "propose", {})

The same nouns read and write in both ways. Inside a transaction, write through the object it
hands out and await nothing. Nothing here decides what is worth keeping.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from agentlab.records.asked import Asked
from agentlab.records.attempts import Attempts
from agentlab.records.blobs import Blobs
from agentlab.records.browsing import Browsing
from agentlab.records.budgets import Budgets
from agentlab.records.database import BUSY_SECONDS, Database, Joined, Session
from agentlab.records.draws import Draws
from agentlab.records.eventlog import EventLog
from agentlab.records.feedback import FeedbackStore
from agentlab.records.gates import Gates
from agentlab.records.items import Items
from agentlab.records.migration import migrate
from agentlab.records.packs import Packs
from agentlab.records.policies import Policies
from agentlab.records.production import Production
from agentlab.records.requests import Requests
from agentlab.records.role_calls import RoleCalls
from agentlab.records.runs import Nodes, Runs
from agentlab.records.summaries import Summaries
from agentlab.records.tasks import Tasks
from agentlab.records.trajectories import Trajectories
from agentlab.records.vectors import VectorStore
from agentlab.records.workspace import Workspace
from agentlab.types import JsonObject


class Transaction:
    """The nouns of the store over one session."""

    def __init__(self, session: Session) -> None:
        self.runs = Runs(session)
        self.nodes = Nodes(session)
        self.tasks = Tasks(session)
        self.attempts = Attempts(session)
        self.asked = Asked(session)
        self.trajectories = Trajectories(session)
        self.draws = Draws(session)
        self.browsing = Browsing(session)
        self.summaries = Summaries(session)
        self.items = Items(session)
        self.vectors = VectorStore(session)
        self.events = EventLog(session)
        self.budgets = Budgets(session)
        self.packs = Packs(session)
        self.role_calls = RoleCalls(session)
        self.policies = Policies(session)
        self.gates = Gates(session)
        self.feedback = FeedbackStore(session)
        self.requests = Requests(session)
        self.production = Production(session)


class Records(Transaction):
    """An open record store. Safe to share between threads and to read from other processes."""

    def __init__(self, database: Database, workspace: Workspace) -> None:
        super().__init__(database)
        self.workspace = workspace
        self.blobs = Blobs(workspace.blobs)
        self._database = database

    @classmethod
    def open(cls, workspace: Workspace, *, busy_seconds: float = BUSY_SECONDS) -> Records:
        """Open the workspace's records, creating or upgrading them.

        Raises:
            NewerDatabaseError: a later version of agentlab wrote them.
            RecordsError: they are damaged, or locked for longer than `busy_seconds`.
            WorkspaceError: the disk is full or read-only.
        """
        database = Database(workspace.database, busy_seconds=busy_seconds)
        try:
            migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database, workspace)

    @contextmanager
    def transaction(self, *, flushed: bool = True) -> Generator[Transaction]:
        """Several writes that happen together or not at all.

        Args:
            flushed: whether they are on the disk when the block ends; see `Database.write`.

        Raises:
            RecordsError: a transaction is open in this thread already, or the disk failed.
        """
        with self._database.write(flushed=flushed) as connection:
            yield Transaction(Joined(connection))

    def once(
        self, run_id: str, round_: int, node: str, work: Callable[[Transaction], JsonObject]
    ) -> JsonObject:
        """Have a node's effect exactly once: `work` and the marker in one transaction.

        Returns what `work` returned, now or the first time.
        """
        known = self.nodes.done(run_id, round_, node)
        if known is not None:
            return known
        with self.transaction() as part:
            known = part.nodes.done(run_id, round_, node)
            if known is None:
                known = work(part)
                part.nodes.finish(run_id, round_, node, known)
            return known

    def close(self) -> None:
        """Give back every connection. Safe to call twice."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
