"""A courier whose interface is slow at first, or not there at all; registered as a plugin."""

from __future__ import annotations

from pathlib import Path

from agentlab.envs.courier.environment import Courier
from agentlab.errors import EnvironmentFaultError
from agentlab.types import Observation, StepResult, Task, ToolCall

SLOW = (2, 4)
"""Which calls of a process time out."""


def register(place: Path) -> None:
    """Write an installed distribution's entry point into a directory, to put on the path."""
    info = place / "shaky_courier-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shaky-courier\nVersion: 1.0\n")
    lines = ["[agentlab]", f"environment/shaky = {__name__}:Shaky", ""]
    (info / "entry_points.txt").write_text("\n".join(lines))


class Shaky(Courier):
    """The courier, with a second and a fourth call that time out, or gone."""

    def __init__(self, *, interface: str = "a", gone: bool = False) -> None:
        super().__init__(interface=interface)
        self._gone = gone
        self._calls = 0

    async def reset(self, task: Task, seed: int) -> Observation:
        """Nobody answers where it is gone."""
        if self._gone:
            raise EnvironmentFaultError("shaky: nobody answers there.")
        return await super().reset(task, seed)

    async def step(self, call: ToolCall) -> StepResult:
        """As the courier, but for what times out."""
        self._calls += 1
        if self._calls in SLOW:
            shown = (await super().step(ToolCall(tool="nothing"))).observation
            return StepResult(observation=shown, error="timed out: it was not ready", steps=0)
        return await super().step(call)
