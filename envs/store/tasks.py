"""The shop's own tasks: instruction, start state, verifier, solution, and what must not pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from agentlab.envs.store.grammar import ENVIRONMENT, SPLIT_RULE, StoreGrammar
from agentlab.envs.store.guide import Guide
from agentlab.envs.store.labels import Skin
from agentlab.envs.store.oracle import solve
from agentlab.envs.store.picks import Picks
from agentlab.envs.store.recipes import RECIPES, Drawn, Recipe
from agentlab.envs.store.verifying import verifier_of
from agentlab.envs.store.world import make_world
from agentlab.errors import InvalidTaskError
from agentlab.types import (
    Frozen,
    JsonObject,
    Mission,
    Split,
    SplitRule,
    Task,
    ToolCall,
    derive_seed,
    task_id,
)

SEEDS = 400
"""Worlds of each split that tasks are drawn from before they repeat."""


class StoreTask(Frozen):
    """A task with what its tests need beside it."""

    task: Task
    level: int
    """1 to 5."""
    answer: str | None = None
    """What the solution says in the end, where the task is a question."""
    wrong: str | None = None
    """An answer that must not pass."""


def make_task(
    recipe: Recipe, seed: int, skin: Skin = "a", environment: str = ENVIRONMENT
) -> StoreTask:
    """The task that a recipe gives in the world of a seed, solved in a skin."""
    picks = Picks(make_world(seed), random.Random(derive_seed("store task", recipe[:3], seed)))
    drawn = recipe.draw(picks)
    values: JsonObject = {"setup": recipe.setup}
    if drawn.instruction is None:
        mission = Mission(groups=(drawn.clauses,))
        task = StoreGrammar(environment).compose(mission, recipe.setup, seed)
    else:
        template = f"{recipe.setup}: {recipe.name}"
        task = Task(
            id=task_id(environment, drawn.instruction, values, seed),
            environment=environment,
            instruction=drawn.instruction,
            setup=values,
            seed=seed,
            template=template,
            split=SPLIT_RULE.split_of(seed, template),
            verifier=verifier_of(drawn.clauses),
        )
    solution = _solution(drawn, recipe, seed, skin)
    spoilt = (*drawn.clauses[:-1], picks.spoilt(drawn.clauses[-1]))
    failing = (solution[:-1], solve(spoilt, recipe.setup, seed, skin))
    more: JsonObject = {"level": recipe.level}
    return StoreTask(
        task=task.model_copy(update={"solution": solution, "failing": failing, "parameters": more}),
        level=recipe.level,
        answer=drawn.answer,
        wrong=drawn.wrong,
    )


def _solution(drawn: Drawn, recipe: Recipe, seed: int, skin: Skin) -> tuple[ToolCall, ...]:
    if drawn.walk is None:
        return solve(drawn.clauses, recipe.setup, seed, skin)
    guide = Guide(make_world(seed), skin)
    drawn.walk(guide)
    return tuple(guide.calls)


def seeds_of(split: Split, seed: int = 0) -> Iterator[int]:
    """Seeds of a split, in an order that `seed` shifts."""
    first = derive_seed("store seeds", seed) % SEEDS if seed else 0
    return (each for each in count(first * 10) if SPLIT_RULE.split_of_seed(each) == split)


def recipes_of(split: Split) -> list[Recipe]:
    """What a split asks: what is kept for it, then what is practised, in worlds of its own."""
    kept = [(r, SPLIT_RULE.split_of_template(f"{r.setup}: {r.name}")) for r in RECIPES]
    own = [recipe for recipe, of in kept if of == split]
    return own + [recipe for recipe, of in kept if of == "practice" and split != "practice"]


def store_tasks(
    split: Split,
    number: int,
    *,
    seed: int = 0,
    skin: Skin = "a",
    environment: str = ENVIRONMENT,
    among: Callable[[Recipe], bool] = lambda _: True,
) -> list[StoreTask]:
    """So many distinct tasks of a split, the same for the same seed; of some recipes, if wanted.

    Raises:
        InvalidTaskError: the split has no such recipe.
    """
    found: dict[str, StoreTask] = {}
    recipes = [recipe for recipe in recipes_of(split) if among(recipe)]
    if not recipes:
        raise InvalidTaskError(f"The shop has no task of that kind for {split}.")
    for turn, world in enumerate(seeds_of(split, seed)):
        # A world for each recipe in turn, so that few tasks already cover all recipes.
        made = make_task(recipes[turn % len(recipes)], world, skin, environment)
        found.setdefault(made.task.id, made)
        if len(found) >= number:
            break
    return list(found.values())


class StoreTasks:
    """Implements `protocols.HasTasks`, `HasGrammar` and `HasOracle` for one skin of the shop.

    Pure: an environment that drives a browser through the shop hands its calls on to it.

    Args:
        skin: in whose words solutions are.
        environment: the name that tasks are made for.
    """

    split_rule: SplitRule = SPLIT_RULE

    def __init__(self, skin: Skin = "a", environment: str = ENVIRONMENT) -> None:
        self._skin: Skin = skin
        self._environment = environment

    def tasks(
        self,
        split: Split,
        count: int,
        seed: int,
        *,
        among: Callable[[Recipe], bool] = lambda _: True,
    ) -> Sequence[Task]:
        """`count` distinct tasks of the split, the same for the same seed. See `store_tasks`."""
        made = store_tasks(
            split, count, seed=seed, skin=self._skin, environment=self._environment, among=among
        )
        return [each.task for each in made]

    def grammar(self) -> StoreGrammar:
        """What can be asked for."""
        return StoreGrammar(self._environment)

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        """Calls that solve the task from its start, or None where it is not the shop's."""
        setup = str(task.setup.get("setup"))
        if task.mission is not None:
            return solve(task.mission.clauses, setup, task.seed, self._skin)
        for recipe in RECIPES:
            if task.template == f"{recipe.setup}: {recipe.name}":
                made = make_task(recipe, task.seed, self._skin, self._environment).task
                return made.solution if made.id == task.id else None
        return None
