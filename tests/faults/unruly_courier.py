"""Couriers that would end more than their attempt, or fill the records; a plugin that leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agentlab.environments.contract import MOST_SHOWN
from agentlab.types import StepResult
from tests.faults.odd_courier import StepExits

LEAVING = "unruly_courier_leaves"


def register(place: Path) -> None:
    """Write an installed distribution's entry points, and a module, into a directory."""
    info = place / "unruly_courier-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unruly-courier\nVersion: 1.0\n")
    (place / f"{LEAVING}.py").write_text("raise SystemExit(0)\n")
    lines = [f"environment/{kind.__name__} = {__name__}:{kind.__name__}" for kind in UNRULY]
    lines.append(f"environment/Leaves = {LEAVING}:Leaves")
    (info / "entry_points.txt").write_text("\n".join(["[agentlab]", *lines, ""]))


class StepInterrupts(StepExits):
    def oddly(self, result: StepResult) -> StepResult:
        raise KeyboardInterrupt


class StepEndsItsTask(StepExits):
    def oddly(self, result: StepResult) -> StepResult:
        raise GeneratorExit


class StepCancels(StepExits):
    def oddly(self, result: StepResult) -> StepResult:
        raise asyncio.CancelledError


class ShowsTooMuch(StepExits):
    def oddly(self, result: StepResult) -> StepResult:
        seen = result.observation.model_copy(update={"text": "x" * (MOST_SHOWN + 1)})
        return result.model_copy(update={"observation": seen})


UNRULY: tuple[type[StepExits], ...] = (
    StepInterrupts,
    StepEndsItsTask,
    StepCancels,
    ShowsTooMuch,
)
