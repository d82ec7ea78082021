"""Composed tasks and their grammar: what can be asked of an API, and tasks that can be solved.

Tasks are made backwards. Calls are drawn at random from a start state; effects that they brought
about, that did not hold before, and that name only what is shown at the start, become a task,
and the calls without those that it does not need its solution. So every task can be solved, and
none is met at the start.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from pydantic import JsonValue

from agentlab.environments.bfcl.starts import SUBJECTS, start
from agentlab.environments.bfcl.world import World
from agentlab.environments.effects import EffectGrammar
from agentlab.errors import InvalidTaskError
from agentlab.types import (
    Clause,
    Entity,
    GrammarSpec,
    JsonObject,
    Mission,
    Split,
    SplitRule,
    Task,
    ToolCall,
    ToolSpec,
    canonical_json,
    derive_seed,
    satisfies,
)

WALK = 120
"""Calls drawn for one task; most are refused."""
WEIGHED = 8
"""Effects of a walk of which it is found out how many calls they need."""
FIRST = 6
"""Tasks of which an API's first is the one that needs the most calls, so that few show much."""
ENOUGH = 3
"""Calls with which it is taken at once."""
SIZES: Mapping[Split, tuple[int, ...]] = {"practice": (1, 2), "dev": (1, 2), "heldout": (1, 2, 3)}
"""Effects that a task of a split asks for; three are never practised."""
SEEDS = 10**9


class Solved(NamedTuple):
    """A state that random calls led to."""

    api: str
    seed: int
    world: World


class Shows(Protocol):
    """What making tasks needs of the environment."""

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """The tools."""
        ...

    def offers(self, now: Solved) -> Sequence[Entity]:
        """What is shown in a state."""
        ...


class ApiGrammar:
    """The grammar of effects on one API at a time; implements `protocols.Grammar`.

    Args:
        environment: the name that tasks are made for.
        apis: whose effects can be asked for; each is a family of start states.
    """

    def __init__(self, environment: str, apis: Sequence[str]) -> None:
        predicates = [predicate for api in apis for predicate in SUBJECTS[api].predicates]
        self._owner = {p.name: api for api in apis for p in SUBJECTS[api].predicates}
        self._effects = EffectGrammar(environment, predicates, apis, _facts_at)

    @property
    def spec(self) -> GrammarSpec:
        """The predicates, start-state families and limits."""
        return self._effects.spec

    @property
    def split_rule(self) -> SplitRule:
        """Which seeds and templates are kept."""
        return self._effects.split_rule

    def compose(self, mission: Mission | None, setup: str, seed: int) -> Task:
        """A task that states the mission in the start state of `setup` and `seed`.

        Raises:
            InvalidTaskError: see `EffectGrammar.compose`; or it is about an API that is not
                there.
        """
        for clause in mission.clauses if mission else ():
            if self._owner.get(clause.predicate, setup) != setup:
                raise InvalidTaskError(
                    f"{clause.predicate!r} is said of {self._owner[clause.predicate]}, which is "
                    f"not there in {setup!r}."
                )
        return self._effects.compose(mission, setup, seed)

    def parse(self, instruction: str) -> Mission:
        """The clauses of an instruction; see `EffectGrammar.parse`."""
        return self._effects.parse(instruction)

    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        """The effects that hold after and did not hold before."""
        return self._effects.achieved(before, after)

    def met(self, mission: Mission, state: JsonObject) -> bool:
        """Whether all of a mission holds."""
        return self._effects.met(mission, state)


def composed_tasks(
    grammar: ApiGrammar, shows: Shows, split: Split, count: int, seed: int
) -> list[Task]:
    """`count` distinct tasks of a split, the APIs in turn, the same for the same arguments."""
    rng = random.Random(derive_seed("bfcl composed", split, seed))
    apis = grammar.spec.setups
    found: dict[str, Task] = {}
    asked: Counter[str] = Counter()
    tried: list[Task] = []
    while len(found) < count:
        api = apis[len(found) % len(apis)]
        number = rng.randrange(SEEDS)
        if grammar.split_rule.split_of_seed(number) != split:
            continue
        task = _task(grammar, shows, api, number, rng.choice(SIZES[split]), asked, rng)
        if task is None or task.split != split:
            continue
        tried.append(task)
        short = len(task.solution or ()) < ENOUGH
        if short and len(found) < len(apis) and len(tried) < FIRST:
            continue
        chosen = max(tried, key=lambda each: len(each.solution or ()))
        tried = []
        found[chosen.id] = chosen
        clauses = chosen.mission.clauses if chosen.mission is not None else ()
        asked.update(clause.predicate for clause in clauses)
    return list(found.values())


