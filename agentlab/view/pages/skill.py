"""One skill: its code, its versions and what changed between them, what vouches for it."""

from __future__ import annotations

from agentlab.library.catalogue import skill_detail
from agentlab.records import ItemRow, Move, Records
from agentlab.types import SHARED, Frozen, Scope, Skill
from agentlab.types.report import SkillDetail
from agentlab.view.differences import DiffLine, differences
from agentlab.view.drawing import Drawing, draw
from agentlab.view.figures import Figure, difference_figure, rate_figure
from agentlab.view.pages.attempt import pretty
from agentlab.view.scopes import nearest


class VersionLine(Frozen):
    """A version of the skill."""

    id: str
    version: int
    status: str
    reason: str
    origin: str
    run_id: str | None
    round: int | None
    created: str
    shown: bool


class MoveLine(Frozen):
    """One change of status."""

    version: int
    before: str
    after: str
    reason: str
    evidence: str
    run_id: str | None
    created: str
    scope: str
    """Path of the scope whose it was from then on."""


class EffectLine(Frozen):
    """One thing that offering the skill changes, or a rate on one side."""

    what: str
    figure: Figure


class SkillPage(Frozen):
    """The skill."""

    detail: SkillDetail
    version: VersionLine
    """The one that is shown."""
    source: str
    effect_source: str
    effects: tuple[EffectLine, ...]
    draws: tuple[int, int]
    """Offered and withheld."""
    versions: tuple[VersionLine, ...]
    compared: tuple[int, int] | None
    """The versions between which the difference is."""
    diff: tuple[DiffLine, ...]
    moves: tuple[MoveLine, ...]
    drawing: Drawing
    whose: dict[str, str]
    """The path of the scope of each skill that is named beside it, by name."""
    tests: tuple[str, ...]
    precondition: str

    @property
    def version_choices(self) -> list[tuple[str, str]]:
        """Versions to compare the shown one with."""
        return [(str(v.version), f"version {v.version}") for v in self.versions if not v.shown]


def make(
    records: Records,
    environment: str,
    name: str,
    *,
    scope: Scope = SHARED,
    version: int | None = None,
    against: int | None = None,
) -> SkillPage:
    """A skill of an environment, as one of its versions has it.

    Args:
        records: open.
        environment: the library's.
        name: of the skill.
        scope: whose it is; what is around that scope is another's.
        version: which; by default the one that serves, or else the newest.
        against: the version to compare it with; by default the one before it.

    Raises:
        UnknownNameError: the scope has no skill of that name.
    """
    detail = skill_detail(records, name, environment=environment, scope=scope, own=True)
    rows = sorted(
        (
            row
            for row in records.items.skills(name=name, environment=environment, scope=scope)
            if row.scope == scope.path
        ),
        key=lambda row: row.item.version,
    )
    serving = nearest(records.items.skills(environment=environment, scope=scope), scope)
    main = next((row for row in rows if row.item.version == version), None)
    main = main or next(row for row in rows if row.item.id == detail.id)
    other = _other(rows, main, against)
    return SkillPage(
        detail=detail,
        version=_version(main, main),
        source=main.item.source,
        effect_source=main.item.effect_source,
        effects=_effects(detail) if main.item.id == detail.id else (),
        draws=(detail.measured.offered, detail.measured.withheld) if detail.measured else (0, 0),
        versions=tuple(_version(row, main) for row in reversed(rows)),
        compared=(other.item.version, main.item.version) if other is not None else None,
        diff=differences(other.item.source, main.item.source) if other is not None else (),
        moves=tuple(
            _move(row.item.version, move)
            for row in rows
            for move in records.items.history(row.item.id)
        ),
        drawing=_drawing(list(serving.values()), detail),
        whose={name: row.scope for name, row in serving.items()} | {name: scope.path},
        tests=tuple(pretty(test) for test in main.item.tests),
        precondition=pretty(main.item.precondition),
    )


def _other(
    rows: list[ItemRow[Skill]], main: ItemRow[Skill], against: int | None
) -> ItemRow[Skill] | None:
    if against is not None:
        return next((row for row in rows if row.item.version == against and row != main), None)
    earlier = [row for row in rows if row.item.version < main.item.version]
    return earlier[-1] if earlier else None


def _version(row: ItemRow[Skill], main: ItemRow[Skill]) -> VersionLine:
    return VersionLine(
        id=row.item.id,
        version=row.item.version,
        status=row.status,
        reason=row.reason,
        origin=row.item.origin,
        run_id=row.run_id,
        round=row.round,
        created=row.created_at,
        shown=row.item.id == main.item.id,
    )


def _move(version: int, move: Move) -> MoveLine:
    return MoveLine(
        version=version,
        before=move.before or "",
        after=move.after,
        reason=move.reason,
        evidence=pretty(move.evidence),
        run_id=move.run_id,
        created=move.created_at,
        scope=move.scope,
    )


def _effects(detail: SkillDetail) -> tuple[EffectLine, ...]:
    found = detail.measured
    if found is None:
        return ()
    named = [
        ("success where offered", rate_figure(found.success_with)),
        ("success where withheld", rate_figure(found.success_without)),
        ("change in success", difference_figure(found.success)),
        ("change in tool calls (logarithm)", difference_figure(found.tool_calls)),
        ("change in steps (logarithm)", difference_figure(found.steps)),
        ("change in tokens (logarithm)", difference_figure(found.tokens)),
    ]
    return tuple(EffectLine(what=what, figure=figure) for what, figure in named if figure)


def _drawing(rows: list[ItemRow[Skill]], detail: SkillDetail) -> Drawing:
    """The skill, who calls it and what it calls."""
    near = {detail.name, *detail.callers, *detail.skills}
    serving = {row.item.name: row.item.skills for row in rows if row.item.name in near}
    calls = {name: [c for c in called if c in near] for name, called in serving.items()}
    if detail.name not in calls:
        calls[detail.name] = list(detail.skills)
    statuses = dict.fromkeys(serving, "active") | {detail.name: detail.status}
    return draw({a: [b for b in bs if detail.name in (a, b)] for a, bs in calls.items()}, statuses)
