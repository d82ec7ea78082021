"""What search may try in a state: tool calls and skill calls, with a prior over them.

The prior says where to look first and rules nothing out. Calls fall into classes of unequal
cost (`Costs`), from the best informed to the least:

- a skill bound to the clause it achieves,
- a skill bound to anything that meets its precondition,
- a tool call that points only at things the mission names,
- any other tool call.

Nothing here knows what the tools do, or which environment they belong to. Schemas with many
values in several parameters allow more calls than could ever be tried: what is listed for one
state is limited (`MOST_CALLS`), what the mission names comes first, and the rest is logged.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.executors.fitting import bindings, holds
from agentlab.types import (
    Entity,
    Frozen,
    JsonObject,
    Mission,
    Skill,
    ToolCall,
    ToolSpec,
    allows,
    canonical_json,
    satisfies,
)

log = logging.getLogger(__name__)

MOST_CALLS = 2000
"""Tool calls listed for one state, all tools together."""


class Costs(Frozen):
    """What trying a call costs the path it is on, in nats: -log of how likely it is to help.

    Tool calls share one distribution, so that skills are tried beside them and never instead
    of them: an empty library and a full one try tool calls in the same order.
    """

    bound: float = 1.0
    """A skill bound to a clause whose turn it is, divided among its bindings."""
    later: float = 1.6
    """More, while an earlier group of clauses is open."""
    done: float = 3.0
    """More, when a skill on this path has achieved the clause already."""
    loose: float = 2.5
    """A skill bound to anything that meets its precondition, divided among its bindings."""
    unnamed: float = 6.0
    """More for a tool call that points at something the mission does not name."""


Tell = Callable[[Sequence[ToolCall]], Sequence[float]]
"""For each call, minus the logarithm of how much speaks for it here."""


class Action(NamedTuple):
    """Something to try: a tool call, or a skill call when `skill` is set."""

    name: str
    arguments: JsonObject
    skill: Skill | None = None
    clause: int | None = None
    """Index of the mission clause that a bound skill would achieve."""


class Weighted(NamedTuple):
    """An action and its cost: minus the natural logarithm of its prior probability."""

    cost: float
    action: Action


def tool_calls(
    tools: Sequence[ToolSpec], entities: Sequence[Entity], named: Collection[str] = ()
) -> list[ToolCall]:
    """The calls that change something and whose arguments the schemas allow.

    Parameters marked `x-entity` range over the entities' references, lists of such over lists of
    one, `enum` and boolean parameters over their values, and those marked `x-property-of` follow
    the parameter that they name; a tool with any other required parameter is left out.

    Args:
        tools: the environment's tools.
        entities: what the observation shows now.
        named: canonical JSON of the values that come first where not all calls fit.

    Returns:
        All of them, or, where there are more than `MOST_CALLS`, that many: tools with few calls
        keep theirs, the others share what is left, each beginning with named values alone.
    """
    found = [
        (tool, domains)
        for tool in tools
        if tool.effect == "changes" and (domains := _domains(tool, entities)) is not None
    ]
    sizes = [math.prod(map(len, domains.values())) for _, domains in found]
    calls: list[ToolCall] = []
    for (tool, domains), size, share in zip(found, sizes, _shares(sizes, MOST_CALLS), strict=True):
        choices: Iterator[tuple[JsonValue, ...]] = itertools.product(*domains.values())
        if share < size:
            _tell_left_out(tool, size, share)
            choices = itertools.islice(_named_first(list(domains.values()), named), share)
        names = list(domains)
        for values in choices:
            arguments = dict(zip(names, values, strict=True))
            if _follow(arguments, tool, entities):
                calls.append(ToolCall(tool=tool.name, arguments=arguments))
    return calls


def _follow(arguments: JsonObject, tool: ToolSpec, entities: Sequence[Entity]) -> bool:
    """Add the arguments that are properties of others (`x-property-of`); False: there is none."""
    schemas = cast("dict[str, JsonObject]", tool.parameters.get("properties", {}))
    required = cast("list[str]", tool.parameters.get("required", []))
    for name, schema in schemas.items():
        of = schema.get("x-property-of")
        if not isinstance(of, str):
            continue
        found = [e.properties for e in entities if of in arguments and e.reference == arguments[of]]
        if found and name in found[0]:
            arguments[name] = found[0][name]
        elif name in required:
            return False
    return True


def _shares(sizes: Sequence[int], most: int) -> list[int]:
    """How many of each to take, `most` in all: the small whole, the large alike."""
    shares = [0] * len(sizes)
    left = most
    waiting = sorted(range(len(sizes)), key=lambda index: sizes[index])
    for position, index in enumerate(waiting):
        shares[index] = min(sizes[index], left // (len(waiting) - position))
        left -= shares[index]
    return shares


def _named_first(
    domains: Sequence[Sequence[JsonValue]], named: Collection[str]
) -> Iterator[tuple[JsonValue, ...]]:
    """The product without repetition; the more of a combination is named, the earlier it comes.

    Lazy in the product: a domain is split once into what is named and what is not.
    """
    parts = [_parts(domain, named) for domain in domains]
    for unnamed in range(len(domains) + 1):
        for where in itertools.combinations(range(len(domains)), unnamed):
            yield from itertools.product(
                *(part[1] if index in where else part[0] for index, part in enumerate(parts))
            )


def _parts(
    domain: Sequence[JsonValue], named: Collection[str]
) -> tuple[list[JsonValue], list[JsonValue]]:
    first = [value for value in domain if canonical_json(_only(value)) in named]
    return first, [value for value in domain if canonical_json(_only(value)) not in named]


def _only(value: JsonValue) -> JsonValue:
    """What a list of one points at."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


