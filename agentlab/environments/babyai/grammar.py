"""Missions in BabyAI's words: composing tasks, reading instructions, naming achievements.

Pure: no episode is needed. A mission is refused here, with the reason, where minigrid would
have rejected the sample, so that a start state never depends on what is asked in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from agentlab.environments.babyai.composed import SETUPS, Setup
from agentlab.environments.babyai.facts import achieved
from agentlab.environments.babyai.goal import (
    NO_GOAL,
    PARAMETERS,
    Action,
    Description,
    actions,
    goal_of,
    mission_of,
)
from agentlab.environments.babyai.language import read, write
from agentlab.environments.babyai.layout import LOCKED, OPEN, Layout
from agentlab.environments.babyai.levels import composed_layout, level_ids, named_start
from agentlab.environments.babyai.splits import SPLIT_RULE, template_of
from agentlab.errors import InvalidTaskError
from agentlab.types import (
    Clause,
    ClauseTemplate,
    GrammarSpec,
    JsonObject,
    Mission,
    Split,
    Task,
    derive_uniform,
    task_id,
)

ENVIRONMENT = "babyai"

_DESCRIPTORS = ("color", "kind", "location")
SPEC = GrammarSpec(
    templates=tuple(
        ClauseTemplate(
            predicate=verb,
            parameters={name: {"kind": "door"} if verb == "open" else {} for name in names},
            descriptors=_DESCRIPTORS,
        )
        for verb, names in PARAMETERS.items()
    ),
    setups=SETUPS,
    max_groups=2,
    max_group_size=2,
)


class BabyAIGrammar:
    """The grammar of composed BabyAI tasks.

    Args:
        level: compose in the start states of this level of BabyAI's own, by its short name,
            instead of the composed ones.
    """

    def __init__(self, level: str | None = None) -> None:
        self._level = level
        self._spec = SPEC if level is None else SPEC.model_copy(update={"setups": (level,)})

    @property
    def spec(self) -> GrammarSpec:
        """Four predicates over described things; up to two groups of up to two clauses."""
        return self._spec

    def compose(self, mission: Mission | None, setup: str, seed: int) -> Task:
        """A task that states the mission in the start state of `setup` and `seed`.

        Raises:
            InvalidTaskError: the mission cannot be stated there; the text says why.
        """
        if setup not in self._spec.setups:
            raise InvalidTaskError(
                f"There is no setup {setup!r} in BabyAI; use one of {', '.join(self._spec.setups)}."
            )
        if seed < 0:
            raise InvalidTaskError(f"A layout seed cannot be negative: {seed}.")
        if self._level is not None:
            own = level_task(self._level, seed)
            if own.mission == mission:
                return own
            layout = named_start(self._level, seed).layout
            stated: JsonObject = {"level": level_ids()[self._level]}
        else:
            layout = composed_layout(cast("Setup", setup), seed)
            stated = {"setup": setup}
        instruction = NO_GOAL if mission is None else _state(mission, layout, setup, seed)
        stated["mission"] = None if mission is None else instruction
        return _task(instruction, stated, seed, mission, setup)

    def parse(self, instruction: str) -> Mission:
        """The clauses of an instruction, in the order in which they are to be met.

        Raises:
            InvalidTaskError: the instruction is not BabyAI's English.
        """
        return mission_of(read(instruction))

    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        """The clauses, described by colour and kind, that hold after and did not before."""
        return achieved(before, after)


def level_task(level: str, seed: int) -> Task:
    """The task that one of BabyAI's own levels sets for a seed."""
    instruction = named_start(level, seed).instruction
    mission = mission_of(read(instruction))
    return _task(instruction, {"level": level_ids()[level]}, seed, mission, level)


def _state(mission: Mission, layout: Layout, setup: str, seed: int) -> str:
    # Both ways of saying "first this, then that" occur; which one depends on the seed.
    goal = goal_of(mission, reverse=derive_uniform("babyai", "after", setup, seed) < 0.5)
    for action in actions(goal):
        check_action(action, layout)
    if len(set(actions(goal))) < len(mission.clauses):
        raise InvalidTaskError("The mission says the same thing twice.")
    return write(goal, layout)


def _task(
    instruction: str, stated: JsonObject, seed: int, mission: Mission | None, setup: str
) -> Task:
    template = template_of(setup, mission)
    return Task(
        id=task_id(ENVIRONMENT, instruction, stated, seed),
        environment=ENVIRONMENT,
        instruction=instruction,
        setup=stated,
        seed=seed,
        template=template,
        mission=mission,
        split=split_of(seed, template),
    )


def split_of(seed: int, template: str) -> Split:
    """The split of a composed task, by its seed and its shape."""
    return SPLIT_RULE.split_of(seed, template)


def check_action(action: Action, layout: Layout) -> None:
    """Refuse a clause that makes no sense in a start state.

    Raises:
        InvalidTaskError: it means nothing there, holds already, or cannot be done.
    """
    x = _meant(action.x, layout)
    if action.verb == "go_to":
        if layout.cells[layout.agent + layout.offsets[layout.direction]] in x:
            raise InvalidTaskError(f"The agent already faces {_words(action.x)}.")
    elif action.verb == "open":
        if any(layout.things[door].state == OPEN for door in x):
            raise InvalidTaskError(f"{_words(action.x).capitalize()} is open already.")
    else:
        _check_movable(action.x, x, layout)
        if action.y is not None:
            _check_beside(action, x, layout)


def _check_movable(description: Description, meant: tuple[int, ...], layout: Layout) -> None:
    if description.kind == "door" or all(layout.things[i].kind == "door" for i in meant):
        raise InvalidTaskError(f"A door cannot be moved, so not {_words(description)}.")


def _check_beside(action: Action, x: tuple[int, ...], layout: Layout) -> None:
    description = cast("Description", action.y)
    y = _meant(description, layout)
    if description.kind == "door" or all(layout.things[i].kind == "door" for i in y):
        raise InvalidTaskError("A thing cannot be put next to a door: it would block the way.")
    if set(x) & set(y):
        raise InvalidTaskError(
            f"{_words(action.x).capitalize()} and {_words(description)} may be the same thing."
        )
    cells = {layout.things[i].cell for i in y}
    if any(layout.things[i].cell + offset in cells for i in x for offset in layout.offsets):
        raise InvalidTaskError(
            f"{_words(action.x).capitalize()} lies next to {_words(description)} already."
        )


def _meant(description: Description, layout: Layout) -> tuple[int, ...]:
    if description.kind is None and description.color in (None, "grey"):
        raise InvalidTaskError(
            f"{_words(description).capitalize()} may mean a wall, which is grey; say its kind."
        )
    meant = layout.matches(description)
    if not meant:
        raise InvalidTaskError(f"There is no {_words(description)} in this start state.")
    locked = {
        layout.things[door].color for door in layout.doors if layout.things[door].state == LOCKED
    }
    if description.kind == "key" and description.color in locked:
        raise InvalidTaskError(
            f"The {description.color} key is needed to unlock a door, so no clause may name it."
        )
    return meant


def _words(description: Description) -> str:
    words = [description.color or "", description.kind or "object"]
    if description.location:
        words.append(f"({description.location})")
    return " ".join(word for word in words if word)
