"""Finding a way again that has changed: a search that stays near the calls which used to work.

An interface is renamed and laid out anew, and still does what it did. The old calls then say what
to look for: the same kinds of thing, called something else, in nearly the same order, given the
same values. Best first, by how far a path is from the old one; nothing is known of what a name
means but how it is spelt, and a name that was found once is the first guess from then on.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.executors.replayed import replayed
from agentlab.protocols import Environment, HasSnapshots, Snapshot
from agentlab.types import (
    Entity,
    Frozen,
    JsonObject,
    Observation,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    allows,
    canonical_json,
)

NAMES = 8
"""Names that each parameter of an old call is given in one state where it has several of them."""
GAP = "\x00"
"""Stands before and after the number of a value in a template."""
_WORD = re.compile(r"\w+")
_NUMBERED = re.compile(r" #\d+$")
AHEAD = 3
"""Old calls that one may be made ahead of."""


class Distances(Frozen):
    """How far a path is from the old one: each change adds to it."""

    changed: float = 0.3
    """A call that points at something else; and up to 1 for how unlike its name is."""
    known: float = 0.05
    """That change, where it was right before."""
    needless: float = 1.0
    """More where what the old call points at is there."""
    torn: float = 0.7
    """More where the path has it that the name became another, or the other was another's."""
    other_kind: float = 0.7
    """More where what is pointed at is used as something else: a button for a link, say."""
    other_tool: float = 0.8
    """Another tool, given the same."""
    ahead: float = 0.8
    """For each old call that is left for later."""
    left_out: float = 1.5
    """For each old call that is not made at all."""
    added: float = 2.0
    """A call that the old way did not have."""
    waiting: float = 0.5
    """For each old call that is still to come, so that a path that got far goes first."""


class Way(NamedTuple):
    """A path that works now."""

    calls: tuple[ToolCall, ...]
    olds: tuple[int | None, ...]
    """For each, the index of the old call in whose place it is."""


class Found(NamedTuple):
    """What a search came to."""

    way: Way | None
    tool_calls: int
    steps: int


class _Node(NamedTuple):
    snapshot: Snapshot
    observation: Observation
    left: tuple[int, ...]
    """Indices of the old calls that are still to come."""
    way: Way
    became: Mapping[str, str]
    """Old names to new ones on this path, as templates."""
    cost: float


class _Edge(NamedTuple):
    rank: float
    order: int
    cost: float
    node: _Node
    call: ToolCall
    left: tuple[int, ...]
    old: int | None


class _Shown(NamedTuple):
    """What is shown, with what stands apart: words of the task, which things are given."""

    entities: tuple[Entity, ...]
    things: tuple[Entity, ...]
    spoken: frozenset[str]
    """Types of entity that stand for such words."""

    def domain(self, schema: JsonObject) -> list[str]:
        """What a parameter can point at; one for things of any type not at mere words."""
        anything = schema.get("x-entity") == "*"
        return _domain(schema, self.things if anything else self.entities)


Reached = Callable[[StepResult], Awaitable[bool]]
"""Whether what was wanted holds after a step."""


