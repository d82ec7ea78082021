"""What can be asked for in a burrow: missions, their wording, and when they are met.

Whether a clause holds is decided in one place, over the JSON state. Since an observation shows
one chamber and names no entities, missions are not composed by anybody outside: the tasks are the
burrow's own, and their splits go by the shape of the map and by seed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agentlab.envs.burrow.world import (
    CARRIED,
    COLOURS,
    DEV,
    HELDOUT,
    MAPS,
    NAMES,
    THINGS,
    Layout,
    Position,
    make_layout,
)
from agentlab.errors import InvalidTaskError
from agentlab.types import (
    Clause,
    ClauseTemplate,
    GrammarSpec,
    JsonObject,
    Mission,
    SplitRule,
    Task,
    task_id,
)

ENVIRONMENT = "burrow"
LOOK_AROUND = "Look around."
SPLIT_RULE = SplitRule(
    dev_templates=(rf"^({'|'.join(DEV)}): ",), heldout_templates=(rf"^({'|'.join(HELDOUT)}): ",)
)
"""Whole shapes of map are kept for evaluation, and of the others some seeds."""
SPEC = GrammarSpec(
    templates=(
        ClauseTemplate(predicate="at", parameters={"chamber": {}}),
        ClauseTemplate(predicate="holding", parameters={"thing": {}}),
        ClauseTemplate(predicate="opened", parameters={"chest": {}}),
    ),
    setups=tuple(MAPS),
    max_groups=2,
    max_group_size=1,
    composable=False,
)
_SAID = {
    "at": ("chamber", "go to the {} chamber", NAMES),
    "holding": ("thing", "take the {}", THINGS),
    "opened": ("chest", "open the {} chest", COLOURS),
}
"""Predicate to its parameter, its words, and what may stand in them."""


class BurrowGrammar:
    """Implements `protocols.Grammar`."""

    @property
    def spec(self) -> GrammarSpec:
        """The predicates, maps and limits."""
        return SPEC

    def compose(self, mission: Mission | None, setup: str, seed: int) -> Task:
        """A task that states the mission in the burrow of `setup` and `seed`.

        Raises:
            InvalidTaskError: no such map, words that do not exist, or nothing there that fits,
                or a clause that holds from the start.
        """
        if setup not in MAPS:
            raise InvalidTaskError(f"There is no map {setup!r}; use one of {tuple(MAPS)}.")
        instruction = LOOK_AROUND
        if mission is not None:
            instruction = say(mission)
            layout = make_layout(setup, seed)
            facts = read_state(layout, layout.start)
            there = (*layout.names, *layout.things, *(colour for colour, _ in layout.chests))
            for clause in mission.clauses:
                if not all(value in there for value in clause.arguments.values()):
                    raise InvalidTaskError(f"Nothing there fits {_say(clause)!r}.")
                if holds(clause, facts):
                    raise InvalidTaskError(f"{_say(clause)!r} holds from the start.")
        template = f"{setup}: {mission.structure if mission else ''}"
        values: JsonObject = {"setup": setup}
        return Task(
            id=task_id(ENVIRONMENT, instruction, values, seed),
            environment=ENVIRONMENT,
            instruction=instruction,
            setup=values,
            seed=seed,
            template=template,
            mission=mission,
            split=SPLIT_RULE.split_of(seed, template),
        )

    def parse(self, instruction: str) -> Mission:
        """The clauses of an instruction.

        Raises:
            InvalidTaskError: it is not in the burrow's words.
        """
        text = instruction.strip().rstrip(".")
        text = text[:1].lower() + text[1:]
        mission = Mission(groups=tuple((_parse(part),) for part in text.split(", then ")))
        say(mission)
        return mission

    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        """The clauses that hold after and did not hold before."""
        earlier = list(_clauses(before))
        return [clause for clause in _clauses(after) if clause not in earlier]


def read_state(layout: Layout, position: Position) -> JsonObject:
    """The state as facts: one is `at`; `holding`, `opened`, `locked` and `lying` are sets."""
    colours = [colour for colour, _ in layout.chests]
    placed = list(zip(layout.things, position.where, strict=True))
    locks = list(zip(colours, position.opened, strict=True))
    return {
        "at": layout.names[position.at],
        "holding": [thing for thing, where in placed if where == CARRIED],
        "lying": [
            {"thing": thing, "chamber": layout.names[where]}
            for thing, where in placed
            if where != CARRIED
        ],
        "opened": [colour for colour, is_open in locks if is_open],
        "locked": [colour for colour, is_open in locks if not is_open],
    }


def holds(clause: Clause, state: JsonObject) -> bool:
    """Whether a clause holds in a state."""
    return any(clause == fact for fact in _clauses(state))


class Progress(NamedTuple):
    """How many clauses of a mission have been met, in its order: the verifier's own state."""

    met: int = 0


def advance(mission: Mission, progress: Progress, state: JsonObject) -> tuple[Progress, bool]:
    """The verifier's state after a move, and whether the whole mission is met.

    A clause counts from when it first holds in its turn, whatever happens later.
    """
    clauses, met = mission.clauses, progress.met
    while met < len(clauses) and holds(clauses[met], state):
        met += 1
    return Progress(met), met == len(clauses)


def say(mission: Mission) -> str:
    """The mission in words.

    Raises:
        InvalidTaskError: a clause that does not exist, too many, or one twice.
    """
    clauses = mission.clauses
    if not 1 <= len(mission.groups) <= SPEC.max_groups or len(clauses) != len(mission.groups):
        raise InvalidTaskError(f"A mission has 1 to {SPEC.max_groups} groups of one clause.")
    if any(clause in clauses[:index] for index, clause in enumerate(clauses)):
        raise InvalidTaskError("A mission does not ask for the same thing twice.")
    text = ", then ".join(_say(clause) for clause in clauses)
    return f"{text[:1].upper()}{text[1:]}."


def _say(clause: Clause) -> str:
    known = _SAID.get(clause.predicate)
    if known is None or set(clause.arguments) != {known[0]}:
        raise InvalidTaskError(f"{clause.predicate!r} cannot be asked for in a burrow.")
    name, words, values = known
    value = clause.arguments[name]
    if not isinstance(value, str) or value not in values:
        raise InvalidTaskError(f"A {name} is not called {value!r}; it is one of {values}.")
    return words.format(value)


def _parse(text: str) -> Clause:
    for predicate, (name, words, values) in _SAID.items():
        found = re.fullmatch(words.format("(.+)"), text)
        if found is not None and found[1] in values:
            return Clause(predicate=predicate, arguments={name: found[1]})
    raise InvalidTaskError(f"{text!r} is nothing that can be asked for in a burrow.")


def _clauses(state: JsonObject) -> Iterator[Clause]:
    """Everything that holds and can be asked for, one clause for each fact."""
    yield Clause(predicate="at", arguments={"chamber": state["at"]})
    for predicate in ("holding", "opened"):
        values = state[predicate]
        for value in values if isinstance(values, list) else ():
            yield Clause(predicate=predicate, arguments={_SAID[predicate][0]: value})