_told: set[str] = set()


def _tell_left_out(tool: ToolSpec, size: int, share: int) -> None:
    """Log once in a process that a tool allows more calls than are tried."""
    if tool.name in _told:
        return
    _told.add(tool.name)
    log.warning(
        "The tool %r allows %d calls in one state, of which search lists %d, those with what the "
        "mission names first; narrow its schema to have all of them tried.",
        tool.name,
        size,
        share,
    )


def _domains(tool: ToolSpec, entities: Sequence[Entity]) -> dict[str, list[JsonValue]] | None:
    schemas = cast("dict[str, JsonObject]", tool.parameters.get("properties", {}))
    required = cast("list[str]", tool.parameters.get("required", []))
    domains: dict[str, list[JsonValue]] = {}
    for name, schema in schemas.items():
        values = _values(schema, entities)
        if values is None:
            if name in required and "x-property-of" not in schema:
                return None
            continue
        domains[name] = values
    return domains


def _values(schema: JsonObject, entities: Sequence[Entity]) -> list[JsonValue] | None:
    wanted = schema.get("x-entity")
    if isinstance(wanted, str):
        plain = schema.get("type") == "string"
        return [
            entity.reference
            for entity in entities
            if wanted in ("*", entity.type)
            and allows(schema, entity.reference)
            and (not plain or isinstance(entity.reference, str))
        ]
    enum, items = schema.get("enum"), schema.get("items")
    if isinstance(enum, list):
        return list(enum)
    if schema.get("type") == "array" and isinstance(items, dict) and "x-entity" in items:
        return [[value] for value in _values(items, entities) or ()]
    return [False, True] if schema.get("type") == "boolean" else None


