"""What a courier can be asked to do: missions, their wording, and when they are met.

`CourierGrammar` builds tasks, reads instructions back, and names what a change of state
achieved. Whether a clause holds is decided in one place, over the JSON state, so that the
verifier, the grammar and any outside reader agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.envs.courier.world import (
    CARGO,
    COLOURS,
    CONTAINERS,
    METALS,
    NAMES,
    SETUPS,
    Layout,
    Position,
    Size,
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

ENVIRONMENT = "courier"
LOOK_AROUND = "Look around."
SPLIT_RULE = SplitRule(
    dev_templates=(r": (holding > unlocked|holding & unlocked)$",),
    heldout_templates=(r"[&>].*[&>]",),
)
"""Three clauses and more are never practised."""

SPEC = GrammarSpec(
    templates=(
        ClauseTemplate(
            predicate="at", parameters={"place": {"kind": "place"}}, descriptors=("kind", "name")
        ),
        ClauseTemplate(
            predicate="holding",
            parameters={"item": {"cargo": True}},
            descriptors=("kind", "colour"),
        ),
        ClauseTemplate(
            predicate="unlocked",
            parameters={"container": {"container": True}},
            descriptors=("kind", "metal"),
        ),
        ClauseTemplate(
            predicate="delivered",
            parameters={"item": {"cargo": True}, "container": {"container": True}},
            descriptors=("kind", "colour", "metal"),
        ),
    ),
    setups=SETUPS,
    max_groups=2,
    max_group_size=2,
)

_WORDS: dict[str, tuple[dict[str, tuple[str, ...]], str]] = {
    "item": ({"kind": CARGO, "colour": COLOURS}, "colour"),
    "container": ({"kind": CONTAINERS, "metal": METALS}, "metal"),
    "place": ({"kind": ("place",), "name": NAMES}, "name"),
}
"""Parameter to the words for each property, and the property that tells two of a kind apart."""

_PHRASES = {
    "at": r"go to (?P<place>.+)",
    "holding": r"pick up (?P<item>.+)",
    "unlocked": r"unlock (?P<container>.+)",
    "delivered": r"deliver (?P<item>.+) to (?P<container>.+)",
}
_PARAMETERS = {t.predicate: tuple(t.parameters) for t in SPEC.templates}


class CourierGrammar:
    """Implements `protocols.Grammar` for worlds of one size."""

    def __init__(self, size: Size) -> None:
        self._size = size

    @property
    def spec(self) -> GrammarSpec:
        """The predicates, start-state families and limits."""
        return SPEC

    def compose(self, mission: Mission | None, setup: str, seed: int) -> Task:
        """A task that states the mission in the world of `setup` and `seed`.

        Raises:
            InvalidTaskError: no such setup, words that do not exist, nothing there that fits,
                or a clause that holds from the start.
        """
        if setup not in SETUPS:
            raise InvalidTaskError(f"There is no start state {setup!r}; use one of {SETUPS}.")
        instruction = LOOK_AROUND
        if mission is not None:
            instruction = say(mission)
            layout = make_layout(setup, seed, self._size)
            facts = read_state(layout, layout.start)
            for clause in mission.clauses:
                _check_fits(clause, layout)
                if holds(clause, facts):
                    raise InvalidTaskError(f"{say_clause(clause)!r} holds from the start.")
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
            InvalidTaskError: it is not in the courier's words.
        """
        text = instruction.strip().rstrip(".")
        text = text[:1].lower() + text[1:]
        mission = Mission(
            groups=tuple(
                tuple(_parse_clause(part) for part in group.split(" and "))
                for group in text.split(", then ")
            )
        )
        _check_size(mission)
        return mission

    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        """The clauses over single things that hold after and did not hold before."""
        earlier = list(_all_clauses(before))
        return [clause for clause in _all_clauses(after) if clause not in earlier]


def read_state(layout: Layout, position: Position) -> JsonObject:
    """The state as facts.

    Single ones are `at` and `holding`; `lying`, `delivered`, `unlocked`, `locked` are sets. What
    the courier stands beside is no fact: only the text tells it.
    """
    items, containers = layout.items, layout.container_references
    lying: list[JsonValue] = []
    delivered: list[JsonValue] = []
    count = len(layout.places)
    for index, where in enumerate(position.where):
        if where >= count:
            delivered.append({"item": items[index], "container": containers[where - count]})
        elif where >= 0:
            lying.append({"item": items[index], "place": layout.place_references[where]})
    locks = list(zip(containers, position.locked, strict=True))
    held = position.holding
    return {
        "at": layout.place_references[position.at],
        "holding": None if held is None else items[held],
        "lying": lying,
        "delivered": delivered,
        "unlocked": [container for container, locked in locks if not locked],
        "locked": [container for container, locked in locks if locked],
    }


def holds(clause: Clause, state: JsonObject) -> bool:
    """Whether a clause holds in a state, for some things that fit its descriptions."""
    return any(
        fact.predicate == clause.predicate
        and all(fits(fact.arguments[name], wanted) for name, wanted in clause.arguments.items())
        for fact in _all_clauses(state)
    )


class Progress(NamedTuple):
    """How far a mission is met: the verifier's own state."""

    group: int = 0
    """Index of the group whose turn it is."""
    met: frozenset[int] = frozenset()
    """Indices of its clauses that have held since then."""


