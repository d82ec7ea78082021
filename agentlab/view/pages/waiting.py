"""What waits for a person: what it does, what vouches for it, and where a verdict is given."""

from __future__ import annotations

import getpass

from pydantic import JsonValue

from agentlab.errors import UnknownNameError
from agentlab.library.catalogue import measured_effect
from agentlab.library.waiting import waiting
from agentlab.records import Records
from agentlab.types import Frozen, Insight, Scope, Skill
from agentlab.types.approval import ItemDecision, WaitingItem
from agentlab.types.report import SkillEffect
from agentlab.view.figures import Figure, difference_figure
from agentlab.view.pages.attempt import pretty
from agentlab.view.scopes import choices

SAID = ("gate", "passed", "reason")


class GateShown(Frozen):
    """What one gate of admission said."""

    name: str
    passed: bool
    reason: str
    evidence: str


class WaitingShown(Frozen):
    """An item and what vouches for it."""

    item: WaitingItem
    signature: str
    source: str
    effect_source: str
    gates: tuple[GateShown, ...]
    evidence: str
    """What the last move says beside the gates."""
    effect: Figure | None
    replaces: tuple[str, ...]
    """Names of what serves until it is approved."""
    source_attempts: tuple[str, ...]
    source_tasks: int


class WaitingPage(Frozen):
    """All that waits, oldest first."""

    items: tuple[WaitingShown, ...]
    scope: str | None
    """Path of the scope whose alone are shown; None is every one."""
    scopes: tuple[str, ...]
    by: str
    """Who is asked, unless another name is given."""
    done: ItemDecision | None = None
    """What was decided just now."""
    fault: str = ""
    """Why a verdict was not taken."""

    @property
    def scope_choices(self) -> list[tuple[str, str]]:
        """Scopes to choose from."""
        return choices(self.scopes)


def make(
    records: Records,
    *,
    done: ItemDecision | None = None,
    fault: str = "",
    scope: str | None = None,
) -> WaitingPage:
    """What waits in the workspace, of every scope or of one."""
    items = waiting(records, scope=None)
    return WaitingPage(
        items=tuple(
            _shown(records, item) for item in items if scope is None or item.scope == scope
        ),
        scope=scope,
        scopes=tuple(sorted({item.scope for item in items})),
        by=_who(),
        done=done,
        fault=fault,
    )


def number(records: Records) -> int:
    """How much waits."""
    return len(waiting(records, scope=None))


def _shown(records: Records, item: WaitingItem) -> WaitingShown:
    is_skill = item.kind == "skill"
    found: Skill | Insight = (
        records.items.skill(item.id).item if is_skill else records.items.insight(item.id).item
    )
    evidence = dict(records.items.history(item.id)[-1].evidence)
    gates = evidence.pop("gates", None)
    evidence.pop("waits", None)
    measured: SkillEffect = measured_effect(records, found, scope=Scope.parse(item.scope))
    return WaitingShown(
        item=item,
        signature=found.signature if isinstance(found, Skill) else found.id,
        source=found.source if isinstance(found, Skill) else "",
        effect_source=found.effect_source if isinstance(found, Skill) else "",
        gates=_gates(gates),
        evidence=pretty(evidence),
        effect=difference_figure(measured.success),
        replaces=tuple(_name(records, each) for each in item.supersedes),
        source_attempts=found.source_attempts if isinstance(found, Skill) else (),
        source_tasks=len(found.source_tasks),
    )


def _gates(said: JsonValue) -> tuple[GateShown, ...]:
    found: list[GateShown] = []
    for each in said if isinstance(said, list) else []:
        if not isinstance(each, dict):
            continue
        rest = {key: value for key, value in each.items() if key not in SAID}
        found.append(
            GateShown(
                name=str(each.get("gate", "")),
                passed=each.get("passed") is not False,
                reason=str(each.get("reason") or ""),
                evidence=pretty(rest),
            )
        )
    return tuple(found)


def _name(records: Records, item_id: str) -> str:
    try:
        skill = records.items.skill(item_id).item
        return f"{skill.name}, version {skill.version}"
    except UnknownNameError:
        return item_id


def _who() -> str:
    """The name of whoever started the page; a container may know none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
