"""Whose what a run proposes is: its items have ids of the run's scope.

Curators know of no scopes; what they make is given to the scope of the run here.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.types import InsightChange, Scope, Skill, scoped_id


def in_scope(scope: Scope, skills: Sequence[Skill]) -> list[Skill]:
    """The candidates as the scope's own; those that follow one another still do."""
    ids = {skill.id: scoped_id(scope, skill.id) for skill in skills}
    return [
        skill.model_copy(
            update={"id": ids[skill.id], "parent": ids.get(skill.parent or "", skill.parent)}
        )
        for skill in skills
    ]


def changes_in_scope(scope: Scope, changes: Sequence[InsightChange]) -> list[InsightChange]:
    """The changes with new insights as the scope's own; those that are on record keep their id."""
    return [
        change.model_copy(
            update={
                "insight": change.insight.model_copy(
                    update={"id": scoped_id(scope, change.insight.id)}
                )
            }
        )
        if change.insight is not None and change.insight.id not in change.of
        else change
        for change in changes
    ]
