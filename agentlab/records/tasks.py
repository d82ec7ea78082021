"""Tasks of a run, and the firewall between what is practised and what is only measured.

The store applies the split rule itself: whoever proposes, a task that hits a reserved seed or
template is dropped here, with that reason on record. Only a task that passed is `admitted`,
and only attempts at admitted tasks can be learnt from (see `attempts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Row, Select, func, select, update

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.records.database import Session, add
from agentlab.records.documents import batches, checked, keep
from agentlab.records.encoding import decode, plain
from agentlab.records.runs import begin_round
from agentlab.records.tables import ATTEMPTS, DOCUMENTS, PROPOSALS, TASKS
from agentlab.types import SplitRule, Task

DUPLICATE = "duplicate"
GIVEN = -1
"""The place of a task that nobody proposed."""


class Verdict(NamedTuple):
    """What became of one proposal."""

    task_id: str
    admitted: bool
    reason: str | None
    """None when admitted; otherwise `<kind>` or `<kind>: <particulars>`."""


class ProposalCounts(NamedTuple):
    """A run's proposals, summed."""

    proposed: int
    admitted: int
    rejected: dict[str, int]
    """Kind of reason (the text before the first colon) to how many."""


class TaskRow(NamedTuple):
    """A task and its place in the run."""

    task: Task
    round: int
    position: int
    admitted: bool


class Tasks:
    """Proposals and the tasks they became."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add_proposals(
        self,
        run_id: str,
        round_: int,
        proposals: Sequence[tuple[Task, str | None]],
        split_rule: SplitRule,
        *,
        first: int = 0,
    ) -> list[Verdict]:
        """Admit or drop each proposal, in order; the verdicts, in order.

        Each comes with the reason why it was rejected elsewhere, or None. The split rule
        speaks first, then that reason, then whether the run has the task already. `first` is
        the place of the first one in the round, for a round that proposes more than once.
        Calling again with the same proposals changes nothing and returns the same.

        Raises:
            RecordsError: other proposals have these places already.
        """
        places = [(first + offset, task, reason) for offset, (task, reason) in enumerate(proposals)]
        with self._session.write() as connection:
            begin_round(connection, run_id, round_)
            recorded = _recorded(connection, run_id, round_)
            known = _admitted(connection, run_id, [task.id for task, _ in proposals])
            verdicts: list[Verdict] = []
            fresh: list[tuple[int, Task, Verdict]] = []
            for position, task, given in places:
                verdict = recorded.get(position)
                if verdict is None:
                    reason = split_rule.refusal(task) or given
                    if reason is None and task.id in known:
                        reason = DUPLICATE
                    verdict = Verdict(task.id, reason is None, reason)
                    fresh.append((position, task, verdict))
                    if verdict.admitted:
                        known.add(task.id)
                elif verdict.task_id != task.id:
                    raise RecordsError(
                        f"Round {round_} of the run {run_id!r} has other proposals already, from "
                        f"place {position} on; resume the run with the seed and version it had."
                    )
                verdicts.append(verdict)
            _write(connection, run_id, round_, fresh)
        return verdicts

    def all(
        self, run_id: str, round_: int | None = None, *, admitted: bool | None = True
    ) -> list[Task]:
        """Tasks of a run or a round, in the order in which they were proposed.

        `admitted=False` gives those that were refused or only given for evaluation, None both.
        """
        return [row.task for row in self.rows(run_id, round_, admitted=admitted)]

    def rows(
        self, run_id: str, round_: int | None = None, *, admitted: bool | None = True
    ) -> list[TaskRow]:
        """As `all`, with each task's place."""
        query = _bodies().where(TASKS.c.run_id == run_id)
        if round_ is not None:
            query = query.where(TASKS.c.round == round_)
        if admitted is not None:
            query = query.where(TASKS.c.admitted == admitted)
        query = query.order_by(TASKS.c.round, TASKS.c.position, TASKS.c.id)
        with self._session.read() as connection:
            rows = connection.execute(query).all()
        return [TaskRow(_task(row), row.round, row.position, row.admitted) for row in rows]

    def untried(self, run_id: str) -> list[Task]:
        """Admitted tasks of which no practice attempt is on record, in the order of `all`.

        What a curriculum chooses among. Only these are read, so that a long run plans a round
        in the time that its open tasks take and not in that of its history.
        """
        tried = select(ATTEMPTS.c.id).where(
            ATTEMPTS.c.run_id == TASKS.c.run_id,
            ATTEMPTS.c.task_id == TASKS.c.id,
            ATTEMPTS.c.kind == "practice",
            ATTEMPTS.c.status.is_not(None),
        )
        query = (
            _bodies()
            .where(TASKS.c.run_id == run_id, TASKS.c.admitted.is_(True), ~tried.exists())
            .order_by(TASKS.c.round, TASKS.c.position, TASKS.c.id)
        )
        with self._session.read() as connection:
            return [_task(row) for row in connection.execute(query)]

    def get(self, task_id: str, *, run_id: str | None = None) -> Task:
        """One task, from a run or from whichever has it (an admitted one before others).

        Raises:
            UnknownNameError: there is none of that id.
        """
        query = _bodies().where(TASKS.c.id == task_id)
        if run_id is not None:
            query = query.where(TASKS.c.run_id == run_id)
        query = query.order_by(TASKS.c.admitted.desc(), TASKS.c.run_id).limit(1)
        with self._session.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownNameError("task", task_id, ())
        return _task(row)

    def verdicts(self, run_id: str, round_: int) -> list[Verdict]:
        """What became of a round's proposals, in order."""
        with self._session.read() as connection:
            return [verdict for _, verdict in sorted(_recorded(connection, run_id, round_).items())]

    def proposal_counts(self, run_id: str) -> ProposalCounts:
        """How many were proposed, admitted and, by kind of reason, rejected."""
        query = (
            select(PROPOSALS.c.admitted, PROPOSALS.c.reason_kind, func.count().label("n"))
            .where(PROPOSALS.c.run_id == run_id)
            .group_by(PROPOSALS.c.admitted, PROPOSALS.c.reason_kind)
            .order_by(PROPOSALS.c.reason_kind)
        )
        with self._session.read() as connection:
            rows = connection.execute(query).all()
        rejected = {row.reason_kind: row.n for row in rows if not row.admitted}
        admitted = sum(row.n for row in rows if row.admitted)
        return ProposalCounts(admitted + sum(rejected.values()), admitted, rejected)


