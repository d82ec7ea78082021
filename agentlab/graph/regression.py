"""Whether a candidate spoils what its callees do: their solved tasks, searched again.

A skill that calls others is offered where they were, and may lead a search away from what they
would have done. Every such search is a shadow attempt on record.
"""

from __future__ import annotations

from agentlab.graph.trials import AdmissionRound, Case, affordable, search, tried_calls
from agentlab.library.admission import Regression
from agentlab.library.skills import closure, origins
from agentlab.types import Skill, Task, derive_seed

TASKS = 4
"""Tasks that are searched again for one candidate."""


async def regressions_of(current: AdmissionRound, case: Case) -> list[Regression]:
    """Search the tasks of a candidate's callees with it, and, where that fails, without."""
    tasks = _tasks(current, case.skill)[: affordable(current)]
    if not tasks:
        return []
    steps = None
    if current.steps_left is not None:
        steps = current.steps_left // (2 * len(tasks))
    found: list[Regression] = []
    for task, outcome in zip(tasks, await search(current, tasks, case.skill, steps), strict=True):
        if outcome.success is None:
            continue
        if outcome.success:
            found.append(Regression(task.id, solved_with=True))
            continue
        (bare,) = await search(current, [task], None, steps)
        found.append(Regression(task.id, False, bare.success, bare.usage.tool_calls))
    return found


def _tasks(current: AdmissionRound, skill: Skill) -> list[Task]:
    """Tasks solved well within the budget with one of its callees, unseen ones first.

    Tasks that the candidate itself was derived from may be among them: these searches count
    nowhere, and its callees were not derived from what they were offered for.
    """
    practice = current.practice
    called = {each.id: each for each in closure([skill], current.served)[1:]}
    if not called:
        return []
    below = {task for each in called.values() for task in origins(each, current.served)}
    within = practice.config.admission.trial_tool_calls / 2
    solved = {
        row.task_id
        for row in practice.records.attempts.all(practice.run_id, kind="practice")
        if row.success and row.tool_calls <= within and called.keys() & set(row.skills_used)
    }
    tasks = [
        task
        for task in practice.records.tasks.all(practice.run_id)
        if task.id in solved and task.id not in below and tried_calls(current)[task.id] > 2
    ]
    seed = practice.config.seed
    tasks.sort(
        key=lambda task: (
            task.id in skill.source_tasks,
            derive_seed(seed, "regression", task.id),
        )
    )
    return tasks[:TASKS]
