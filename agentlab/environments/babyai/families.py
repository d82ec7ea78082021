"""The tasks that BabyAI brings: families of missions, each in start states that suit it.

What is practised has one or two clauses. What is held out has three or four, or two where
practice never moved anything across rooms; one held-out family, putting two things down, is a
known shape on seeds never seen. A description names a thing of the start state at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.environments.babyai.composed import Setup
from agentlab.environments.babyai.goal import Verb, describe
from agentlab.environments.babyai.grammar import BabyAIGrammar, level_task
from agentlab.environments.babyai.layout import LOCKED, Layout
from agentlab.environments.babyai.levels import composed_layout
from agentlab.environments.babyai.splits import SPLIT_RULE
from agentlab.errors import InvalidTaskError
from agentlab.types import (
    Clause,
    JsonObject,
    Mission,
    Split,
    Task,
    derive_seed,
)

_VERBS: tuple[Verb, ...] = ("go_to", "open", "pick_up", "put_next")
_DRAWS = 60
"""Missions drawn in one start state before another is tried."""


class Family(NamedTuple):
    """Missions of one kind."""

    name: str
    setups: tuple[Setup, ...]
    sizes: tuple[tuple[int, ...], ...]
    """Clauses in each group; one of these is drawn."""
    verbs: tuple[Verb, ...] = _VERBS


PRACTISED: tuple[Family, ...] = (
    Family("room, 1 clause", ("room",), ((1,),)),
    Family("doors, 1 clause", ("doors",), ((1,),)),
    Family("locked, 1 clause", ("locked",), ((1,),)),
    Family("room, 2 clauses", ("room",), ((2,), (1, 1))),
    Family("doors, 2 clauses", ("doors",), ((2,), (1, 1))),
    Family("locked, 2 clauses", ("locked",), ((2,), (1, 1))),
)

OPEN_AND_PICK_UP = Family(
    "open and pick_up", ("doors", "locked"), ((2,), (1, 1)), ("open", "pick_up")
)
"""The shape that is kept for `dev`, and two of its verbs twice."""

HELDOUT: tuple[Family, ...] = (
    Family("3 clauses", ("doors", "room"), ((2, 1), (1, 2))),
    Family("4 clauses", ("doors", "room"), ((2, 2),)),
    Family("2 x put_next", ("room",), ((2,), (1, 1)), ("put_next",)),
    Family("3 x put_next", ("room",), ((2, 1), (1, 2)), ("put_next",)),
    Family("locked, 3 clauses", ("locked",), ((2, 1), (1, 2))),
    Family("across", ("across",), ((2,), (1, 1)), ("put_next",)),
)

FAMILIES: dict[Split, tuple[Family, ...]] = {
    "practice": PRACTISED,
    "dev": (*PRACTISED, OPEN_AND_PICK_UP),
    "heldout": HELDOUT,
}


def layout_seeds(split: Split, seed: int) -> Iterator[int]:
    """Layout seeds of a split, without end; another `seed` starts at another place."""
    base = derive_seed("babyai", split, seed) % 10**9
    candidate = base - base % SPLIT_RULE.modulus
    while True:
        if SPLIT_RULE.split_of_seed(candidate) == split:
            yield candidate
        candidate += 1


def composed_tasks(split: Split, count: int, seed: int) -> list[Task]:
    """`count` distinct tasks of the split's families, one family after the other in turn."""
    families = FAMILIES[split]
    seeds = layout_seeds(split, seed)
    tasks: list[Task] = []
    while len(tasks) < count:
        turn, index = divmod(len(tasks), len(families))
        family = families[index]
        setup = family.setups[turn % len(family.setups)]
        task = draw_task(family, setup, next(seeds))
        if task is not None and not (split == "practice" and _kept(task)):
            tasks.append(task.model_copy(update={"split": split}))
    return tasks


def _kept(task: Task) -> bool:
    return SPLIT_RULE.reserved_template(task.template)


