"""Carries out a solution that somebody showed, so that it is on record like any attempt.

It was helped to all of it, so its success counts in no rate; what it leaves is a trajectory that
curators can learn from.
"""

from __future__ import annotations

from agentlab.errors import UsageError
from agentlab.executors.recorder import Recorder
from agentlab.executors.searcher import Meter, PlannedMove
from agentlab.protocols import Execution, ExecutionContext


class DemonstratedExecutor:
    """Follows the task's own solution, which a demonstration gave."""

    cpu_bound = True

    async def execute(self, context: ExecutionContext) -> Execution:
        """Make the calls. See `protocols.Executor`.

        Raises:
            UsageError: the task has no solution.
        """
        spec = context.spec
        if spec.task.solution is None:
            raise UsageError(
                f"The task {spec.task.id!r} has no solution to follow; use another executor."
            )
        meter = Meter(spec.limits)
        recorder = Recorder(
            context.environment, await context.environment.reset(spec.task, spec.seed)
        )
        await recorder.start()
        await recorder.follow([PlannedMove((call,)) for call in spec.task.solution])
        trajectory = recorder.trajectory()
        for step in trajectory.steps:
            meter.charge(step.result)
        return Execution(trajectory, meter.usage(), assisted=True)
