"""From what a client asks to begin with to a task: a goal, a start state, both, or neither.

A goal that the environment's grammar can state is verified by the environment. Any other
instruction is only words: the episode then has no verifier, and only effect checks tell.
"""

from __future__ import annotations

import contextlib
from typing import Any

from agentlab.environments.registration import base_name
from agentlab.errors import InvalidTaskError, UnknownNameError, UsageError
from agentlab.protocols import Environment, Grammar, HasGrammar, HasSurvey, HasTasks
from agentlab.serve.mcp.own_tools import BeginArguments
from agentlab.types import Mission, Task, task_id
from agentlab.types.task import JUDGED


def task_for(environment: Environment, name: str, asked: BeginArguments) -> Task:
    """The task that an episode begins with.

    Args:
        environment: composes it.
        name: of the environment.
        asked: by the client.

    Raises:
        UsageError: the environment cannot begin as asked; says how it can.
    """
    if isinstance(environment, HasGrammar):
        return _composed(environment.grammar(), asked)
    if asked.setup is not None:
        raise UsageError("This environment has no families of start states; leave 'setup' out.")
    if isinstance(environment, HasTasks):
        return _worded(environment.tasks("practice", 1, asked.seed)[0], asked.instruction)
    if isinstance(environment, HasSurvey):
        return _worded(environment.start(asked.seed), asked.instruction)
    bare: dict[str, Any] = {"environment": base_name(name), "setup": {}, "seed": asked.seed}
    words = asked.instruction or "Look around."
    return Task(
        **bare,
        id=task_id(bare["environment"], words, {}, asked.seed),
        instruction=words,
        template="asked",
        parameters={JUDGED: True},
        source="mcp",
    )


def _composed(grammar: Grammar, asked: BeginArguments) -> Task:
    setups = grammar.spec.setups
    if asked.setup is not None and asked.setup not in setups:
        raise UnknownNameError("start state", asked.setup, setups)
    mission: Mission | None = None
    if asked.instruction:
        with contextlib.suppress(InvalidTaskError):
            mission = grammar.parse(asked.instruction)
    why = ""
    for setup in (asked.setup,) if asked.setup is not None else setups:
        try:
            task = grammar.compose(mission, setup, asked.seed)
        except InvalidTaskError as error:
            why = why or str(error)
            continue
        return task if mission is not None else _worded(task, asked.instruction)
    raise UsageError(f"The environment cannot begin so: {why or 'it has no start states.'}")


def _worded(task: Task, instruction: str) -> Task:
    """The start of a task with another instruction, which nothing can verify."""
    if not instruction or instruction == task.instruction:
        return task
    return task.model_copy(
        update={
            "id": task_id(task.environment, instruction, task.setup, task.seed),
            "instruction": instruction,
            "mission": None,
            "solution": None,
            "failing": (),
            "parameters": {**task.parameters, JUDGED: True},
            "source": "mcp",
        }
    )
