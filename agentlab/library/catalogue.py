"""What is in the library, for people: list, show, search, remove, rebuild the index.

Works on a workspace alone, without a run and without LangGraph.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentlab.config import RetrievalConfig
from agentlab.embeddings import open_embedder
from agentlab.errors import UnknownNameError, UsageError
from agentlab.library.admission import REJECTED
from agentlab.library.attribution import draws_of
from agentlab.library.skills import SkillLibrary
from agentlab.records import ItemRow, Records, Workspace
from agentlab.statistics import Estimate, effect
from agentlab.types import SHARED, Insight, JsonObject, Scope, Skill, Status
from agentlab.types.report import (
    CollectionLine,
    Difference,
    Interval,
    Rate,
    ReindexReport,
    SkillCounts,
    SkillDetail,
    SkillEffect,
    SkillLine,
    SkillMatch,
    StatusChange,
)
from agentlab.types.scope import depth


def list_skills(
    workspace: Path | str,
    environment: str | None = None,
    status: Status | None = None,
    *,
    scope: Scope = SHARED,
) -> list[SkillLine]:
    """The skills of a workspace that a scope may read, most used first.

    Candidates that admission refused are left out, unless a status is asked for.

    Raises:
        UsageError: there is no workspace at that path; nothing here makes one.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        rows = records.items.skills(environment=environment, status=status, scope=scope)
        if status is None:
            rows = [row for row in rows if not row.reason.startswith(REJECTED)]
        return skill_lines(records, rows, scope=scope)


def show_skill(
    workspace: Path | str, name: str, *, environment: str | None = None, scope: Scope = SHARED
) -> SkillDetail:
    """One skill in full, its newest version: what it does and what vouches for it.

    Where several scopes around the given one have a skill of that name, the nearest is meant.

    Raises:
        UnknownNameError: there is no skill of that name; suggests near ones.
        UsageError: several environments have one, and none of them is named.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        return skill_detail(records, name, environment=environment, scope=scope)


def skill_detail(
    records: Records,
    name: str,
    *,
    environment: str | None = None,
    scope: Scope = SHARED,
    own: bool = False,
) -> SkillDetail:
    """One skill in full, from records that are open.

    Args:
        records: open.
        name: of the skill.
        environment: the library's; it need not be named where there is one.
        scope: in which it is looked for and measured.
        own: whether it must be the scope's own, and none of a scope around it.

    Raises:
        UnknownNameError: there is no skill of that name; suggests near ones.
        UsageError: several environments have one, and none of them is named.
    """
    rows = _of_one_environment(records, name, environment, scope)
    if own and not (rows := [each for each in rows if each.scope == scope.path]):
        raise UnknownNameError(f"skill of {scope}", name, ())
    row = max(rows, key=lambda r: (r.status == "active", depth(r.scope), r.item.version))
    rows = [each for each in rows if each.scope == row.scope]
    skill = row.item
    (line,) = skill_lines(records, [row], scope=scope)
    others = records.items.skills(environment=skill.environment, status="active", scope=scope)
    history = [(r.item.version, move) for r in rows for move in records.items.history(r.item.id)]
    evidence: JsonObject = {}
    for _, move in history:
        if move.item_id == skill.id and move.evidence:
            evidence = move.evidence
    return SkillDetail(
        **line.model_dump(),
        id=skill.id,
        toolset=skill.toolset,
        source=skill.source,
        effect_source=skill.effect_source,
        effects=skill.effect,
        precondition=skill.precondition,
        parameters={p.name: p.requires for p in skill.parameters},
        tools=skill.tools,
        skills=skill.skills,
        callers=tuple(sorted(o.item.name for o in others if skill.name in o.item.skills)),
        measured=measured_effect(records, skill, scope=scope),
        tests=skill.tests,
        source_tasks=skill.source_tasks,
        source_attempts=skill.source_attempts,
        parent=skill.parent,
        origin=skill.origin,
        evidence=evidence,
        history=tuple(
            StatusChange(
                version=version,
                before=move.before or "",
                after=move.after,
                reason=move.reason,
                run_id=move.run_id,
                scope=move.scope,
            )
            for version, move in history
        ),
    )


def search_skills(
    workspace: Path | str,
    query: str,
    environment: str | None = None,
    *,
    scope: Scope = SHARED,
) -> list[SkillMatch]:
    """The skills served in a scope that fit a query, best first, over one environment or all."""
    with Records.open(Workspace.open(workspace, create=False)) as records:
        active = records.items.skills(environment=environment, status="active", scope=scope)
        scores: dict[str, float] = {}
        for place, toolset in sorted({(r.item.environment, r.item.toolset) for r in active}):
            with SkillLibrary(
                records, place, toolset=toolset, backend="exact", foreign=True, scope=scope
            ) as library:
                matches = library.retrieve(query, RetrievalConfig())
            scores |= {match.skill.id: match.score for match in matches}
        uses = records.attempts.uses(scope=scope)
        found = [
            SkillMatch(**_line(records, row, uses, scope).model_dump(), score=scores[row.item.id])
            for row in active
            if row.item.id in scores
        ]
        return sorted(found, key=lambda item: (-item.score, item.name))


def remove_skill(
    workspace: Path | str, name: str, *, environment: str | None = None, scope: Scope = SHARED
) -> SkillLine:
    """Retire every version of a scope's skill; nothing is deleted, and it can be undone.

    Raises:
        UnknownNameError: there is no skill of that name; suggests near ones.
        UsageError: several environments have one, and none of them is named.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        # By columns alone: what can no longer be read must be removable above all.
        places = records.items.environments(name, scope=scope)
        if environment is None and len(places) > 1:
            raise _ambiguous(name, places)
        place = environment or (places[0] if places else None)
        records.items.remove_skill(name, environment=place, reason="removed by hand", scope=scope)
        rows = records.items.skills(name=name, environment=place, scope=scope)
        rows = [each for each in rows if each.scope == scope.path]
        if not rows:
            return SkillLine(
                name=name, signature=name, summary="", status="retired", environment=place or ""
            )
        row = max(rows, key=lambda r: r.item.version)
        (line,) = skill_lines(records, [row], scope=scope)
        return line


