"""What advice is in the library, for people: list, show, take out.

Works on a workspace alone, without a run and without LangGraph.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agentlab.errors import UnknownNameError, UsageError
from agentlab.library.admission import REJECTED
from agentlab.library.catalogue import measured_effect
from agentlab.records import ItemRow, Records, Workspace
from agentlab.types import SHARED, Insight, JsonObject, Scope, Status
from agentlab.types.report import InsightDetail, InsightLine, SkillCounts, StatusChange


def list_insights(
    workspace: Path | str,
    environment: str | None = None,
    status: Status | None = None,
    *,
    scope: Scope = SHARED,
) -> list[InsightLine]:
    """The insights that a scope may read, oldest first; refused ones where a status is asked for.

    Raises:
        UsageError: there is no workspace at that path.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        rows = records.items.insights(environment=environment, status=status, scope=scope)
        if status is None:
            rows = [row for row in rows if not row.reason.startswith(REJECTED)]
        return insight_lines(records, rows, scope=scope)


def show_insight(workspace: Path | str, insight: str, *, scope: Scope = SHARED) -> InsightDetail:
    """One insight in full, by its id or the beginning of it.

    Raises:
        UnknownNameError: there is none, or more than one begins so.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        return insight_detail(records, insight, scope=scope)


def insight_detail(records: Records, insight: str, *, scope: Scope = SHARED) -> InsightDetail:
    """One insight in full, from records that are open.

    Raises:
        UnknownNameError: there is none, or more than one begins so.
    """
    row = _find(records, insight, scope)
    item = row.item
    history = records.items.history(item.id)
    kept = [move.evidence for move in history if move.evidence]
    evidence: JsonObject = kept[-1] if kept else {}
    return InsightDetail(
        **_line(records, row, scope).model_dump(),
        negative_condition=item.negative_condition,
        example=item.example,
        taxonomy=item.taxonomy,
        trust=item.trust,
        source_tasks=item.source_tasks,
        parent=item.parent,
        measured=measured_effect(records, item, scope=scope),
        outcomes=item.outcomes.model_dump(mode="json"),
        evidence=evidence,
        history=tuple(
            StatusChange(
                version=item.version,
                before=move.before or "",
                after=move.after,
                reason=move.reason,
                run_id=move.run_id,
                scope=move.scope,
            )
            for move in history
        ),
    )


def remove_insight(workspace: Path | str, insight: str, *, scope: Scope = SHARED) -> InsightLine:
    """Retire an insight; nothing is deleted, and it can be undone.

    Raises:
        UnknownNameError: there is none, or more than one begins so.
        UsageError: it belongs to a wider scope than the one given.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        row = _find(records, insight, scope)
        if row.scope != scope.path:
            raise UsageError(
                f"The insight {row.item.id!r} is not {scope}'s alone; name its scope to remove it."
            )
        records.items.move(row.item.id, "retired", reason="removed by hand")
        return _line(records, _find(records, row.item.id, scope), scope)


def insight_counts(rows: Sequence[ItemRow[Insight]]) -> SkillCounts:
    """How many serve or served, were refused, and were retired after serving."""
    rejected = sum(r.status == "retired" and r.reason.startswith(REJECTED) for r in rows)
    retired = sum(r.status == "retired" and not r.reason.startswith(REJECTED) for r in rows)
    active = sum(r.status == "active" for r in rows)
    waiting = sum(r.status == "verified" for r in rows)
    return SkillCounts(
        admitted=active + retired, rejected=rejected, retired=retired, waiting=waiting
    )


def insight_lines(
    records: Records, rows: Sequence[ItemRow[Insight]], *, scope: Scope = SHARED
) -> list[InsightLine]:
    """One line for each, in their order, measured by the attempts that the scope may read."""
    return [_line(records, row, scope) for row in rows]


def _find(records: Records, key: str, scope: Scope) -> ItemRow[Insight]:
    rows = records.items.insights(scope=scope)
    found = [row for row in rows if row.item.id == key] or [
        row for row in rows if key and row.item.id.startswith(key)
    ]
    if len(found) != 1:
        raise UnknownNameError("insight", key, [row.item.id for row in rows])
    return found[0]


def _line(records: Records, row: ItemRow[Insight], scope: Scope) -> InsightLine:
    item = row.item
    return InsightLine(
        id=item.id,
        condition=item.condition,
        advice=item.advice,
        status=row.status,
        version=item.version,
        environment=item.environment,
        effect=measured_effect(records, item, scope=scope).success,
        scope=row.scope,
    )
