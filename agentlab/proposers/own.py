"""Tasks that an environment brings, where its grammar can read instructions and not write them.

A site or a benchmark may come with instructions of its own, in start states of its own, and
nothing else can be asked for there. Practising then means its practice tasks, none of them twice,
drawn by the run's seed. The failing cases that admission asks for are made here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from agentlab.errors import AgentLabError, EnvironmentFaultError, InvalidTaskError, UsageError
from agentlab.protocols import Environment, Grammar, HasTasks, ProposalContext
from agentlab.types import Entity, Mission, Task, ToolCall, ToolSpec, derive_seed

FAILING = 2
"""Trajectories that must fail, which each task brings beside the empty one."""
WrongCalls = Callable[
    [Sequence[ToolSpec], Mission, Sequence[Entity], random.Random], tuple[tuple[ToolCall, ...], ...]
]


async def own_tasks(
    environment: Environment, grammar: Grammar, context: ProposalContext, wrong_calls: WrongCalls
) -> list[Task]:
    """Some of the environment's practice tasks that were not proposed before.

    Args:
        environment: brings the tasks; is reset for each, for the failing cases.
        grammar: reads its instructions.
        context: how many, and in which order.
        wrong_calls: makes failing cases from what a task's start shows.

    Returns:
        At most `context.count`; fewer when the environment has no more of them, or when too
        little is shown at the start of one to make failing cases from.

    Raises:
        UsageError: the environment brings no tasks.
        EnvironmentFaultError: it raised whenever it was reset.
    """
    if not isinstance(environment, HasTasks):
        raise UsageError(
            "The proposer 'grammar' has nothing to propose: this environment's grammar cannot "
            "compose tasks, and it brings none with tasks(); choose another proposer."
        )
    rule, fault = context.split_rule, None
    known = {past.task.id for past in context.archive}
    made: list[Task] = []
    for task in _some(environment, context.count, derive_seed(context.seed, context.round, "own")):
        if task.id in known or rule.refusal(task) is not None:
            continue
        if len(task.failing) >= FAILING:
            made.append(task.model_copy(update={"source": "own"}))
            continue
        try:
            failing = await _failing(environment, grammar, task, wrong_calls)
        except EnvironmentFaultError as error:
            fault = error
            continue
        if len(failing) >= FAILING:
            made.append(task.model_copy(update={"source": "own", "failing": failing}))
    if not made and fault is not None:
        raise fault
    return made


def _some(environment: HasTasks, count: int, seed: int) -> Sequence[Task]:
    """So many practice tasks, or half as many and so on where there are fewer."""
    while count > 1:
        try:
            return environment.tasks("practice", count, seed)
        except (InvalidTaskError, UsageError):
            count //= 2
    return environment.tasks("practice", 1, seed)


async def _failing(
    environment: Environment, grammar: Grammar, task: Task, wrong_calls: WrongCalls
) -> tuple[tuple[ToolCall, ...], ...]:
    try:
        observation = await environment.reset(task, 0)
    except AgentLabError:
        raise
    except Exception as error:  # foreign code, which may fail in any way
        raise EnvironmentFaultError(f"reset() raised {type(error).__name__}: {error}") from error
    try:
        mission = grammar.parse(task.instruction)
    except InvalidTaskError:
        # Nothing is known of what it names, so nothing is known to be wrong.
        return ()
    rng = random.Random(derive_seed(task.id, "failing"))
    return wrong_calls(environment.tools, mission, observation.entities, rng)