def give(
    connection: Connection, run_id: str, round_: int, tasks: Sequence[tuple[Task, str]]
) -> None:
    """Record tasks that nobody proposed, with their digests; this never admits one."""
    rows = [
        _task_row(run_id, round_, GIVEN, task, digest, admitted=False) for task, digest in tasks
    ]
    add(connection, TASKS, rows)


def _write(
    connection: Connection, run_id: str, round_: int, fresh: Sequence[tuple[int, Task, Verdict]]
) -> None:
    digests = keep(connection, [task for _, task, _ in fresh])
    tasks: list[dict[str, object]] = []
    proposals: list[dict[str, object]] = []
    for (position, task, verdict), digest in zip(fresh, digests, strict=True):
        row = _task_row(run_id, round_, position, task, digest, admitted=verdict.admitted)
        tasks.append(row)
        reason = None if verdict.reason is None else plain(verdict.reason)
        proposals.append(
            {
                "run_id": run_id,
                "round": round_,
                "position": position,
                "task_id": task.id,
                "admitted": verdict.admitted,
                "reason": reason,
                "reason_kind": None if reason is None else reason.partition(":")[0].strip()[:128],
                "document": digest,
            }
        )
    add(connection, TASKS, tasks)
    # A task that was refused in one round, or only given, may be admitted later.
    for row in tasks:
        if row["admitted"]:
            connection.execute(
                update(TASKS)
                .where(
                    TASKS.c.run_id == run_id,
                    TASKS.c.id == row["id"],
                    TASKS.c.admitted.is_(False),
                )
                .values(**row)
            )
    add(connection, PROPOSALS, proposals)


def _task_row(
    run_id: str, round_: int, position: int, task: Task, digest: str, *, admitted: bool
) -> dict[str, object]:
    return {
        "run_id": run_id,
        "id": task.id,
        "environment": task.environment,
        "template": plain(task.template),
        "split": task.split,
        "source": task.source,
        "admitted": admitted,
        "round": round_,
        "position": position,
        "document": digest,
    }


def _recorded(connection: Connection, run_id: str, round_: int) -> dict[int, Verdict]:
    query = select(
        PROPOSALS.c.position, PROPOSALS.c.task_id, PROPOSALS.c.admitted, PROPOSALS.c.reason
    ).where(PROPOSALS.c.run_id == run_id, PROPOSALS.c.round == round_)
    return {
        row.position: Verdict(row.task_id, row.admitted, row.reason)
        for row in connection.execute(query)
    }


def _admitted(connection: Connection, run_id: str, task_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for part in batches(task_ids):
        query = select(TASKS.c.id).where(
            TASKS.c.run_id == run_id, TASKS.c.admitted.is_(True), TASKS.c.id.in_(part)
        )
        found.update(connection.scalars(query))
    return found


def _bodies() -> Select[str, str, int, int, bool]:
    return select(
        DOCUMENTS.c.digest,
        DOCUMENTS.c.body,
        TASKS.c.round,
        TASKS.c.position,
        TASKS.c.admitted,
    ).join_from(TASKS, DOCUMENTS, TASKS.c.document == DOCUMENTS.c.digest)


def _task(row: Row[str, str, int, int, bool]) -> Task:
    body = checked(row.digest, row.body)
    return decode(Task, body, table="documents", key=row.digest)
