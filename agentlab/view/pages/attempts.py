"""The attempts of a run, newest first, filtered by what an address says."""

from __future__ import annotations

from agentlab.analysis.arms import rate
from agentlab.records import Records
from agentlab.records.browsing import PAGE, AttemptPlace, Counted, ListedAttempt
from agentlab.records.filters import AttemptFilter
from agentlab.types import Frozen
from agentlab.view.figures import Figure, rate_figure
from agentlab.view.pages.leafing import Leafing, leafing
from agentlab.view.scopes import choices


class KindLine(Frozen):
    """Attempts of one kind."""

    kind: str
    n: int
    """Recorded, those without a verdict included."""
    success: Figure | None


class AttemptsPage(Frozen):
    """The list."""

    run_id: str
    kinds: tuple[KindLine, ...]
    """Of the whole run, whatever is filtered."""
    total: int
    rounds: tuple[int, ...]
    scopes: tuple[str, ...]
    """In which its attempts were made, by path."""
    wanted: AttemptFilter
    rows: tuple[ListedAttempt, ...]
    leafing: Leafing

    @property
    def round_choices(self) -> list[tuple[str, str]]:
        """Rounds to choose from, counted from 1."""
        return [(str(each + 1), str(each + 1)) for each in self.rounds]

    @property
    def scope_choices(self) -> list[tuple[str, str]]:
        """Scopes to choose from."""
        return choices(self.scopes)


def make(
    records: Records,
    run_id: str,
    wanted: AttemptFilter | None = None,
    *,
    older: AttemptPlace | None = None,
    newer: AttemptPlace | None = None,
    limit: int = PAGE,
) -> AttemptsPage:
    """The attempts of a run of any kind.

    Raises:
        UnknownNameError: there is no such run.
    """
    records.runs.get(run_id)
    wanted = wanted or AttemptFilter()
    counts = records.browsing.counts(run_id)
    page = records.browsing.attempts(
        run_id, wanted, older_than=older, newer_than=newer, limit=limit
    )
    return AttemptsPage(
        run_id=run_id,
        kinds=_kinds(counts),
        total=sum(each.n for each in counts),
        rounds=tuple(sorted({each.round for each in counts})),
        scopes=tuple(records.browsing.scopes(run_id)),
        wanted=wanted,
        rows=page.rows,
        leafing=leafing(page.rows, newer=page.newer, older=page.older),
    )


def _kinds(counts: list[Counted]) -> tuple[KindLine, ...]:
    found: list[KindLine] = []
    for kind in ("practice", "shadow", "evaluation", "production"):
        these = [each for each in counts if each.kind == kind]
        if these:
            found.append(
                KindLine(
                    kind=kind, n=sum(each.n for each in these), success=rate_figure(rate(these))
                )
            )
    return tuple(found)