def _facts_at(api: str, seed: int) -> JsonObject:
    world = start(api, seed).world
    return SUBJECTS[api].facts(world.kept[api].attributes)


def _task(
    grammar: ApiGrammar,
    shows: Shows,
    api: str,
    seed: int,
    size: int,
    asked: Counter[str],
    rng: random.Random,
) -> Task | None:
    """A task over what random calls achieved.

    Effects come first that were asked least so far, and of those the ones that need most calls:
    otherwise what takes several calls in the right order would hardly ever be asked.
    """
    read = _reader(api)
    first = Solved(api, seed, start(api, seed).world)
    begun, shown = read(first.world), shows.offers(first)
    tools = [tool for tool in shows.tools if tool.name in SUBJECTS[api].takes]
    calls: list[ToolCall] = []
    now = first
    for _ in range(WALK):
        call = _draw(rng.choice(tools), SUBJECTS[api].takes, shows.offers(now), rng)
        after = now.world.call(call.tool, call.arguments).world if call is not None else now.world
        if call is None or after is now.world:
            continue
        calls.append(call)
        now = now._replace(world=after)
    sayable = [
        (asked[clause.predicate], rng.random(), clause)
        for clause in grammar.achieved(begun, read(now.world))
        if _can_be_said(clause, grammar.spec, shown)
    ]
    sayable.sort(key=lambda row: row[:2])
    walk = _Walk(grammar, first.world, calls, read)
    needed = [
        (often, -len(walk.shortest(Mission(groups=((clause,),))) or ()), drawn, clause)
        for often, drawn, clause in sayable[:WEIGHED]
    ]
    needed.sort(key=lambda row: row[:3])
    if len(needed) < size:
        return None
    mission = Mission(groups=(tuple(clause for *_, clause in needed[:size]),))
    try:
        task = grammar.compose(mission, api, seed)
    except InvalidTaskError:
        return None
    solution = walk.shortest(mission)
    # None where it was met in parts only: a walk may undo what it did.
    return None if solution is None else task.model_copy(update={"solution": solution})


class _Walk:
    """Calls that lead somewhere, to find out which of them are needed."""

    def __init__(
        self,
        grammar: ApiGrammar,
        first: World,
        calls: Sequence[ToolCall],
        read: Callable[[World], JsonObject],
    ) -> None:
        self._grammar, self._first, self._calls, self._read = grammar, first, calls, read
        self._after: dict[tuple[str, str], World] = {}

    def shortest(self, mission: Mission) -> tuple[ToolCall, ...] | None:
        """The calls without any that can be left out: long stretches first, single ones last.

        None where they never meet the mission.
        """
        kept = self._carried_out(mission, self._calls)
        if kept is None:
            return None
        length = len(kept)
        while length > 0:
            place = 0
            while place < len(kept):
                fewer = [*kept[:place], *kept[place + length :]]
                shorter = self._carried_out(mission, fewer)
                if shorter is None:
                    place += length
                else:
                    kept = shorter
            length //= 2
        return tuple(kept)

    def _carried_out(self, mission: Mission, calls: Sequence[ToolCall]) -> list[ToolCall] | None:
        """Those that do something until the mission is met; None if it never is."""
        world, done = self._first, list[ToolCall]()
        for call in calls:
            step = (world.key, canonical_json([call.tool, call.arguments]))
            after = self._after.get(step)
            if after is None:
                after = self._after[step] = world.call(call.tool, call.arguments).world
            if after.key == world.key:
                continue
            done.append(call)
            world = after
            if self._grammar.met(mission, self._read(world)):
                return done
        return None


def _can_be_said(clause: Clause, spec: GrammarSpec, shown: Sequence[Entity]) -> bool:
    """Whether all that a clause names is shown, as what it is named as."""
    template = next(each for each in spec.templates if each.predicate == clause.predicate)
    return all(
        any(e.reference == value and satisfies(e, template.parameters[name]) for e in shown)
        for name, value in clause.arguments.items()
    )


def _reader(api: str) -> Callable[[World], JsonObject]:
    return lambda world: SUBJECTS[api].facts(world.kept[api].attributes)


def _draw(
    tool: ToolSpec,
    takes: Mapping[str, Mapping[str, object]],
    shown: Sequence[Entity],
    rng: random.Random,
) -> ToolCall | None:
    """A call of the tool with arguments drawn from what is shown; None where something lacks."""
    arguments: JsonObject = {}
    for name, domain in takes[tool.name].items():
        values = (
            [entity.reference for entity in shown if entity.type == domain]
            if isinstance(domain, str)
            else list(cast("tuple[JsonValue, ...]", domain))
        )
        if not values:
            return None
        arguments[name] = rng.choice(values)
    return ToolCall(tool=tool.name, arguments=arguments)