def level_tasks(level: str, split: Split, count: int, seed: int) -> list[Task]:
    """`count` tasks of one of BabyAI's own levels.

    Raises:
        InvalidTaskError: practice was asked of a level whose missions are all kept for
            evaluation.
    """
    tasks: list[Task] = []
    for tried, layout_seed in enumerate(layout_seeds(split, seed)):
        if len(tasks) >= count:
            break
        task = level_task(level, layout_seed)
        if task.split == split:
            update = {"parameters": {"family": level}}
            tasks.append(task.model_copy(update=update))
        elif tried > _DRAWS * (len(tasks) + 1):
            raise InvalidTaskError(
                f"The missions of level {level!r} are kept for evaluation ({task.template!r}); "
                "choose another level, or the split 'heldout'."
            )
    return tasks


def draw_task(family: Family, setup: Setup, seed: int) -> Task | None:
    """A task of a family in one start state, or None where its missions do not fit."""
    random = Random(derive_seed("babyai", "mission", family.name, setup, seed))
    grammar = BabyAIGrammar()
    layout = composed_layout(setup, seed)
    for _ in range(_DRAWS):
        mission = _mission(family, layout, random)
        if not _belongs(mission, setup, layout):
            continue
        try:
            task = grammar.compose(mission, setup, seed)
        except InvalidTaskError:
            continue
        return task.model_copy(update={"parameters": {"family": family.name}})
    return None


def _mission(family: Family, layout: Layout, random: Random) -> Mission:
    verbs: list[Verb] = [verb for verb in family.verbs if verb != "open" or layout.doors]
    sizes = random.choice(family.sizes)
    return Mission(
        groups=tuple(
            tuple(_clause(random.choice(verbs), layout, random) for _ in range(size))
            for size in sizes
        )
    )


def _clause(verb: Verb, layout: Layout, random: Random) -> Clause:
    things = range(len(layout.things))
    doors = layout.doors
    movable = [thing for thing in things if thing not in doors]
    if verb == "open":
        return Clause(
            predicate=verb, arguments={"x": _description(random.choice(doors), layout, random)}
        )
    x = random.choice(list(things) if verb == "go_to" else movable)
    arguments: JsonObject = {"x": _description(x, layout, random)}
    if verb == "put_next":
        y = random.choice([thing for thing in movable if thing != x])
        arguments["y"] = _description(y, layout, random)
    return Clause(predicate=verb, arguments=arguments)


def _description(thing: int, layout: Layout, random: Random) -> JsonObject:
    """Mostly colour and kind, sometimes less, sometimes where it lies."""
    color, kind = layout.things[thing].color, layout.things[thing].kind
    places = layout.locations[thing]
    form = random.random()
    if form < 0.1 and places:
        return {"kind": kind, "location": random.choice(places)}
    if form < 0.2 and kind != "door":
        return {"kind": kind}
    if form < 0.25 and color != "grey":
        return {"color": color}
    return {"color": color, "kind": kind}


def _belongs(mission: Mission, setup: Setup, layout: Layout) -> bool:
    """Whether a mission needs what its setup is for: the locked door, or the other room."""
    if setup == "locked":
        return any(_behind_lock(clause, layout) for clause in mission.clauses)
    if setup == "across":
        return all(_between_rooms(clause, layout) for clause in mission.clauses)
    return True


def _cells(description: JsonValue, layout: Layout) -> list[int]:
    meant = layout.matches(describe(description, where="a drawn clause"))
    return [layout.things[thing].cell for thing in meant]


def _behind_lock(clause: Clause, layout: Layout) -> bool:
    here = layout.room(layout.agent)
    locked = {
        layout.things[door].cell for door in layout.doors if layout.things[door].state == LOCKED
    }
    for description in clause.arguments.values():
        cells = _cells(description, layout)
        if not cells:
            return False
        if clause.predicate == "open" and locked.issuperset(cells):
            return True
        if all(layout.room(cell) != here and cell not in locked for cell in cells):
            return True
    return False


def _between_rooms(clause: Clause, layout: Layout) -> bool:
    moved = {layout.room(cell) for cell in _cells(clause.arguments.get("x"), layout)}
    fixed = {layout.room(cell) for cell in _cells(clause.arguments.get("y"), layout)}
    return len(moved) == 1 and len(fixed) == 1 and moved != fixed


def families_of(split: Split) -> Sequence[str]:
    """Names of the families of a split."""
    return tuple(family.name for family in FAMILIES[split])
