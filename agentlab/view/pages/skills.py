"""The library's skills: each with its measured effect, and a drawing of who calls whom."""

from __future__ import annotations

from typing import get_args

from agentlab.library.admission import REJECTED
from agentlab.library.catalogue import skill_lines
from agentlab.records import ItemRow, Records
from agentlab.types import Frozen, Skill, Status
from agentlab.types.report import SkillLine
from agentlab.view.drawing import Drawing, draw
from agentlab.view.figures import Figure, difference_figure

STATUSES: tuple[Status, ...] = get_args(Status)


class SkillShown(Frozen):
    """A skill's row."""

    line: SkillLine
    effect: Figure | None


class SkillsPage(Frozen):
    """The skills of one environment, or of all."""

    environments: tuple[str, ...]
    environment: str
    """Empty is every one."""
    status: str
    """Empty leaves out what admission refused."""
    text: str
    lines: tuple[SkillShown, ...]
    counts: tuple[tuple[str, int], ...]
    """How many there are of each status, refused ones apart."""
    refused: int
    drawings: tuple[tuple[str, Drawing], ...]
    """By environment: the skills that serve."""

    @property
    def environment_choices(self) -> list[tuple[str, str]]:
        """Environments to choose from."""
        return [(each, each) for each in self.environments]


def make(
    records: Records, *, environment: str = "", status: str = "", text: str = ""
) -> SkillsPage:
    """The skills, most used first."""
    places = records.items.environments()
    rows = records.items.skills(environment=environment or None)
    kept = [row for row in rows if not row.reason.startswith(REJECTED)]
    shown = [row for row in rows if row.status == status] if status else kept
    wanted = text.casefold()
    lines = [
        line
        for line in skill_lines(records, shown)
        if wanted in f"{line.name} {line.signature} {line.summary}".casefold()
    ]
    counts = [(each, sum(row.status == each for row in kept)) for each in STATUSES]
    return SkillsPage(
        environments=tuple(places),
        environment=environment,
        status=status,
        text=text,
        lines=tuple(SkillShown(line=line, effect=difference_figure(line.effect)) for line in lines),
        counts=tuple((each, n) for each, n in counts if n),
        refused=len(rows) - len(kept),
        drawings=tuple(
            (place, drawing)
            for place in ([environment] if environment else places)
            if (drawing := _drawing([row for row in kept if row.item.environment == place])).nodes
        ),
    )


def _drawing(rows: list[ItemRow[Skill]]) -> Drawing:
    serving = {row.item.name: row for row in rows if row.status == "active"}
    return draw(
        {name: row.item.skills for name, row in serving.items()},
        {name: row.status for name, row in serving.items()},
    )
