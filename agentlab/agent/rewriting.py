"""Requests that users had to say again, attempted the way that worked.

What `library.rephrasing` mines is used here: by scope, only where learning is on, always told in
the result, and measured like any item, by leaving a request as it is now and then. A rewrite whose
measured effect is shown to be harmful is used no more. What is measured is whether the words that
were attempted came to success, so that words of a grammar, which say their goal, are left alone.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from agentlab.library.attribution import draws_of
from agentlab.library.rephrasing import Rewrite, normalised, rewrites
from agentlab.records import Records
from agentlab.statistics import effect
from agentlab.types import Insight, Scope

EVERY = 20
"""Requests after which what users said is looked at again."""
NOBODY = Insight(id="", environment="", condition="", advice="")
"""Stands for a rewrite where draws are counted: it was derived from no task."""


class Rewriting:
    """The rewrites of a scope in an environment. Safe to use from threads."""

    def __init__(self, records: Records, environment: str, scope: Scope) -> None:
        self._records = records
        self._environment = environment
        self._scope = scope
        self._lock = threading.Lock()
        self._asked = 0
        self._known: Mapping[str, Rewrite] | None = None

    def of(self, request: str) -> Rewrite | None:
        """What to attempt instead of a request, where something is shown to do better."""
        with self._lock:
            if self._known is None or self._asked >= EVERY:
                self._known, self._asked = self._mined(), 0
            self._asked += 1
            return self._known.get(normalised(request))

    def look_again(self) -> Mapping[str, Rewrite]:
        """Mine what is on record now; what holds."""
        with self._lock:
            self._known, self._asked = self._mined(), 0
            return self._known

    def _mined(self) -> Mapping[str, Rewrite]:
        rows = self._records.requests.latest(self._environment, scope=self._scope)
        found = rewrites(rows, environment=self._environment, scope=self._scope)
        return {key: each for key, each in found.items() if not self._harmful(each)}

    def _harmful(self, rewrite: Rewrite) -> bool:
        rows = self._records.draws.all(item_id=rewrite.id, scope=self._scope)
        measured = effect(draws_of(NOBODY, rows)).success
        return measured is not None and measured.high < 0
