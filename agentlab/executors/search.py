"""The executor without a language model: search for a plan, then carry it out."""

from __future__ import annotations

from agentlab.errors import InvalidTaskError
from agentlab.executors.actions import ActionSpace, Costs
from agentlab.executors.planning import plan_and_act
from agentlab.executors.recorder import Recorder
from agentlab.executors.replayed import replayed
from agentlab.executors.searcher import Meter, Searcher
from agentlab.protocols import (
    Environment,
    Execution,
    ExecutionContext,
    HasGrammar,
    HasModel,
    HasSnapshots,
)
from agentlab.types import Mission, Task


def mission_of(environment: Environment, task: Task) -> Mission | None:
    """The mission that the instruction states, by the environment's grammar; None if unknown."""
    if not isinstance(environment, HasGrammar):
        return task.mission
    try:
        return environment.grammar().parse(task.instruction)
    except InvalidTaskError:
        return task.mission


class SearchExecutor:
    """Searches for a plan, then carries it out from a fresh start.

    The plan's own execution repeats calls that the search already paid for, and is not charged
    again. In an environment that shows only part of itself (`HasModel`), see `planning`; in one
    without snapshots, see `replayed`.

    Args:
        costs: the prior over classes of calls.
    """

    cpu_bound = True
    named_first = True

    def __init__(self, *, costs: Costs | None = None) -> None:
        self._costs = costs or Costs()

    async def execute(self, context: ExecutionContext) -> Execution:
        """Try the task. See `protocols.Executor`."""
        spec, environment = context.spec, context.environment
        observation = await environment.reset(spec.task, spec.seed)
        offered = {offer.item_id for offer in spec.offers if not offer.withheld}
        skills = [s for s in spec.skills if not spec.offers or s.id in offered]
        space = ActionSpace(
            environment.tools,
            mission_of(environment, spec.task),
            skills,
            costs=self._costs,
            named_first=self.named_first,
        )
        if spec.skills:
            await context.runtime.open(spec.skills, environment.tools)
        meter = Meter(spec.limits, besides=lambda: getattr(context.runtime, "cpu_seconds", 0.0))
        if isinstance(environment, HasModel):
            trajectory = await plan_and_act(environment, observation, space, context.runtime, meter)
            return Execution(trajectory, meter.usage(), meter.first_success)
        world: Environment = environment
        if not isinstance(environment, HasSnapshots):
            world = replayed(environment, spec.task, spec.seed, observation)
        plan = await Searcher(world, space, context.runtime, meter).find(observation)
        usage = meter.usage()
        observation = await environment.reset(spec.task, spec.seed)
        recorder = Recorder(environment, observation)
        await recorder.start()
        await recorder.follow(plan.moves)
        return Execution(recorder.trajectory(), usage, meter.first_success)


class FlatSearchExecutor(SearchExecutor):
    """The same search, blind to what the mission names: the weakest baseline."""

    named_first = False
