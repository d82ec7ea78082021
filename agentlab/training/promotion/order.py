"""Which dev tasks a gate reads, and in which order: fixed before the first one is attempted.

Tasks are unseen in structure and not only in seed: their template is reserved by the environment's
rule, or was never practised in this workspace. Their order follows from the seed and the tasks'
ids. Nothing here knows what either side can do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from agentlab.errors import UsageError
from agentlab.types import SplitRule, Task, derive_uniform, digest

Draw = Callable[[int], Sequence[Task]]
"""So many dev tasks, the same ones first whenever asked."""
FACTORS = (1, 3, 10)
"""Tasks that are drawn for each that is wanted, until enough of them are unseen in structure."""
LEAST = 20
"""Tasks without which a gate could not decide anything."""


class Order(NamedTuple):
    """The tasks of a gate in their order."""

    tasks: tuple[Task, ...]
    reserved: int
    """Of them, those of a template that the environment's rule keeps for dev."""

    @property
    def sha256(self) -> str:
        """What is on record before the first task: names these tasks in this order."""
        return digest("order", [task.id for task in self.tasks])


def fix_order(
    draw: Draw,
    rule: SplitRule,
    *,
    count: int,
    seed: int,
    practised: Collection[str],
    unseen: bool,
    without: Collection[str] = (),
) -> Order:
    """The order of a gate.

    Args:
        draw: dev tasks of the environment.
        rule: what it reserves.
        count: tasks that are wanted.
        seed: of the order.
        practised: templates that were practised in this workspace.
        unseen: whether a template must be reserved or never practised.
        without: ids of tasks on which these weights were seen already.

    Raises:
        UsageError: there are too few such tasks.
    """
    fitting: list[Task] = []
    for factor in FACTORS:
        # A task that comes twice would be one pair that counts as two.
        drawn = {task.id: task for task in draw(count * factor) if task.split == "dev"}
        fitting = [
            task
            for task in drawn.values()
            if task.id not in without
            and (not unseen or _reserved(rule, task) or task.template not in practised)
        ]
        if len(fitting) >= count:
            break
    if len(fitting) < min(count, LEAST):
        kind = " whose template is reserved or was never practised" if unseen else ""
        raise UsageError(
            f"The environment gives {len(fitting)} fresh dev tasks{kind}, and a gate needs at "
            f"least {min(count, LEAST)}; reserve templates for dev in its split rule, choose "
            "another 'gate.seed', or set 'gate.unseen' to 'seed', which the verdict then says."
        )
    ordered = sorted(fitting[:count], key=lambda task: derive_uniform("gate", seed, task.id))
    return Order(tuple(ordered), sum(_reserved(rule, task) for task in ordered))


def family(draw: Draw, text: str, *, count: int, without: Collection[str]) -> tuple[Task, ...]:
    """Dev tasks whose template holds a text, for a protected template.

    Raises:
        UsageError: there are too few of them.
    """
    found: list[Task] = []
    for factor in (4, 16, 64):
        drawn = {task.id: task for task in draw(count * factor) if task.split == "dev"}
        found = [
            task for task in drawn.values() if text in task.template and task.id not in without
        ]
        if len(found) >= count:
            return tuple(found[:count])
    raise UsageError(
        f"Only {len(found)} dev tasks have a template that holds {text!r}, which is protected, and "
        f"{count} are wanted; name another text, or set 'gate.protected_tasks' lower."
    )


def _reserved(rule: SplitRule, task: Task) -> bool:
    return rule.split_of_template(task.template) == "dev"
