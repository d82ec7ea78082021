"""The library's skills: each with its measured effect, and a drawing of who calls whom."""

from __future__ import annotations

from typing import get_args

from agentlab.library.admission import REJECTED
from agentlab.library.catalogue import skill_lines
from agentlab.records import ItemRow, Records
from agentlab.types import Frozen, Scope, Skill, Status
from agentlab.types.report import SkillLine
from agentlab.view.drawing import Drawing, draw
from agentlab.view.figures import Figure, difference_figure
from agentlab.view.scopes import choices, nearest, owners

STATUSES: tuple[Status, ...] = get_args(Status)


class SkillShown(Frozen):
    """A skill's row."""

    line: SkillLine
    effect: Figure | None


class SkillsDrawn(Frozen):
    """Who calls whom among the skills of a scope and those that it reads."""

    environment: str
    scope: str
    """Path."""
    drawing: Drawing
    whose: dict[str, str]
    """The path of each skill's own scope, by name."""


class SkillsPage(Frozen):
    """The skills of one environment, or of all."""

    environments: tuple[str, ...]
    environment: str
    """Empty is every one."""
    status: str
    """Empty leaves out what admission refused."""
    scope: str | None
    """Path of the scope whose alone are shown; None is every one."""
    scopes: tuple[str, ...]
    text: str
    lines: tuple[SkillShown, ...]
    counts: tuple[tuple[str, int], ...]
    """How many there are of each status, refused ones apart."""
    refused: int
    drawings: tuple[SkillsDrawn, ...]
    """By environment and scope: the skills that serve."""

    @property
    def environment_choices(self) -> list[tuple[str, str]]:
        """Environments to choose from."""
        return [(each, each) for each in self.environments]

    @property
    def scope_choices(self) -> list[tuple[str, str]]:
        """Scopes to choose from."""
        return choices(self.scopes)


def make(
    records: Records,
    *,
    environment: str = "",
    status: str = "",
    scope: str | None = None,
    text: str = "",
) -> SkillsPage:
    """The skills of every scope or of one, most used first."""
    places = records.items.environments(scope=None)
    every = records.items.skills(environment=environment or None, scope=None)
    rows = [row for row in every if scope is None or row.scope == scope]
    kept = [row for row in rows if not row.reason.startswith(REJECTED)]
    shown = [row for row in rows if row.status == status] if status else kept
    wanted = text.casefold()
    lines = [
        line
        for line in _lines(records, shown)
        if wanted in f"{line.name} {line.signature} {line.summary}".casefold()
    ]
    counts = [(each, sum(row.status == each for row in kept)) for each in STATUSES]
    return SkillsPage(
        environments=tuple(places),
        environment=environment,
        status=status,
        scope=scope,
        scopes=tuple(owners(every)),
        text=text,
        lines=tuple(SkillShown(line=line, effect=difference_figure(line.effect)) for line in lines),
        counts=tuple((each, n) for each, n in counts if n),
        refused=len(rows) - len(kept),
        drawings=tuple(
            drawn
            for place in ([environment] if environment else places)
            for path in owners(kept)
            if (drawn := _drawn(every, place, path)).drawing.nodes
        ),
    )


def _lines(records: Records, rows: list[ItemRow[Skill]]) -> list[SkillLine]:
    """Each measured by what its own scope may read; a wider one knows less of it."""
    found = [
        line
        for path in owners(rows)
        for line in skill_lines(
            records, [row for row in rows if row.scope == path], scope=Scope.parse(path)
        )
    ]
    return sorted(found, key=lambda line: (-line.uses, line.name, line.scope, line.version))


def _drawn(rows: list[ItemRow[Skill]], environment: str, path: str) -> SkillsDrawn:
    here = [row for row in rows if row.item.environment == environment]
    serving = nearest(here, Scope.parse(path))
    return SkillsDrawn(
        environment=environment,
        scope=path,
        drawing=draw(
            {name: row.item.skills for name, row in serving.items() if row.scope == path},
            {name: row.status for name, row in serving.items()},
        ),
        whose={name: row.scope for name, row in serving.items()},
    )
