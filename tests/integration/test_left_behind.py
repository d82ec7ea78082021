"""Candidates of a run that ended before it judged them are judged by the next run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import agentlab
from agentlab.records import Records, Workspace


def test_the_next_run_judges_what_was_left_behind(tmp_path: Path) -> None:
    options: dict[str, Any] = {"rounds": 1, "attempts": 20, "proposals": 20}
    options |= {"heldout": 0, "tool_calls": 200}
    capped: dict[str, Any] = {**options, "budget.attempts": 20}
    first = agentlab.practice("courier", workspace=tmp_path, seed=3, **capped)
    with Records.open(Workspace.open(tmp_path)) as records:
        waiting = {row.item.id for row in records.items.skills(status="candidate")}
    assert waiting, "the budget was gone before anything could be tried"
    assert first.skills.admitted == 0
    agentlab.practice("courier", workspace=tmp_path, seed=4, **options)
    with Records.open(Workspace.open(tmp_path)) as records:
        still = {row.item.id for row in records.items.skills(status="candidate")}
    assert not waiting & still
