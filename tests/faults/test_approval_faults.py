"""Kill -9 around the human gate: the run waits on, and ends as one that was left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import agentlab
from agentlab.library.approval import decide
from agentlab.library.waiting import waiting
from agentlab.records import Records, Workspace
from agentlab.types import JsonObject
from agentlab.types.report import WAITS
from tests.faults.run_process import Child, run_id_of

GATED: JsonObject = {
    "environment": "courier",
    "seed": 5,
    "rounds": 1,
    "attempts": 16,
    "proposals": 16,
    "tool_calls": 60,
    "heldout": 0,
    "index": "exact",
    "admission.enabled": False,
    "admission.approval": "human",
    "admission.wait": True,
}


def go_on(workspace: Path) -> Child:
    return Child.start(workspace, run=run_id_of(workspace), config=GATED)


def decide_all(workspace: Path, *, backwards: bool) -> int:
    """The same decisions each time, in either order, the last of them twice; how many."""
    with Records.open(Workspace.open(workspace)) as records:
        held = waiting(records)
        for line in reversed(held) if backwards else held:
            for _ in range(1 + (line is held[-1])):
                verdict = "approve" if line.name == "holding" else "reject"
                decide(records, line.id, verdict, digest=line.digest, reason=verdict, by="ada")
        return len(held)


def left_behind(workspace: Path) -> list[Any]:
    run_id = run_id_of(workspace)
    assert run_id is not None
    with Records.open(Workspace.open(workspace)) as records:
        life = {
            row.item.name: [(m.after, m.reason) for m in records.items.history(row.item.id)]
            for row in records.items.skills()
        }
        return [event.comparable() for event in records.events.all(run_id)] + [life]


def test_a_run_that_waits_is_killed_and_ends_the_same(tmp_path: Path) -> None:
    alone, place = tmp_path / "alone", tmp_path / "killed"
    values: dict[str, Any] = dict(GATED)
    report = agentlab.practice(workspace=alone, **values)
    assert report.reason == WAITS
    assert decide_all(alone, backwards=False) > 1
    assert agentlab.resume(report.run_id, workspace=alone).status == "finished"

    child = go_on(place)
    assert child.wait_for("SkillMoved")  # between what came to wait and the pause for it
    child.kill(group=True)
    assert agentlab.resume(report.run_id, workspace=place).reason == WAITS
    assert decide_all(place, backwards=True) > 1
    child = go_on(place)
    assert child.wait_for("RoundFinished")  # past the gate
    child.kill(group=True)
    assert agentlab.resume(report.run_id, workspace=place).status == "finished"
    assert left_behind(place) == left_behind(alone)
