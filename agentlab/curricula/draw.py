"""From probabilities to choices that can be replayed.

Each draw is a function of the parts that identify it (seed, round, slot), so a run that is
killed and resumed chooses the same, and each choice carries the probability it had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.errors import UsageError
from agentlab.types import derive_uniform


class Choice(NamedTuple):
    """One draw among alternatives."""

    slot: int
    position: int
    """Which alternative, from 0."""
    probability: float
    """Of this alternative, at this draw."""
    uniform: float
    """The number in [0, 1) that decided."""


class Pool(NamedTuple):
    """The tasks of one template, in a fixed order."""

    template: str
    task_ids: tuple[str, ...]


class TaskChoice(NamedTuple):
    """The task for one slot, and how likely it was there."""

    slot: int
    template: str
    task_id: str
    template_probability: float
    """After templates without tasks were left out."""
    task_probability: float
    """Of this task within its template."""


def draw(
    probabilities: Sequence[float], count: int, *, seed: int, round_: int
) -> tuple[Choice, ...]:
    """`count` draws with replacement, one for each slot from 0.

    Raises:
        UsageError: `probabilities` is empty, holds a negative number, or does not sum to 1
            within 1e-9.
    """
    _check(probabilities)
    return tuple(
        Choice(slot, *_pick(probabilities, derive_uniform("select", seed, round_, slot)))
        for slot in range(count)
    )


def draw_tasks(
    pools: Sequence[Pool],
    probabilities: Sequence[float],
    count: int,
    *,
    seed: int,
    round_: int,
) -> tuple[TaskChoice, ...]:
    """`count` tasks: for each slot a template by its probability, then one of its tasks evenly.

    No task is drawn twice before every task was drawn once: a template whose tasks are used up
    is left out and the probabilities of the others are scaled to sum to 1 (evenly, where none
    of them has any). When all are used up, all are available again.

    Args:
        pools: One for each template; may be empty of tasks.
        probabilities: One for each pool, as a curriculum gives them.
        count: How many slots are to be filled.
        seed: Of the run.
        round_: Of the round.

    Returns:
        Exactly `count` choices in slot order; none where no pool has a task.

    Raises:
        UsageError: as `draw`, or the numbers of pools and probabilities differ.
    """
    _check(probabilities)
    if len(pools) != len(probabilities):
        raise UsageError(
            f"Each pool needs one probability: {len(pools)} pools, {len(probabilities)} given."
        )
    left: list[list[str]] = [list(pool.task_ids) for pool in pools]
    if not any(left):
        return ()
    choices: list[TaskChoice] = []
    for slot in range(count):
        if not any(left):
            left = [list(pool.task_ids) for pool in pools]
        scaled = _scale(probabilities, [bool(tasks) for tasks in left])
        template = _pick(scaled, derive_uniform("select", seed, round_, slot))
        tasks = left[template.position]
        share = 1 / len(tasks)
        task = _pick([share] * len(tasks), derive_uniform("select task", seed, round_, slot))
        choices.append(
            TaskChoice(
                slot,
                pools[template.position].template,
                tasks.pop(task.position),
                template.probability,
                share,
            )
        )
    return tuple(choices)


class _Pick(NamedTuple):
    position: int
    probability: float
    uniform: float


def _pick(probabilities: Sequence[float], uniform: float) -> _Pick:
    reached = 0.0
    last = 0
    for index, probability in enumerate(probabilities):
        if probability <= 0:
            continue
        last = index
        reached += probability
        if uniform < reached:
            break
    # Where rounding leaves the sum below the draw, the last possible alternative takes it.
    return _Pick(last, probabilities[last], uniform)


def _scale(probabilities: Sequence[float], available: Sequence[bool]) -> list[float]:
    kept = [p if here else 0.0 for p, here in zip(probabilities, available, strict=True)]
    whole = math.fsum(kept)
    if whole <= 0:
        return [1 / sum(available) if here else 0.0 for here in available]
    return [p / whole for p in kept]


def _check(probabilities: Sequence[float]) -> None:
    if any(not 0 <= p <= 1 for p in probabilities) or abs(math.fsum(probabilities) - 1) > 1e-9:
        raise UsageError(
            f"Probabilities must lie in [0, 1] and sum to 1, unlike {list(probabilities)!r}."
        )