def advance(mission: Mission, progress: Progress, state: JsonObject) -> tuple[Progress, bool]:
    """The verifier's state after a move, and whether the whole mission is met.

    A clause counts from when it first holds in its group's turn, whatever happens later.
    """
    groups = mission.groups
    group, met = progress
    while group < len(groups):
        met |= frozenset(i for i, clause in enumerate(groups[group]) if holds(clause, state))
        if len(met) < len(groups[group]):
            return Progress(group, met), False
        group, met = group + 1, frozenset[int]()
    return Progress(group), True


def say(mission: Mission) -> str:
    """The mission in words.

    Raises:
        InvalidTaskError: a clause that does not exist, or too many of them.
    """
    _check_size(mission)
    groups = (" and ".join(say_clause(clause) for clause in group) for group in mission.groups)
    text = ", then ".join(groups)
    return f"{text[:1].upper()}{text[1:]}."


def say_clause(clause: Clause) -> str:
    """One clause in words.

    Raises:
        InvalidTaskError: its predicate, parameters or words do not exist here.
    """
    parameters = _PARAMETERS.get(clause.predicate)
    if parameters is None or set(parameters) != set(clause.arguments):
        raise InvalidTaskError(
            f"{clause.predicate!r} with {sorted(clause.arguments)} cannot be asked of a courier."
        )
    said = {name: _say_thing(name, clause.arguments[name]) for name in parameters}
    match clause.predicate:
        case "at":
            return f"go to {said['place']}"
        case "holding":
            return f"pick up {said['item']}"
        case "unlocked":
            return f"unlock {said['container']}"
        case _:
            return f"deliver {said['item']} to {said['container']}"


def _say_thing(parameter: str, description: JsonValue) -> str:
    words, telling = _WORDS[parameter]
    if not isinstance(description, dict) or not description:
        raise InvalidTaskError(f"The {parameter} needs a description such as {{'kind': …}}.")
    for name, value in description.items():
        if name not in words or value not in words[name]:
            raise InvalidTaskError(f"A {parameter} is not described by {name!r}: {value!r}.")
    kind, mark = description.get("kind"), description.get(telling)
    if mark is None:
        return f"a {kind}"
    if parameter == "place":
        return f"the {mark}" if kind else f"somewhere called {mark}"
    return f"the {mark} {kind}" if kind else f"something {mark}"


def _parse_clause(text: str) -> Clause:
    for predicate, pattern in _PHRASES.items():
        found = re.fullmatch(pattern, text)
        if found is not None:
            arguments: JsonObject = {
                name: _parse_thing(name, said) for name, said in found.groupdict().items()
            }
            return Clause(predicate=predicate, arguments=arguments)
    raise InvalidTaskError(f"{text!r} is nothing that a courier can be asked.")


def _parse_thing(parameter: str, said: str) -> JsonObject:
    words, telling = _WORDS[parameter]
    kinds, marks = "|".join(words["kind"]), "|".join(words[telling])
    if parameter == "place":
        pattern = f"a (?P<a>{kinds})|the (?P<m>{marks})|somewhere called (?P<s>{marks})"
    else:
        pattern = f"a (?P<a>{kinds})|the (?P<m>{marks}) (?P<k>{kinds})|something (?P<s>{marks})"
    found = re.fullmatch(pattern, said)
    if found is None:
        raise InvalidTaskError(f"{said!r} names no {parameter}.")
    groups = found.groupdict()
    if groups["a"]:
        return {"kind": groups["a"]}
    if groups["s"]:
        return {telling: groups["s"]}
    return {"kind": groups.get("k") or "place", telling: groups["m"]}


def _check_size(mission: Mission) -> None:
    sizes = [len(group) for group in mission.groups]
    if (
        not sizes
        or len(sizes) > SPEC.max_groups
        or not all(1 <= size <= SPEC.max_group_size for size in sizes)
    ):
        raise InvalidTaskError(
            f"A mission has 1 to {SPEC.max_groups} groups of 1 to {SPEC.max_group_size} clauses."
        )
    clauses = mission.clauses
    if any(clause in clauses[:index] for index, clause in enumerate(clauses)):
        raise InvalidTaskError("A mission does not ask for the same thing twice.")


def _check_fits(clause: Clause, layout: Layout) -> None:
    cargo = layout.items[: len(layout.cargo)]
    known = {
        "item": cargo,
        "container": layout.container_references,
        "place": layout.place_references,
    }
    for name, wanted in clause.arguments.items():
        if not any(fits(reference, wanted) for reference in known[name]):
            raise InvalidTaskError(f"Nothing there fits {_say_thing(name, wanted)!r}.")


def fits(reference: JsonValue, description: JsonValue) -> bool:
    """Whether a thing's reference has all that a description says."""
    if not isinstance(reference, dict) or not isinstance(description, dict):
        return reference == description
    return all(name in reference and reference[name] == v for name, v in description.items())


def _all_clauses(state: JsonObject) -> Iterator[Clause]:
    """Everything that holds, one clause for each fact."""
    yield _fact("at", place=state["at"])
    held = state["holding"]
    if isinstance(held, dict) and held.get("kind") != "token":
        yield _fact("holding", item=held)
    for container in _members(state, "unlocked"):
        yield _fact("unlocked", container=container)
    for pair in _members(state, "delivered"):
        if isinstance(pair, dict):
            yield _fact("delivered", **pair)


def _fact(predicate: str, **arguments: JsonValue) -> Clause:
    return Clause.model_construct(predicate=predicate, arguments=arguments)


def _members(state: JsonObject, name: str) -> list[JsonValue]:
    value = state[name]
    return value if isinstance(value, list) else []
