"""The tokens that a gate may take, and how much of them the next attempts may.

Every call counts, also one of an attempt that was lost with its server or its process: what calls
took is written down call by call. Attempts that are made together have equal parts, so that which
of them is cut off depends on the attempt alone, and on no side of a pair. One that was cut off is
no result: the reading goes on from it with more, or ends before it. So what was read is always a
beginning of the order that was fixed, and a limit ends the evidence early and never chooses it.
"""

from __future__ import annotations

from agentlab.models.journal import SPENDING, Journal
from agentlab.models.ledger import Amount
from agentlab.records import Records
from agentlab.types import Allotment, Role

SPARE = 2
"""Times what the dearest attempt took that each of several made together must be able to take."""


class GateTokens:
    """What one gate takes.

    Args:
        records: of the workspace.
        run_id: under which its attempts are recorded.
        limit: all that it may take; None is no limit, and then nothing is written down.
    """

    def __init__(self, records: Records, run_id: str, limit: int | None) -> None:
        self._records = records
        self._run_id = run_id
        self.limit = limit
        self._journal: Journal | None = None
        self.cut = 0
        """The largest part that did not suffice for an attempt which is to be made again."""
        self._taken = self._dearest = 0
        self._tokens = self._attempts = 0
        if limit is not None:
            directory = records.workspace.run_directory(run_id, create=True)
            self._journal = Journal(directory / SPENDING)
            written = sum(each.tokens for each in self._journal.spent().values())
            self._taken = max(written, self._recorded())
            for row in records.attempts.all(run_id, kind="evaluation"):
                self.took(row.tokens)

    def note(self, role: Role, amount: Amount) -> None:
        """Count a call, before its reply is used."""
        if self._journal is not None:
            self._journal.note(role, amount)
            self._taken += amount.tokens

    def took(self, tokens: int) -> None:
        """Learn what a whole attempt takes."""
        self._dearest = max(self._dearest, tokens)
        self._tokens += tokens
        self._attempts += 1

    def cut_off(self, part: int) -> None:
        """Learn that this was too little for an attempt that is made again."""
        self.cut = max(self.cut, part)
        self._dearest = max(self._dearest, part)

    def read(self) -> None:
        """Learn that nothing is left to be made again."""
        self.cut = 0

    @property
    def taken(self) -> int:
        """By the gate so far."""
        return self._recorded() if self._journal is None else self._taken

    def parts(self, attempts: int) -> tuple[Allotment, ...]:
        """The part of each of so many attempts; none where there is no limit."""
        left = self._left()
        return () if left is None else (Allotment(tokens=left // attempts),)

    def pairs(self, wanted: int) -> int:
        """How many pairs may be attempted together now; 0 where nothing is left for one.

        The first is attempted alone, since nobody knows yet what an attempt takes.
        """
        left = self._left()
        if left is None:
            return wanted
        dearest = self._dearest
        count = min(wanted, max(1, left // (2 * SPARE * dearest))) if dearest else 1
        return count if left > self.cut else 0

    def pay_for(self, attempts: int) -> bool:
        """Whether so many attempts fit, if they take what others took in the mean."""
        left = self._left()
        if left is None:
            return True
        return 0 < left and attempts * self._tokens <= left * self._attempts

    def _left(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self._taken)

    def _recorded(self) -> int:
        return self._records.attempts.spent(self._run_id, kinds=("evaluation",)).tokens
