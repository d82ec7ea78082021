"""The terminal's tally, begun from counts: as if every event of the log had been added in turn.

Nothing is counted differently here than there; a test adds the same events one by one.
"""

from __future__ import annotations

from agentlab.analysis.tally import Tally
from agentlab.events import TaskRejected
from agentlab.records import Records
from agentlab.records.summaries import LogSummary


class SummedTally(Tally):
    """A tally of a log that was long before anybody looked."""

    def begin(self, records: Records, run_id: str, *, newest: int) -> LogSummary:
        """Take in the whole log; for a tally that has seen nothing yet.

        Args:
            records: open.
            run_id: whose log.
            newest: how many of the latest events to give in what is returned.
        """
        log = records.summaries.log(run_id, verdicts=self._recent.maxlen or 0, newest=newest)
        for row in log.others:
            if log.round is not None and row.serial >= log.begun:
                self._enter(log.round)
            self.add(row.event)
        if log.round is not None:
            self._enter(log.round)
        self.admitted = log.admitted
        for reason, n in log.rejected:
            rejected = TaskRejected(run_id=run_id, reason=reason)
            for _ in range(n):
                self._of_a_round(rejected)
        self._take_attempts(log)
        return log

    def _take_attempts(self, log: LogSummary) -> None:
        for each in log.finished:
            if each.kind not in {"practice", "shadow"}:
                continue
            now = each.n * each.latest
            self.attempts += each.n
            self.steps += each.steps
            if each.kind == "shadow":
                self.shadow += now
                continue
            self.practised += each.n
            self.done += now
            if each.status == "completed" and each.success is not None:
                self._verdicts.setdefault(each.round, []).extend([each.success] * each.n)
        self._recent.extend(log.verdicts)
