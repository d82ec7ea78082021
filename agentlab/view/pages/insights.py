"""Advice that was learnt: when it holds, what it says, where it helped, what offering it does."""

from __future__ import annotations

from agentlab.library.admission import REJECTED
from agentlab.library.advice import insight_detail, insight_lines
from agentlab.records import Records
from agentlab.types import Frozen, Scope
from agentlab.types.report import InsightDetail, InsightLine
from agentlab.view.figures import Figure, difference_figure, rate_figure
from agentlab.view.pages.attempt import pretty
from agentlab.view.pages.skill import EffectLine, MoveLine
from agentlab.view.scopes import choices, owners


class InsightShown(Frozen):
    """An insight's row."""

    line: InsightLine
    effect: Figure | None


class InsightsPage(Frozen):
    """The list."""

    lines: tuple[InsightShown, ...]
    environments: tuple[str, ...]
    environment: str
    status: str
    scope: str | None
    """Path of the scope whose alone are shown; None is every one."""
    scopes: tuple[str, ...]
    text: str
    refused: int

    @property
    def environment_choices(self) -> list[tuple[str, str]]:
        """Environments to choose from."""
        return [(each, each) for each in self.environments]

    @property
    def scope_choices(self) -> list[tuple[str, str]]:
        """Scopes to choose from."""
        return choices(self.scopes)


class InsightPage(Frozen):
    """One insight."""

    detail: InsightDetail
    effects: tuple[EffectLine, ...]
    outcomes: tuple[tuple[str, int], ...]
    """What it did, and at how many tasks."""
    moves: tuple[MoveLine, ...]


def make(
    records: Records,
    *,
    environment: str = "",
    status: str = "",
    scope: str | None = None,
    text: str = "",
) -> InsightsPage:
    """The insights, oldest first; refused ones only where their status is asked for."""
    every = records.items.insights(scope=None)
    places = sorted({row.item.environment for row in every})
    rows = [
        row
        for row in every
        if (not environment or row.item.environment == environment)
        and (scope is None or row.scope == scope)
    ]
    kept = [row for row in rows if not row.reason.startswith(REJECTED)]
    shown = [row for row in rows if row.status == status] if status else kept
    wanted = text.casefold()
    return InsightsPage(
        lines=tuple(
            InsightShown(line=line, effect=difference_figure(line.effect))
            for row in shown
            for line in insight_lines(records, [row], scope=Scope.parse(row.scope))
            if wanted in f"{line.id} {line.condition} {line.advice}".casefold()
        ),
        environments=tuple(places),
        environment=environment,
        status=status,
        scope=scope,
        scopes=tuple(owners(every)),
        text=text,
        refused=len(rows) - len(kept),
    )


def make_insight(records: Records, insight_id: str) -> InsightPage:
    """One insight in full.

    Raises:
        UnknownNameError: there is none.
    """
    rows = records.items.insights(scope=None)
    whose = next((row.scope for row in rows if row.item.id == insight_id), "")
    detail = insight_detail(records, insight_id, scope=Scope.parse(whose))
    found = detail.measured
    named = [
        ("success where offered", rate_figure(found.success_with if found else None)),
        ("success where withheld", rate_figure(found.success_without if found else None)),
        ("change in success", difference_figure(found.success if found else None)),
    ]
    outcomes = [(name, len(ids)) for name, ids in detail.outcomes.items() if isinstance(ids, list)]
    return InsightPage(
        detail=detail,
        effects=tuple(EffectLine(what=what, figure=figure) for what, figure in named if figure),
        outcomes=tuple(outcomes),
        moves=tuple(
            MoveLine(
                version=detail.version,
                before=move.before or "",
                after=move.after,
                reason=move.reason,
                evidence=pretty(move.evidence),
                run_id=move.run_id,
                scope=move.scope,
                created=move.created_at,
            )
            for move in records.items.history(detail.id)
        ),
    )
