"""The ceiling: carries out the solution that the environment itself knows."""

from __future__ import annotations

from agentlab.errors import UsageError
from agentlab.executors.recorder import Recorder
from agentlab.executors.searcher import Meter, PlannedMove
from agentlab.protocols import Execution, ExecutionContext, HasOracle


class OracleExecutor:
    """Follows `Environment.oracle`; a task that it cannot solve is a failed attempt."""

    cpu_bound = True

    async def execute(self, context: ExecutionContext) -> Execution:
        """Try the task. See `protocols.Executor`.

        Raises:
            UsageError: the environment has no oracle.
        """
        spec, environment = context.spec, context.environment
        if not isinstance(environment, HasOracle):
            raise UsageError(
                f"The environment {spec.environment.name!r} has no oracle; use another executor."
            )
        calls = await environment.oracle(spec.task)
        observation = await environment.reset(spec.task, spec.seed)
        meter = Meter(spec.limits)
        recorder = Recorder(environment, observation)
        await recorder.start()
        await recorder.follow([PlannedMove((call,)) for call in calls or ()])
        trajectory = recorder.trajectory()
        for step in trajectory.steps:
            meter.charge(step.result)
        if trajectory.steps and trajectory.steps[-1].result.succeeded:
            meter.reached()
        return Execution(trajectory, meter.usage(), meter.first_success)
