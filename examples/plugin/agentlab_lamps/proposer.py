"""A proposer: makes tasks. Whether they are admitted is not its choice."""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.protocols import HasOracle, HasTasks, ProposalContext
from agentlab.types import Task


class LampProposer:
    """Tasks of the environment's own, each with a solution and two ways to miss it.

    agentlab admits a task only if its solution passes twice from a fresh start and every failing
    case fails.
    """

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        """At most `context.count` tasks, other ones in each round."""
        environment = context.environment()
        assert isinstance(environment, HasTasks) and isinstance(environment, HasOracle)
        made: list[Task] = []
        for task in environment.tasks("practice", context.count, context.seed + context.round):
            solution = tuple(await environment.oracle(task) or ())
            missed = (solution[:-1], solution[:1])
            update = {"solution": solution, "failing": missed, "source": "lamps"}
            made.append(task.model_copy(update=update))
        await environment.close()
        return made