def reindex(workspace: Path | str, *, embedder: str = "lexical") -> ReindexReport:
    """Rebuild every environment's index from the records.

    What is a tenant's lies in no index on disk: its vectors are read from the records.

    Raises:
        UnknownNameError: there is no such embedder.
        IndexFaultError: another process uses an index.
    """
    started = time.monotonic()
    made_by = open_embedder(embedder).name
    with Records.open(Workspace.open(workspace, create=False)) as records:
        collections: list[CollectionLine] = []
        embedded = 0
        environments = records.items.environments()
        for environment in environments:
            before = len(
                records.vectors.missing(environment=environment, kind="skill", embedder=made_by)
            )
            with SkillLibrary(records, environment, toolset="", embedder=embedder) as library:
                status = library.reindex()
                embedded += before
            collections.append(
                CollectionLine(environment=environment, kind="skill", items=status.items)
            )
        return ReindexReport(
            backend="chroma",
            embedder=embedder,
            collections=tuple(collections),
            items=sum(line.items for line in collections),
            embedded=embedded,
            seconds=round(time.monotonic() - started, 3),
        )


def skill_counts(rows: Sequence[ItemRow[Skill]]) -> SkillCounts:
    """How many serve or served, were refused, and were retired after serving."""
    rejected = sum(r.status == "retired" and r.reason.startswith(REJECTED) for r in rows)
    retired = sum(r.status == "retired" and not r.reason.startswith(REJECTED) for r in rows)
    active = sum(r.status == "active" for r in rows)
    waiting = sum(r.status == "verified" for r in rows)
    return SkillCounts(
        admitted=active + retired, rejected=rejected, retired=retired, waiting=waiting
    )


def skill_lines(
    records: Records, rows: Sequence[ItemRow[Skill]], *, scope: Scope = SHARED
) -> list[SkillLine]:
    """One line for each, most used first, measured by the attempts that the scope may read."""
    if not rows:
        return []
    uses = records.attempts.uses(scope=scope)
    lines = [_line(records, row, uses, scope) for row in rows]
    return sorted(lines, key=lambda line: (-line.uses, line.name, line.version))


def measured_effect(
    records: Records, item: Skill | Insight, *, scope: Scope = SHARED
) -> SkillEffect:
    """What offering the item does, by its randomised draws in attempts that the scope may read."""
    found = effect(draws_of(item, records.draws.all(item_id=item.id, scope=scope)))
    return SkillEffect(
        offered=found.offered,
        withheld=found.withheld,
        success_with=_rate(found.success_offered),
        success_without=_rate(found.success_withheld),
        success=_difference(found.success),
        tool_calls=_difference(found.tool_calls),
        steps=_difference(found.steps),
        tokens=_difference(found.tokens),
    )


def _rate(found: Estimate | None) -> Rate | None:
    if found is None:
        return None
    return Rate(value=found.value, interval=Interval(found.low, found.high), n=found.n)


def _difference(found: Estimate | None) -> Difference | None:
    if found is None:
        return None
    return Difference(value=found.value, interval=Interval(found.low, found.high), n=found.n)


def _line(
    records: Records, row: ItemRow[Skill], uses: Mapping[str, int], scope: Scope
) -> SkillLine:
    skill = row.item
    return SkillLine(
        name=skill.name,
        signature=skill.signature,
        summary=skill.summary,
        status=row.status,
        version=skill.version,
        environment=skill.environment,
        shares_name=len(records.items.environments(skill.name, scope=scope)) > 1,
        uses=uses.get(skill.id, 0),
        effect=measured_effect(records, skill, scope=scope).success,
        scope=row.scope,
    )


def _of_one_environment(
    records: Records, name: str, environment: str | None, scope: Scope
) -> list[ItemRow[Skill]]:
    """Every version of a skill of one environment, which need not be named if there is one."""
    rows = records.items.skills(name=name, environment=environment, scope=scope)
    if not rows:
        others = records.items.skills(environment=environment, scope=scope)
        known = {row.item.name for row in others}
        raise UnknownNameError("skill", name, known)
    places = sorted({row.item.environment for row in rows})
    if len(places) > 1:
        raise _ambiguous(name, places)
    return rows


def _ambiguous(name: str, places: Sequence[str]) -> UsageError:
    listed = ", ".join(repr(place) for place in places)
    return UsageError(
        f"There is a skill {name!r} in each of the environments {listed}; "
        f"say which with --environment {places[0]}."
    )