class Retracer:
    """Searches near a list of calls. One search each.

    Args:
        environment: just reset, and brought to where the old calls began.
        task: what it was reset to, for an environment without snapshots.
        olds: the calls that used to work.
        given: texts that those calls were given and that stay as they are.
        renamed: names as they were to names as they are, where that is known; `templated`.
        reached: asked after each step that was carried out.
        calls: tool calls that the search may make, with those of going back where the environment
            counts them.
    """

    def __init__(
        self,
        environment: Environment,
        task: Task,
        olds: Sequence[ToolCall],
        *,
        given: Sequence[str],
        renamed: Mapping[str, str],
        reached: Reached,
        calls: int,
        distances: Distances | None = None,
    ) -> None:
        self._world = environment
        self._task = task
        self._olds = olds
        self._given = sorted((text for text in given if text), key=len, reverse=True)
        self._renamed = renamed
        self._reached = reached
        self._budget = calls
        self._far = distances or Distances()
        self._tools = {tool.name: tool for tool in environment.tools}
        self._order = itertools.count()
        self._heap: list[_Edge] = []
        self._seen: set[tuple[Hashable, tuple[int, ...]]] = set()
        self._made = 0
        self._steps = 0

    async def find(self, observation: Observation) -> Found:
        """Search from the environment's state now, which the observation shows."""
        world = self._world
        if not isinstance(world, HasSnapshots):
            world = replayed(world, self._task, 0, observation)
        self._world, states = world, cast("HasSnapshots", world)
        root = await states.snapshot()
        self._push(_Node(root, observation, tuple(range(len(self._olds))), Way((), ()), {}, 0.0))
        while self._heap and self._made < self._budget:
            edge = heapq.heappop(self._heap)
            before = self._replayed()
            await states.restore(edge.node.snapshot)
            self._made += self._replayed() - before
            result = await self._world.step(edge.call)
            self._made += 1
            self._steps += result.steps
            if result.error is not None:
                continue
            past = edge.node.way
            way = Way((*past.calls, edge.call), (*past.olds, edge.old))
            if await self._reached(result):
                return Found(way, self._made, self._steps)
            if result.terminated or result.truncated:
                continue
            snapshot = await states.snapshot()
            if (snapshot.key, edge.left) not in self._seen:
                self._seen.add((snapshot.key, edge.left))
                became = {**edge.node.became, **self._renaming(edge)}
                shown = result.observation
                self._push(_Node(snapshot, shown, edge.left, way, became, edge.cost))
        return Found(None, self._made, self._steps)

    def _replayed(self) -> int:
        return int(getattr(self._world, "replayed_steps", 0))

    def _renaming(self, edge: _Edge) -> dict[str, str]:
        """What an edge shows to be called otherwise, and what to be called the same."""
        if edge.old is None or self._olds[edge.old].tool != edge.call.tool:
            return {}
        old = self._olds[edge.old].arguments
        return {
            templated(value, self._given): templated(new, self._given)
            for name, value in old.items()
            if name in self._pointers(edge.call.tool)
            and isinstance(value, str)
            and isinstance(new := edge.call.arguments.get(name), str)
        }

    def _pointers(self, tool: str) -> list[str]:
        return [name for name, s in _schemas(self._tools[tool]).items() if _points(s)]

    def _push(self, node: _Node) -> None:
        far = self._far
        for place, index in enumerate(node.left[: AHEAD + 1]):
            left = (*node.left[:place], *node.left[place + 1 :])
            for cost, call in self._variants(self._olds[index], node):
                self._add(node, call, left, index, cost + far.ahead * place)
        if node.left:
            # Leaving one out makes no call, so what follows it is pushed in its stead.
            skipped = node._replace(left=node.left[1:], cost=node.cost + far.left_out)
            if (node.snapshot.key, skipped.left) not in self._seen:
                self._seen.add((node.snapshot.key, skipped.left))
                self._push(skipped)
        for call in self._pointing(self._sorted(node.observation.entities)):
            self._add(node, call, node.left, None, far.added)

    def _add(
        self, node: _Node, call: ToolCall, left: tuple[int, ...], old: int | None, cost: float
    ) -> None:
        total = node.cost + cost
        rank = total + self._far.waiting * len(left)
        heapq.heappush(self._heap, _Edge(rank, next(self._order), total, node, call, left, old))

    # --- calls near an old one --------------------------------------------------------------

    def _variants(self, old: ToolCall, node: _Node) -> list[tuple[float, ToolCall]]:
        """The old call, and calls that may do here what it did, each with its distance."""
        tool = self._tools.get(old.tool)
        shown = self._sorted(node.observation.entities)
        found = list(self._renamings(tool, old, shown, node.became)) if tool is not None else []
        found += self._by_others(old, shown, node.became)
        best: dict[str, tuple[float, ToolCall]] = {}
        for cost, call in found:
            key = canonical_json([call.tool, call.arguments])
            if key not in best or cost < best[key][0]:
                best[key] = (cost, call)
        return sorted(best.values(), key=lambda each: each[0])

    def _sorted(self, entities: Sequence[Entity]) -> _Shown:
        spoken = {
            str(schema["x-entity"])
            for tool in self._tools.values()
            for schema in _schemas(tool).values()
            if _points(schema)
            and schema["x-entity"] != "*"
            and any(name in self._given for name in _domain(schema, entities))
        }
        things = tuple(e for e in entities if e.type not in spoken)
        return _Shown(tuple(entities), things, frozenset(spoken))

    def _renamings(
        self, tool: ToolSpec, old: ToolCall, shown: _Shown, became: Mapping[str, str]
    ) -> Iterator[tuple[float, ToolCall]]:
        """By the same tool, with the same values, pointing at what is called otherwise."""
        schemas = _schemas(tool)
        names = [
            name
            for name, value in old.arguments.items()
            if _points(schemas.get(name, {})) and str(value) not in self._given
        ]
        if not names:
            yield 0.0, old
            return
        entities = shown.entities
        choices = [self._names(schemas[n], str(old.arguments[n]), shown, became) for n in names]
        if len(names) > 1:
            choices = [each[:NAMES] for each in choices]
        for chosen in itertools.product(*choices):
            arguments = {
                **old.arguments,
                **dict(zip(names, (name for _, name in chosen), strict=True)),
            }
            cost = sum(cost for cost, _ in chosen)
            for name, schema in schemas.items():
                of = schema.get("x-property-of")
                if name not in arguments or not isinstance(of, str):
                    continue
                nothing: JsonObject = {}
                properties = next(
                    (e.properties for e in entities if e.reference == arguments.get(of)), nothing
                )
                if name in properties and properties[name] != arguments[name]:
                    arguments[name] = properties[name]
                    cost += self._far.other_kind
            yield cost, ToolCall(tool=tool.name, arguments=arguments)

    def _names(
        self, schema: JsonObject, old: str, shown: _Shown, became: Mapping[str, str]
    ) -> list[tuple[float, str]]:
        """What a parameter may point at here, the likeliest first."""
        domain = shown.domain(schema)
        there = old in domain
        # What may be written freely is right as it was, shown or not.
        costs = [(0.0, old)] if there or schema.get("x-entity") in shown.spoken else []
        costs += [
            (self._unlike(old, name, became) + self._far.needless * bool(costs), name)
            for name in domain
            if name != old
        ]
        return sorted(costs)

    def _unlike(self, old: str, name: str, became: Mapping[str, str]) -> float:
        """How far a name is from an old one; the values in them are left out of it."""
        before, after = templated(old, self._given), templated(name, self._given)
        if became.get(before) == after or self._renamed.get(before) == after:
            return self._far.known
        torn = self._far.torn if before in became or after in became.values() else 0.0
        same_values = sorted(before.split(GAP)[1::2]) == sorted(after.split(GAP)[1::2])
        return self._far.changed + (1 - likeness(before, after)) + torn + (not same_values)

    def _by_others(
        self, old: ToolCall, shown: _Shown, became: Mapping[str, str]
    ) -> Iterator[tuple[float, ToolCall]]:
        """By another tool that takes a value which the old call was given."""
        payload = [str(v) for v in old.arguments.values() if str(v) in self._given]
        labels = [str(v) for v in old.arguments.values() if str(v) not in payload]
        for tool in self._tools.values():
            if tool.effect != "changes" or tool.name == old.tool or not payload:
                continue
            schemas = _schemas(tool)
            pointers = [name for name, schema in schemas.items() if _points(schema)]
            for takes in pointers:
                if payload[0] not in shown.domain(schemas[takes]):
                    continue
                base: JsonObject = {takes: payload[0]}
                for name, schema in schemas.items():
                    if schema.get("type") == "boolean":
                        base[name] = True
                others = [name for name in pointers if name != takes]
                for name, arguments in self._with_label(base, others, schemas, shown):
                    near = min((self._unlike(old, name, became) for old in labels), default=1.0)
                    far = near if name else self._far.changed
                    yield (
                        self._far.other_tool + far,
                        ToolCall(tool=tool.name, arguments=arguments),
                    )

    def _with_label(
        self,
        base: JsonObject,
        others: Sequence[str],
        schemas: Mapping[str, JsonObject],
        shown: _Shown,
    ) -> Iterator[tuple[str, JsonObject]]:
        if not others:
            yield "", base
        for other in others[:1]:
            for name in shown.domain(schemas[other])[: 2 * NAMES]:
                yield name, {**base, other: name}

    def _pointing(self, shown: _Shown) -> Iterator[ToolCall]:
        """Calls that only point at something here."""
        for tool in self._tools.values():
            schemas = _schemas(tool)
            required = cast("list[str]", tool.parameters.get("required", []))
            pointers = [name for name, schema in schemas.items() if _points(schema)]
            if tool.effect != "changes" or len(pointers) != 1 or set(required) - set(pointers):
                continue
            for reference in shown.domain(schemas[pointers[0]]):
                arguments: JsonObject = {pointers[0]: reference}
                for name, schema in schemas.items():
                    of = schema.get("x-property-of")
                    entity = next((e for e in shown.entities if e.reference == reference), None)
                    if of == pointers[0] and entity is not None and name in entity.properties:
                        arguments[name] = entity.properties[name]
                yield ToolCall(tool=tool.name, arguments=arguments)


