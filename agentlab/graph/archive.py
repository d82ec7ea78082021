"""What became of earlier proposals, as a proposer may read it.

Solved, invalid, not novel, not learnable, or still open. Tasks that hit a reserved seed or
template are left out, whoever proposed them: nothing held out reaches a proposer.
"""

from __future__ import annotations

from collections import defaultdict

from agentlab.graph.practice import Practice
from agentlab.proposers.archive import fate_of
from agentlab.types import PastProposal

REMEMBERED = 400
"""Proposals, the latest."""


def archive(practice: Practice, before: int) -> list[PastProposal]:
    """The proposals of rounds before `before`, oldest first."""
    records, run_id = practice.records, practice.run_id
    outcomes: defaultdict[str, list[bool]] = defaultdict(list)
    for row in records.attempts.all(run_id, kind="practice"):
        if row.success is not None:
            outcomes[row.task_id].append(row.success)
    found: list[PastProposal] = []
    for round_ in range(before):
        reasons = {v.task_id: v.reason for v in records.tasks.verdicts(run_id, round_)}
        for row in records.tasks.rows(run_id, round_, admitted=None):
            task = row.task
            if task.split != "practice" or practice.split_rule.refusal(task) is not None:
                continue
            reason = reasons.get(task.id) or ""
            tried = outcomes[task.id]
            fate = fate_of(None if row.admitted else reason, tried) or "open"
            if fate == "not learnable":
                reason = f"solved in {sum(tried)} of {len(tried)} attempts"
            found.append(PastProposal(task, fate, reason))
    return found[-REMEMBERED:]