class ActionSpace:
    """The weighted actions of a state, for one attempt.

    Args:
        tools: the environment's tools.
        mission: the parsed instruction, or None where there is no grammar.
        skills: the offered skills (not those that are only called by them).
        costs: how the classes of calls compare.
        named_first: whether things the mission names come first; False is flat search.
    """

    def __init__(
        self,
        tools: Sequence[ToolSpec],
        mission: Mission | None,
        skills: Sequence[Skill],
        *,
        costs: Costs,
        named_first: bool = True,
    ) -> None:
        self._tools = tools
        self._mission = mission
        self._clauses = mission.clauses if mission else ()
        self._skills = skills
        self._costs = costs
        self._named_first = named_first and bool(self._clauses)
        self._plain: dict[tuple[str, ...], tuple[list[Action], list[Action]]] = {}
        self._needs_state = any(skill.precondition for skill in skills)

    @property
    def needs_state(self) -> bool:
        """Whether any precondition reads the environment's state."""
        return self._needs_state

    def all_described(self, entities: Sequence[Entity]) -> bool:
        """Whether everything that the mission describes is among these entities."""
        return all(
            any(satisfies(entity, description) for entity in entities)
            for clause in self._clauses
            for description in clause.arguments.values()
            if isinstance(description, dict)
        )

    def actions(
        self,
        entities: Sequence[Entity],
        state: JsonObject | None,
        done: frozenset[int],
        clues: Tell | None = None,
    ) -> list[Weighted]:
        """What to try here, cheapest first within a class.

        Args:
            entities: what the observation shows now.
            state: JSON state for preconditions; None where not needed or not readable.
            done: indices of the clauses that skills on this path have achieved.
            clues: what the environment has to say for calls (`protocols.HasClues`).
        """
        named, other = self._tool_actions(entities)
        bound, loose = self._skill_actions(entities, state, done)
        costs = self._costs
        weighted = [Weighted(cost, action) for action, cost in bound]
        weighted.extend(Weighted(cost, action) for action, cost in loose)
        if clues is not None and self._named_first:
            told = _told_costs([*named, *other], clues)
            if told is not None:
                return [*weighted, *told]
        total = math.log(len(named) + len(other) * math.exp(-costs.unnamed) or 1.0)
        weighted.extend(Weighted(total, action) for action in named)
        weighted.extend(Weighted(total + costs.unnamed, action) for action in other)
        return weighted

    def _tool_actions(self, entities: Sequence[Entity]) -> tuple[list[Action], list[Action]]:
        key = tuple(canonical_json(entity.reference) for entity in entities)
        known = self._plain.get(key)
        if known is None:
            known = self._split(entities)
            self._plain[key] = known
        return known

    def _split(self, entities: Sequence[Entity]) -> tuple[list[Action], list[Action]]:
        descriptions = [d for clause in self._clauses for d in clause.arguments.values()]
        named_references = {
            canonical_json(entity.reference)
            for entity in entities
            if any(satisfies(entity, description) for description in descriptions)
        }
        all_references = {canonical_json(entity.reference) for entity in entities}
        named: list[Action] = []
        other: list[Action] = []
        wanted = named_references | _said(descriptions) if self._named_first else ()
        for call in tool_calls(self._tools, entities, wanted):
            pointed = {canonical_json(_only(v)) for v in call.arguments.values()} & all_references
            first = self._named_first and pointed <= named_references
            (named if first else other).append(Action(call.tool, call.arguments))
        # Of equally likely calls the simpler one first: it does the least beside what is wanted.
        named.sort(key=lambda action: len(action.arguments))
        return named, other

    def _skill_actions(
        self, entities: Sequence[Entity], state: JsonObject | None, done: frozenset[int]
    ) -> tuple[list[tuple[Action, float]], list[tuple[Action, float]]]:
        bound: list[tuple[Action, float]] = []
        loose: list[tuple[Action, float]] = []
        extra = self._clause_costs(done)
        seen: set[tuple[str, str]] = set()
        per_clause: dict[int, list[Action]] = {}
        for skill in self._skills:
            if not holds(skill.precondition, state):
                continue
            for index, clause in enumerate(self._clauses):
                if skill.achieves is None or skill.achieves.predicate != clause.predicate:
                    continue
                for arguments in bindings(skill, clause, entities):
                    seen.add((skill.name, canonical_json(arguments)))
                    action = Action(skill.name, arguments, skill, index)
                    per_clause.setdefault(index, []).append(action)
            others = [
                Action(skill.name, arguments, skill)
                for arguments in bindings(skill, None, entities)
                if (skill.name, canonical_json(arguments)) not in seen
            ]
            cost = self._costs.loose + math.log(len(others) or 1)
            loose.extend((action, cost) for action in others)
        for index, actions in per_clause.items():
            cost = self._costs.bound + extra[index] + math.log(len(actions))
            bound.extend((action, cost) for action in actions)
        return bound, loose

    def _clause_costs(self, done: frozenset[int]) -> list[float]:
        """What each clause adds: nothing while it is its turn."""
        extra: list[float] = []
        earlier_open = False
        for group in self._mission.groups if self._mission else ():
            indices = range(len(extra), len(extra) + len(group))
            for index in indices:
                added = self._costs.done if index in done else 0.0
                extra.append(added + (self._costs.later if earlier_open else 0.0))
            earlier_open = earlier_open or any(index not in done for index in indices)
        return extra


def _told_costs(actions: Sequence[Action], clues: Tell) -> list[Weighted] | None:
    """Calls as likely as the environment's clues make them; None where it tells none.

    They share one distribution, as calls do without clues; what would change nothing is left out.
    """
    calls = [ToolCall.model_construct(tool=a.name, arguments=a.arguments) for a in actions]
    told = clues(calls)
    if len(told) != len(calls):
        return None
    fit = [(cost, action) for cost, action in zip(told, actions, strict=True) if cost < math.inf]
    total = math.log(sum(math.exp(-cost) for cost, _ in fit) or 1.0)
    return [Weighted(cost + total, action) for cost, action in fit]


def _said(descriptions: Sequence[JsonValue]) -> set[str]:
    """Canonical JSON of what a mission's words say: a description itself, or its properties."""
    return {
        canonical_json(value)
        for description in descriptions
        for value in (description.values() if isinstance(description, dict) else (description,))
    }