def templated(name: str, given: Sequence[str]) -> str:
    """A name with a numbered gap for each value in it; values are the longest first.

    Which of several things called alike it is, `Reply #2`, is no part of what it is called.
    """
    name = _NUMBERED.sub("", name)
    for number, text in enumerate(given):
        if len(text) > 1 or name == text:
            name = name.replace(text, f"{GAP}{number}{GAP}")
    return name


def likeness(old: str, new: str) -> float:
    """How alike two names are, in [0, 1]: by their letters, and by their words."""
    before, after = old.casefold(), new.casefold()
    letters = SequenceMatcher(None, before, after, autojunk=False).ratio()
    one, other = set(_WORD.findall(before)), set(_WORD.findall(after))
    words = len(one & other) / len(one | other) if one | other else 0.0
    return (letters + words) / 2


def _schemas(tool: ToolSpec) -> dict[str, JsonObject]:
    return cast("dict[str, JsonObject]", tool.parameters.get("properties", {}))


def _points(schema: JsonObject) -> bool:
    return isinstance(schema.get("x-entity"), str)


def _domain(schema: JsonObject, entities: Sequence[Entity]) -> list[str]:
    wanted = schema.get("x-entity")
    found: list[JsonValue] = [
        entity.reference
        for entity in entities
        if wanted in ("*", entity.type) and allows(schema, entity.reference)
    ]
    return [each for each in found if isinstance(each, str)]
