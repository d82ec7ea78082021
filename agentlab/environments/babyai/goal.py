"""What an instruction asks for: BabyAI's instruction tree as frozen data.

A goal is a clause, or two goals joined by `and`, `before` or `after`; a mission is the same in
the words of agentlab (groups in order). This file turns one into the other and knows nothing
of grids, text or verifiers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import JsonValue

from agentlab.errors import InvalidTaskError
from agentlab.types import Clause, JsonObject, Mission

Verb = Literal["go_to", "open", "pick_up", "put_next"]
Relation = Literal["and", "before", "after"]

KINDS = ("ball", "box", "door", "key")
COLORS = ("blue", "green", "grey", "purple", "red", "yellow")
LOCATIONS = ("left", "right", "front", "behind")

NO_GOAL = "look around"
"""The instruction of a task that asks for nothing."""

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "go_to": ("x",),
    "open": ("x",),
    "pick_up": ("x",),
    "put_next": ("x", "y"),
}


@dataclass(frozen=True)
class Description:
    """Which things are meant; None says nothing of that property."""

    color: str | None = None
    kind: str | None = None
    location: str | None = None

    def as_json(self) -> JsonObject:
        """`{"color": "red", "kind": "ball"}`: only what is said."""
        said = {"color": self.color, "kind": self.kind, "location": self.location}
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True)
class Action:
    """One clause: a verb, the thing it is about and, for `put_next`, the one beside it."""

    verb: Verb
    x: Description
    y: Description | None = None
    strict: bool = False
    """BabyAI's strict mode: touching the wrong thing fails the episode."""


@dataclass(frozen=True)
class Joined:
    """Two goals: in any order (`and`), first then second (`before`), second first (`after`)."""

    relation: Relation
    first: Action | Joined
    second: Action | Joined
    strict: bool = False

    @property
    def ordered(self) -> tuple[Action | Joined, Action | Joined]:
        """Both, in the order in which they are to be met."""
        if self.relation == "after":
            return self.second, self.first
        return self.first, self.second


Goal: TypeAlias = Action | Joined


def actions(goal: Goal) -> Iterator[Action]:
    """The clauses of a goal, in the order in which they are to be met."""
    if isinstance(goal, Action):
        yield goal
        return
    for part in goal.ordered:
        yield from actions(part)


def navigations(goal: Goal) -> int:
    """How many walks BabyAI counts for a goal: two to put something down, else one."""
    return sum(2 if action.verb == "put_next" else 1 for action in actions(goal))


def describe(value: JsonValue, *, where: str) -> Description:
    """A description from its JSON form.

    Raises:
        InvalidTaskError: it says something that BabyAI's language cannot.
    """
    if not isinstance(value, dict):
        raise InvalidTaskError(f"In {where}, {value!r} is no description; give a JSON object.")
    allowed: dict[str, tuple[str, ...]] = {"color": COLORS, "kind": KINDS, "location": LOCATIONS}
    said: dict[str, str] = {}
    for name, word in value.items():
        if name not in allowed:
            raise InvalidTaskError(
                f"In {where}, {name!r} cannot be said; BabyAI names color, kind and location."
            )
        if not isinstance(word, str) or word not in allowed[name]:
            raise InvalidTaskError(
                f"In {where}, {word!r} is no {name}; use one of {', '.join(allowed[name])}."
            )
        said[name] = word
    if not said:
        raise InvalidTaskError(f"In {where}, the description is empty; name a color or a kind.")
    return Description(**said)


def action_of(clause: Clause) -> Action:
    """A clause of a mission as an action.

    Raises:
        InvalidTaskError: unknown predicate, wrong parameters or an impossible description.
    """
    verb = clause.predicate
    if verb not in PARAMETERS:
        raise InvalidTaskError(
            f"There is no predicate {verb!r} in BabyAI; use one of {', '.join(PARAMETERS)}."
        )
    if set(clause.arguments) != set(PARAMETERS[verb]):
        raise InvalidTaskError(f"{verb!r} takes {' and '.join(PARAMETERS[verb])}, nothing else.")
    x = describe(clause.arguments["x"], where=f"x of {verb}")
    if verb == "put_next":
        return Action("put_next", x, describe(clause.arguments["y"], where="y of put_next"))
    if verb == "open":
        if x.kind != "door":
            raise InvalidTaskError("Only a door can be opened by a mission; say its kind, 'door'.")
        return Action("open", x)
    return Action("go_to", x) if verb == "go_to" else Action("pick_up", x)


def goal_of(mission: Mission, *, reverse: bool = False) -> Goal:
    """A mission as a goal; `reverse` states two groups with `after` instead of `before`.

    Raises:
        InvalidTaskError: more than two groups, or more than two clauses in one.
    """
    groups = [[action_of(clause) for clause in group] for group in mission.groups]
    if not 1 <= len(groups) <= 2 or not all(1 <= len(group) <= 2 for group in groups):
        raise InvalidTaskError(
            "A BabyAI mission has one or two groups of one or two clauses; "
            f"this one has {[len(group) for group in groups]}."
        )
    parts = [group[0] if len(group) == 1 else Joined("and", group[0], group[1]) for group in groups]
    if len(parts) == 1:
        return parts[0]
    return Joined("after", parts[1], parts[0]) if reverse else Joined("before", parts[0], parts[1])


def mission_of(goal: Goal) -> Mission:
    """A goal as a mission; strictness is BabyAI's own business and is left out."""
    if isinstance(goal, Joined) and goal.relation != "and":
        return Mission(groups=tuple(tuple(map(clause_of, actions(part))) for part in goal.ordered))
    return Mission(groups=(tuple(clause_of(action) for action in actions(goal)),))


def clause_of(action: Action) -> Clause:
    """An action as a clause of a mission."""
    arguments: JsonObject = {"x": action.x.as_json()}
    if action.y is not None:
        arguments["y"] = action.y.as_json()
    return Clause(predicate=action.verb, arguments=arguments)
