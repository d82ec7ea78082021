"""A courier whose world breaks at some tasks, on everyone alike; registered as a plugin."""

from __future__ import annotations

from pathlib import Path

from agentlab.envs.courier.environment import Courier
from agentlab.errors import EnvironmentFaultError
from agentlab.types import Observation, Task, derive_uniform


def register(place: Path) -> None:
    """Write an installed distribution's entry point into a directory, to put on the path."""
    info = place / "fragile_courier-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile-courier\nVersion: 1.0\n")
    lines = ["[agentlab]", f"environment/fragile = {__name__}:Fragile", ""]
    (info / "entry_points.txt").write_text("\n".join(lines))


class Fragile(Courier):
    """The courier, which breaks at a share of the tasks."""

    def __init__(self, *, broken: float = 0.0) -> None:
        super().__init__()
        self._broken = broken

    async def reset(self, task: Task, seed: int) -> Observation:
        """Breaks or does not, always alike for one task."""
        if derive_uniform("broken", task.id) < self._broken:
            raise EnvironmentFaultError("fragile: the world broke.")
        return await super().reset(task, seed)
